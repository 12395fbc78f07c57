"""What happens after each epoch: validate, remember the best encoder, write the run folder, decide whether to go on."""

import csv
import io
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.loggers import Logger

from fewshot_cxr.encoders import Encoder
from fewshot_cxr.storage import whole_file, write_text
from fewshot_cxr.training.module import SiameseModule
from fewshot_cxr.training.schedules import plateau_scale

LAST = "last.ckpt"
HISTORY = "history.csv"
_COLLAPSED_SPREAD = 0.02


class RunKeeper(lightning.Callback):
    """Keep the run: its history, its best encoder, and a `last.ckpt` from which it resumes exactly.

    Args:
        folder: the run folder; None keeps all in memory.
        validate: encoder -> accuracy; None when there is nothing to validate on.
        save: (encoder, epoch row) -> None, writes the best encoder with its card; called only with a folder.
        schedule: "plateau" lowers the rate by what validation says.
        patience: stop after so many epochs without a better accuracy; None never stops early.
        max_minutes: no epoch is begun that would, at the pace of the last one, end later than this.
        progress: called with (steps done, steps in all).
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        validate: Callable[[Encoder], float] | None,
        save: Callable[[Encoder, dict[str, float]], None] | None,
        schedule: str,
        patience: int | None,
        max_minutes: float | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.folder, self.validate, self.save = folder, validate, save
        self.schedule, self.patience, self.max_minutes, self.progress = schedule, patience, max_minutes, progress
        self.history: list[dict[str, float]] = []
        self.best_state: dict[str, Any] = {}
        self.stopped_by = ""
        self.is_interrupted = False
        self._begun = self._epoch_begun = time.monotonic()
        self._has_warned = False

    @property
    def best_row(self) -> dict[str, float] | None:
        """The first epoch of the highest validation accuracy; the last epoch where nothing was validated."""
        if not self.history:
            return None
        if self.validate is None:
            return self.history[-1]
        return max(self.history, key=lambda row: (row["val_accuracy"], -row["epoch"]))

    def state_dict(self) -> dict[str, Any]:
        """Return the history: all else follows from it."""
        return {"history": deepcopy(self.history)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the history of an interrupted run."""
        self.history = state_dict["history"]

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note the time, and set the scale of the learning rate."""
        self._epoch_begun = time.monotonic()
        assert isinstance(pl_module, SiameseModule)
        if self.schedule == "plateau" and self.validate is not None:
            pl_module.lr_scale = plateau_scale([row["val_accuracy"] for row in self.history])

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(trainer.global_step, int(trainer.estimated_stepping_batches))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Validate, keep, write, decide."""
        assert isinstance(pl_module, SiameseModule)
        row = {"epoch": float(trainer.current_epoch + 1), "step": float(trainer.global_step)}
        row |= pl_module.epoch_means()
        row["lr"] = trainer.optimizers[0].param_groups[0]["lr"] * pl_module.lr_scale
        if self.validate is not None:
            row["val_accuracy"] = self.validate(pl_module.candidate)
        row["seconds"] = time.monotonic() - self._epoch_begun
        self.history.append(row)
        self._warn_of_collapse(row)
        if self.best_row is row:
            self._keep(pl_module.candidate, row)
        if self.folder is not None:
            write_text(self.folder / HISTORY, history_csv(self.history))
            with whole_file(self.folder / LAST) as part:
                trainer.save_checkpoint(part, weights_only=False)
        _log(trainer.logger, row)
        trainer.should_stop = self._shall_stop(row)

    def on_exception(self, trainer: lightning.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Remember Ctrl-C: Lightning turns it into SystemExit."""
        self.is_interrupted = isinstance(exception, KeyboardInterrupt)

    def _keep(self, encoder: Encoder, row: dict[str, float]) -> None:
        if self.save is None:
            self.best_state = deepcopy(encoder.state_dict())
        else:
            self.save(encoder, row)

    def _shall_stop(self, row: dict[str, float]) -> bool:
        best = self.best_row or row
        if self.patience is not None and self.validate is not None and row["epoch"] - best["epoch"] >= self.patience:
            self.stopped_by = f"no better validation accuracy for {self.patience} epochs"
        elapsed = time.monotonic() - self._begun
        if self.max_minutes is not None and elapsed + row["seconds"] > self.max_minutes * 60:
            self.stopped_by = f"another epoch would pass {self.max_minutes:g} minutes; resume goes on"
        return bool(self.stopped_by)

    def _warn_of_collapse(self, row: dict[str, float]) -> None:
        if row.get("distance_spread", 1.0) < _COLLAPSED_SPREAD and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"the embeddings have collapsed in epoch {row['epoch']:.0f}: distances within a batch differ by "
                f"{row['distance_spread']:.1%} only. Lower the learning rate (--lr) or take --miner semihard",
                stacklevel=2,
            )


def history_csv(history: list[dict[str, float]]) -> str:
    """Write the history as CSV text, a row per epoch; whole numbers without a decimal point."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(name for row in history for name in row)))
    writer.writeheader()
    writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in history)
    return text.getvalue()


def _log(logger: Logger | None, row: dict[str, float]) -> None:
    if logger is not None:
        logger.log_metrics({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

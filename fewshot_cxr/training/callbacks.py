"""What is kept of a run after every epoch: the card, the history, the best and the last weights."""

import math
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.loggers import Logger

from fewshot_cxr._csv import csv_table
from fewshot_cxr._kinds import HISTORY, LAST
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.encoders.base import not_finite
from fewshot_cxr.records import Records
from fewshot_cxr.training.module import Learner, TrainingModule
from fewshot_cxr.training.objective import plateau_scale
from fewshot_cxr.training.settings import TrainingSettings
from fewshot_cxr.unknown_patients import count_unknown
from fewshot_cxr.whole_files import write_text

_LIBRARIES = ("fewshot_cxr", "torch", "timm", "lightning", "pytorch-metric-learning")


def run_card(
    encoder: Encoder,
    train: Records,
    val: Records,
    *,
    given_hash: Sequence[str],
    distance: str,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Describe a run: encoder, films, settings, versions; plain JSON values.

    Args:
        encoder: that is trained.
        train: films that it is trained on.
        val: films that it is validated with.
        given_hash: of the films as `fit` got them, before one part was carved from the other and unreadable films left
            out: a later evaluation knows them by their hash.
        distance: by which embeddings are to be compared.
        settings: of the training.
    """
    parts = {"train": train, "val": val}
    return {
        "encoder": encoder.recipe,
        "image_spec": encoder.image_spec.to_json(),
        "findings": list(train.findings),
        "distance": distance,
        "data_hash": {name: part.data_hash for name, part in parts.items()},
        "given_hash": list(given_hash),
        "n_films": {name: len(part) for name, part in parts.items()},
        "n_patients": {name: len({film.group for film in part}) for name, part in parts.items()},
        "n_films_without_patient": {name: count_unknown(part) for name, part in parts.items()},
        "training": settings,
        **({"weights": encoder.origin} if encoder.origin else {}),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
    }


def best_card(card: dict[str, Any], row: dict[str, float]) -> dict[str, Any]:
    """Add to a card which epoch's encoder was kept, and its validation accuracy (None where nothing was validated)."""
    return card | {"best_epoch": int(row["epoch"]), "val_accuracy": row.get("val_accuracy")}


_COLLAPSED_SPREAD = 0.02


class RunKeeper(lightning.Callback):
    """Keep the run: its history, its best learner, and a `last.ckpt` from which it resumes exactly.

    Args:
        folder: the run folder; None keeps all in memory.
        settings: say when to lower the rate, begin the optimiser anew, and stop.
        validate: learner -> columns of the history, such as {"val_accuracy": 0.8}; None: nothing to validate on.
        monitor: the column that the best epoch is chosen by; one whose name ends in "loss" is better when smaller.
        save: (learner, epoch row) -> None, writes the best one with its card; called only with a folder.
        progress: called with (steps done, steps in all).
    """

    def __init__(
        self,
        folder: Path | None,
        settings: TrainingSettings,
        *,
        validate: Callable[[Learner], dict[str, float]] | None,
        monitor: str,
        save: Callable[[Learner, dict[str, float]], None] | None,
        progress: Bar | None,
    ) -> None:
        self.folder, self.settings, self.validate = folder, settings, validate
        self.monitor, self.save, self.progress = monitor, save, progress
        self.history: list[dict[str, float]] = []
        self.best_state: dict[str, Any] = {}
        self.stopped_by = ""
        self.is_interrupted = self.has_begun = False
        self._begun = self._epoch_begun = time.monotonic()
        self._has_warned = False

    @property
    def best_row(self) -> dict[str, float] | None:
        """The first of the best epochs in validation; the last epoch where nothing was validated."""
        if not self.history:
            return None
        if self.validate is None:
            return self.history[-1]
        goodness = self._goodness()
        return self.history[goodness.index(max(goodness))]

    @property
    def stop_notes(self) -> tuple[str, ...]:
        """Why the run ended before its last epoch, in words."""
        return (self.stopped_by,) if self.stopped_by else ()

    def _goodness(self) -> list[float]:
        """Return the monitored number of each epoch, larger is better; an undefined one is the worst."""
        sign = -1 if self.monitor.endswith("loss") else 1
        values = [sign * row.get(self.monitor, math.nan) for row in self.history]
        return [value if math.isfinite(value) else -math.inf for value in values]

    def state_dict(self) -> dict[str, Any]:
        """Return the history: all else follows from it."""
        return {"history": deepcopy(self.history)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the history of an interrupted run."""
        self.history = [{name: float(value) for name, value in row.items()} for row in state_dict["history"]]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """End a resumed run at once whose patience was exhausted before."""
        if self.history and self._is_exhausted():
            trainer.should_stop = True
        self.has_begun = True

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Report that all is done, where the run stops early, too."""
        tell(self.progress, trainer.global_step, trainer.global_step)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note the time, set the scale of the learning rate, and forget the optimiser's moments where it restarts."""
        self._epoch_begun = time.monotonic()
        assert isinstance(pl_module, TrainingModule)
        settings = self.settings
        if settings.schedule == "plateau" and self.validate is not None:
            pl_module.lr_scale = plateau_scale(
                self._goodness(), factor=settings.plateau_factor, patience=settings.plateau_patience
            )
        if self.is_restart(trainer.current_epoch):
            trainer.optimizers[0].state.clear()

    def is_restart(self, epoch: int) -> bool:
        """Return whether the optimiser begins anew with this epoch, counted from 0."""
        every = self.settings.restart_every
        return every is not None and epoch > 0 and epoch % every == 0

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Report progress."""
        tell(self.progress, trainer.global_step, int(trainer.estimated_stepping_batches))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Validate, keep, write, decide."""
        assert isinstance(pl_module, TrainingModule)
        row = {"epoch": float(trainer.current_epoch + 1), "step": float(trainer.global_step)}
        row |= pl_module.epoch_means()
        row["lr"] = pl_module.last_lr
        self._refuse_diverged(not_finite(pl_module), row)
        if self.validate is not None:
            # The first rank alone validates, and what all go by is its word: of the row, of the time, of the end.
            row |= self.validate(pl_module.candidate) if trainer.is_global_zero else {}
            row = trainer.strategy.broadcast(row)
            self._refuse_diverged("validation" if math.isnan(row.get(self.monitor, 0.0)) else None, row)
            if not self.history and self.monitor not in row:
                raise ValueError(
                    f"the validation films leave {self.monitor} undefined, by which the best epoch is chosen: give "
                    "films with every finding and without it, or another monitor (--monitor)"
                )
        row["seconds"] = trainer.strategy.broadcast(time.monotonic() - self._epoch_begun)
        self.history.append(row)
        self._warn_of_collapse(row)
        if self.best_row is row:
            self._keep(pl_module.candidate, row)
        if self.folder is not None:
            if trainer.is_global_zero:
                write_text(self.folder / HISTORY, history_csv(self.history))
            trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        _log(trainer.logger, row)
        self._note_stop(row)
        self.stopped_by = trainer.strategy.broadcast(self.stopped_by)
        trainer.should_stop = bool(self.stopped_by)

    def on_exception(self, trainer: lightning.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Remember Ctrl-C: Lightning turns it into SystemExit."""
        self.is_interrupted = isinstance(exception, KeyboardInterrupt)

    def _refuse_diverged(self, name: str | None, row: dict[str, float]) -> None:
        """End a run of which something, by its name, is no longer finite, before it is judged, kept or written."""
        if name is not None:
            best = f"; the encoder of epoch {self.best_row['epoch']:.0f} is kept" if self.best_row else ""
            raise FloatingPointError(
                f"{name} is not finite after epoch {row['epoch']:.0f} at a learning rate of {row['lr']:g}: lower the "
                f"learning rate (--lr){best}"
            )

    def _keep(self, learner: Learner, row: dict[str, float]) -> None:
        if self.save is None:
            self.best_state = deepcopy(learner.state_dict())
        else:
            self.save(learner, row)

    def _note_stop(self, row: dict[str, float]) -> None:
        self._is_exhausted()
        max_minutes = self.settings.max_minutes
        elapsed = time.monotonic() - self._begun
        if max_minutes is not None and elapsed + row["seconds"] > max_minutes * 60:
            self.stopped_by = f"another epoch would pass {max_minutes:g} minutes; resume goes on"

    def _is_exhausted(self) -> bool:
        """Return whether the last epochs brought nothing better, and note it."""
        patience, best = self.settings.patience, self.best_row
        if patience is None or self.validate is None or best is None:
            return False
        if self.history[-1]["epoch"] - best["epoch"] < patience:
            return False
        better = self.monitor.replace("val_", "validation ").replace("_", " ")
        self.stopped_by = f"no better {better} for {patience} epochs"
        return True

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
    return csv_table([{name: f"{value:.6g}" for name, value in row.items()} for row in history])


def _log(logger: Logger | None, row: dict[str, float]) -> None:
    if logger is not None:
        logger.log_metrics({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

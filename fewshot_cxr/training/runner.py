"""The one place that starts Lightning."""

import logging
import os
import signal
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import lightning
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.loggers import Logger
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.inference import choose_device, native_precision
from fewshot_cxr.training.callbacks import RunKeeper
from fewshot_cxr.training.last_checkpoint import LastCheckpoint, refusing_what_does_not_fit
from fewshot_cxr.training.module import Batch, TrainingModule

LOGS = "logs"


def run_lightning(
    module: TrainingModule, batches: Iterable[Batch], keeper: RunKeeper, *, checkpoint: Path | None
) -> None:
    """Run the training loop.

    Args:
        module: what a step does; its settings say for how long, where and in which precision.
        batches: on what.
        keeper: what happens after an epoch; its folder takes the TensorBoard logs.
        checkpoint: the `last.ckpt` to go on from; None begins.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        BlockingIOError: another run writes into the folder.
    """
    handler, out = signal.getsignal(signal.SIGINT), keeper.folder
    device, precision = choose_device(module.settings.device), module.settings.precision
    with ExitStack() as places, _quiet_lightning():
        if out is not None:
            places.enter_context(only_writer(out))
        runner = lightning.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=[device.index or 0] if device.type == "cuda" else 1,
            precision=cast(Any, native_precision(device) if precision == "auto" else precision),
            max_epochs=module.settings.n_epochs,
            callbacks=[keeper],
            logger=False if out is None else EventFile(out),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            log_every_n_steps=1,
            default_root_dir=out,
            plugins=[LastCheckpoint()],
        )
        try:
            with refusing_what_does_not_fit(checkpoint, has_begun=lambda: keeper.has_begun):
                runner.fit(module, batches, ckpt_path=checkpoint, weights_only=True)
        except SystemExit:
            # Lightning turns Ctrl-C into exit code 1, and ignores the signal from then on.
            if keeper.is_interrupted:
                raise KeyboardInterrupt from None
            raise
        finally:
            if signal.getsignal(signal.SIGINT) is not handler:
                signal.signal(signal.SIGINT, handler)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep back what Lightning says of the machine, its advertisements, and its advice to developers."""
    talk = logging.getLogger("lightning.pytorch")
    with ExitStack() as settings:
        settings.callback(talk.setLevel, talk.level)
        talk.setLevel(logging.WARNING)
        for category in (DeprecationWarning, FutureWarning, PossibleUserWarning):
            settings.enter_context(warnings.catch_warnings(action="ignore", category=category))
        yield


class EventFile(Logger):
    """A logger of Lightning that writes an event file into a run's folder `logs`, from the first numbers on.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._file = folder / LOGS / f"events.out.tfevents.{int(time.time()):010d}.fewshot_cxr.{os.getpid()}"

    @property
    def name(self) -> str:
        """Of the logger."""
        return LOGS

    @property
    def version(self) -> str:
        """None of its own: a run has one folder."""
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Write none: a run's card has them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append numbers by their names."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        events = [Event(wall_time=time.time(), step=step or 0, summary=Summary(value=values))]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if not self._file.exists():
            events.insert(0, Event(wall_time=time.time(), file_version="brain.Event:2"))
        with self._file.open("ab") as file:
            writer = RecordWriter(file)
            for event in events:
                writer.write(event.SerializeToString())

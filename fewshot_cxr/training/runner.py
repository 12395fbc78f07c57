"""The one place that starts Lightning."""

import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import lightning
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from fewshot_cxr._ranks import ranks_here
from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.inference import choose_device, native_precision
from fewshot_cxr.training.callbacks import RunKeeper
from fewshot_cxr.training.last_checkpoint import LastCheckpoint, refusing_what_does_not_fit
from fewshot_cxr.training.meeting import environment_of, places, quiet_lightning, telling_of_lost_ranks
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
        ConnectionError: another rank has ended.
    """
    handler, out, ranks = signal.getsignal(signal.SIGINT), keeper.folder, ranks_here()
    device, precision = choose_device(module.settings.device), module.settings.precision
    with ExitStack() as held, quiet_lightning():
        if out is not None and ranks.is_first:
            held.enter_context(only_writer(out))
        runner = lightning.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            **places(ranks, device, module),
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
            plugins=[LastCheckpoint(), *environment_of(ranks)],
        )
        try:
            fitting = refusing_what_does_not_fit(checkpoint, has_begun=lambda: keeper.has_begun)
            with fitting, telling_of_lost_ranks(ranks):
                runner.fit(module, batches, ckpt_path=checkpoint, weights_only=True)
        except SystemExit:
            # Lightning turns Ctrl-C into exit code 1, and ignores the signal from then on.
            if keeper.is_interrupted:
                raise KeyboardInterrupt from None
            raise
        finally:
            if signal.getsignal(signal.SIGINT) is not handler:
                signal.signal(signal.SIGINT, handler)


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

    @rank_zero_only
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

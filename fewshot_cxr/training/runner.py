"""The one place that starts Lightning."""

import logging
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from fewshot_cxr.training.callbacks import RunKeeper
from fewshot_cxr.training.module import Batch, TrainingModule


def run_lightning(
    module: TrainingModule,
    batches: Iterable[Batch],
    keeper: RunKeeper,
    *,
    device: torch.device,
    precision: Any,
    n_epochs: int,
    out: Path | None,
    checkpoint: Path | None,
) -> None:
    """Run the training loop.

    Args:
        module, batches, keeper: what a step does, on what, and what happens after an epoch.
        device, precision: as `choose_device` and `native_precision` give them.
        n_epochs: how long.
        out: the run folder, for the TensorBoard logs; None logs nothing.
        checkpoint: the `last.ckpt` to go on from; None begins.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    handler = signal.getsignal(signal.SIGINT)
    with _quiet_lightning():
        runner = lightning.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=[device.index or 0] if device.type == "cuda" else 1,
            precision=precision,
            max_epochs=n_epochs,
            callbacks=[keeper],
            logger=False if out is None else TensorBoardLogger(out, name="logs", version=""),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            log_every_n_steps=1,
            default_root_dir=out,
        )
        try:
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
    """Keep back what Lightning says of the machine, and its advertisements; its warnings pass."""
    talk = logging.getLogger("lightning.pytorch")
    level = talk.level
    talk.setLevel(logging.WARNING)
    try:
        yield
    finally:
        talk.setLevel(level)

"""The numbers of a run for TensorBoard, in a file that does not name the machine, as TensorBoard's own would."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

LOGS = "logs"


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

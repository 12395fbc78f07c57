"""Signals while a command works: it ends as by an error, with one line, whole files and an exit code of its own.

While Python loads libraries, which may swallow an interruption or print it, it ends at once and in silence.
"""

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from fewshot_cxr.cli.signals import ENDING, take_signals

Handler = Callable[[int, FrameType | None], None]
_received: list[int] = []


def interrupt(number: int, frame: FrameType | None) -> None:
    """End what is being done as Ctrl-C does."""
    _received.append(number)
    for stream in (1, 2):
        with suppress(OSError):  # it may be closed
            if stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream):  # a terminal that is gone
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    raise KeyboardInterrupt


def is_interrupted() -> bool:
    """Return whether a signal has come, which a library may have turned into an error of its own."""
    return bool(_received)


def exit_code() -> int:
    """Return the code of the signal that came last, as a shell gives it: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_received[-1] if _received else signal.SIGINT)


@contextmanager
def answering(handler: Handler) -> Iterator[None]:
    """Let a handler answer them while the block lasts; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    _received.clear()
    take_signals(handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)

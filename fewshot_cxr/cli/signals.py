"""The signals that end a process, and how they end it at once; next to nothing is loaded for it."""

from __future__ import annotations

import os
import signal

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What ends a command: Ctrl-C, `kill` or a scheduler, and a terminal that is gone."""


def leave_at_once(number: int, frame: object) -> None:
    """End the process in silence, where nothing has begun yet or all is done."""
    os._exit(128 + number)


def take_signals(handler: signal._HANDLER) -> None:
    """Let a handler answer the signals that end a process, except those that are ignored, as under `nohup`."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)

"""Progress in a terminal or a notebook, for who calls a long function without saying how to report it."""

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from fewshot_cxr._visible import visible

Auto = Literal["auto"]
Bars = Callable[[str, int, int], None]
Bar = Callable[[int, int], None]
_QUICK_S = 1.0  # what takes no longer shows nothing
_EVERY_S = 0.2
_N_MARKS = 24


def bars_of(progress: Bars | Auto | None) -> Bars | None:
    """Return how to report several kinds of work.

    Args:
        progress: called with (what is done, done, total); "auto": bars on standard error, where that is a terminal or a
            notebook; None: nothing.
    """
    if progress != "auto":
        return progress
    return _Screen(sys.stderr) if is_watched(sys.stderr) else None


def bar_of(progress: Bar | Auto | None, what: str) -> Bar | None:
    """Return how to report one kind of work; see `bars_of`."""
    if progress != "auto":
        return progress
    bars = bars_of("auto")
    return None if bars is None else partial(bars, what)


def tell(progress: Bar | None, done: int, total: int) -> None:
    """Report how far the work is, where anybody asked to be told."""
    if progress is not None:
        progress(done, total)


def is_watched(stream: Any) -> bool:
    """Return whether somebody looks at a stream while it is written: a terminal, or the output of a notebook's cell."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None or bool(stream is not None and stream.isatty())


class _Screen:
    """One line that tells how far the work is, and that is empty again when it is done.

    Args:
        stream: that is watched. Nothing else of the library writes to one.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self._width = stream, 0
        self._begun: dict[str, float] = {}
        self._drawn = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        begun = self._begun.setdefault(what, now)
        if done >= total:
            del self._begun[what]
            if self._width:
                self._draw("")
                self._draw("")
        elif now - begun > _QUICK_S and now - self._drawn > _EVERY_S:
            self._drawn = now
            n_marks = _N_MARKS * done // total
            left = f", {(now - begun) / done * (total - done):.0f} s left" if done else ""
            self._draw(f"{visible(what)} [{'#' * n_marks}{'.' * (_N_MARKS - n_marks)}] {done:,} of {total:,}{left}")

    def _draw(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._width) if text or self._width else "\r")
        self._stream.flush()
        self._width = len(text)

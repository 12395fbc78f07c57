"""What a command says when it cannot go on: one line. Of what nobody foresaw, the traceback is kept in a file."""

import opcode
import os
import sys
import traceback
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from fewshot_cxr._ranks import ranks_here
from fewshot_cxr._state import state_folder
from fewshot_cxr._visible import visible

FAILED, WRONG_USE, NOTHING_READABLE, UNFORESEEN = 1, 2, 4, 70
_CODES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], int], ...] = (
    (FileNotFoundError, NOTHING_READABLE),
    ((ValueError, TypeError), WRONG_USE),
    ((OSError, ArithmeticError, ImportError, MemoryError, RuntimeError), FAILED),
    (Exception, UNFORESEEN),
)
_PACKAGE = __name__.partition(".")[0]
_RAISE = opcode.opmap["RAISE_VARARGS"]
_LONGEST = 4_000  # characters of a line: a hostile file may hold a name of a megabyte
_N_KEPT = 10


def fail(message: str, code: int) -> NoReturn:
    """Print one line on standard error and leave."""
    line = visible(" ".join(message.split()))
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]} ... ({len(line) - _LONGEST:,} more characters)"
    rank = ranks_here().rank
    click.echo(f"fscxr: error: {f'rank {rank}: ' if rank else ''}{line}", file=sys.stderr)
    sys.exit(code)


def described(error: Exception) -> tuple[str, int]:
    """Return what to say of an error, and the exit code; the traceback of one that nobody foresaw is kept.

    Args:
        error: as it was caught.
    """
    code = next(code for kinds, code in _CODES if isinstance(error, kinds))
    text, kind = str(error), type(error).__name__
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError" or "can't allocate memory" in text:
        return f"out of memory{text and ': '}{text}", FAILED
    if isinstance(error, FileNotFoundError) and error.filename is None and _is_homeless():
        return "the folder that the command was called in was removed: change into one that is there", FAILED
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if _is_foreseen(error, frames[-1]):
        return text or kind, code
    file, kept = _file_at_hand(frames), _keep(error)
    at = "" if file is None or str(file) in text else f" (at {file})"
    where = "--traceback shows where" if kept is None else f"{kept} holds its traceback, and --traceback shows it"
    return f"unforeseen {kind}{text and ': '}{text}{at}; {where}", code


def _is_homeless() -> bool:
    try:
        return not os.getcwd()
    except FileNotFoundError:
        return True


def _is_foreseen(error: Exception, frame: FrameType) -> bool:
    """Return whether a message is meant for a user: a statement of this package raised it, or the system, of a file."""
    if isinstance(error, OSError) and error.filename is not None:
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not _is_ours(frame):
        return False
    # An option that a function has not is Python's own error, and says so.
    return frame.f_code.co_code[trace.tb_lasti] == _RAISE or "unexpected keyword argument" in str(error)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == _PACKAGE


def _file_at_hand(frames: list[FrameType]) -> Path | None:
    """Return the file that the innermost function of this package which knows one was at."""
    for frame in reversed(frames):
        for value in frame.f_locals.values() if _is_ours(frame) else ():
            if isinstance(value, Path) and value.is_file():
                return value
    return None


def _keep(error: Exception) -> Path | None:
    """Write a traceback beside the last ones, for its owner alone; None: it cannot be written."""
    try:
        folder = state_folder() / "tracebacks"
        folder.mkdir(mode=0o700, exist_ok=True)
        for old in sorted(folder.glob("*.txt"))[: 1 - _N_KEPT]:
            old.unlink(missing_ok=True)
        file = folder / f"{datetime.now():%Y-%m-%dT%H%M%S.%f}-{os.getpid()}.txt"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as out:
            out.writelines(traceback.format_exception(error))
        return file
    except OSError:
        return None

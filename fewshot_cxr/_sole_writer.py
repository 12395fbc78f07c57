"""One writer at a time in a run folder: by a lock that the system lets go of when its process ends, however it ends.

Where a system or a disk has no such locks (Windows, some network disks), nobody is refused.
"""

import datetime
import json
import os
import platform
import stat
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from fewshot_cxr._json import parse_json
from fewshot_cxr.whole_files import file_to_replace, lock, sweep_parts

_HELD: ContextVar[frozenset[Path]] = ContextVar("locks that this thread holds", default=frozenset())
_LOCK = ".fscxr.lock"
_WRITTEN_WITHIN = 1.0  # seconds: who has a lock says at once who he is


@contextmanager
def only_writer(place: Path, *, is_folder: bool = True) -> Iterator[bool]:
    """Be the only one that writes a run folder, or a file, while the block lasts; in the block it may be asked again.

    What a process that was killed has left is taken over with a warning; the block is told whether there was one.

    Args:
        place: the folder, which is made, or the file.
        is_folder: which of them.

    Raises:
        BlockingIOError: another process, or another thread, writes there; the text names it.
    """
    target = place.resolve() if is_folder else file_to_replace(place)
    if target is None:  # a device or a stream, which nobody replaces
        yield False
        return
    file = target / _LOCK if is_folder else target.with_name(f".{target.name}{_LOCK}")
    if file in _HELD.get():
        yield False
        return
    is_new = not file.parent.exists()
    handle, was_killed = _locked(file, place)
    token = _HELD.set(_HELD.get() | {file})
    try:
        sweep_parts(place) if is_folder else sweep_parts(target.parent, target.name)
        yield was_killed
    finally:
        _HELD.reset(token)
        if handle is not None:
            file.unlink(missing_ok=True)  # before another can have it
            os.close(handle)
        if is_new:
            with suppress(OSError):  # something was written
                file.parent.rmdir()


def is_written(folder: Path) -> bool:
    """Return whether a run folder is being written, or was when its writer was killed."""
    return (folder / _LOCK).exists()


def _locked(file: Path, place: Path) -> tuple[int | None, bool]:
    """Return the handle of a lock that was taken (None: there are no locks here), and whether it was of one killed."""
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:  # a file is there, or it was a folder that has gone since
            with suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.lstat(error.filename).st_mode):
                    raise
            continue
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except FileNotFoundError:  # who made the folder in vain has removed it
            continue
        except PermissionError as error:  # of a lock that nobody asked for
            raise PermissionError(error.errno, f"{error.strerror} to write there", str(place)) from error
        is_taken = lock(handle)
        if is_taken is False:
            owner = _owner(handle, wait=_WRITTEN_WITHIN) or "another process"
            os.close(handle)
            raise BlockingIOError(f"{place} is being written by {owner}: wait for its end, or name another place")
        with suppress(FileNotFoundError):  # its owner has removed it at its end, between our two lines
            if is_taken and os.path.samestat(os.fstat(handle), file.stat()):
                break
        os.close(handle)
        if is_taken is None:
            file.unlink(missing_ok=True)
            return None, False
    if owner := _owner(handle):
        warnings.warn(f"{place} has a lock of {owner}, which was killed, or it is a copy: taken over", stacklevel=4)
    now = datetime.datetime.now().astimezone().isoformat(" ", timespec="seconds")
    os.lseek(handle, 0, os.SEEK_SET)
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps({"pid": os.getpid(), "host": platform.node(), "since": now}).encode())
    return handle, bool(owner)


def _owner(handle: int, *, wait: float = 0.0) -> str:
    """Say who has, or had, a lock; "" where nobody is noted."""
    end = time.monotonic() + wait
    while not (text := os.read(handle, 1000)) and time.monotonic() < end:
        time.sleep(0.01)
    with suppress(ValueError, KeyError, TypeError):
        noted = parse_json(text.decode())
        return f"process {noted['pid']} on {noted['host']} since {noted['since']}"
    return ""

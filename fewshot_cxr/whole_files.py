"""The one door through which files are written: whole or not at all, and where links, modes and devices say."""

import errno
import glob
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # known by its absence

_LONGEST_STEM = 40  # characters of a name in its temporary one: with pid and ending below the 255 bytes of a name
_READER_SECONDS = 30.0  # that a FIFO is waited for to be opened at its other end
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_SCARCE = 1 << 16  # bytes; where less is free, a failed write is laid to the full disk
_COPIED = 1 << 20
_PROBE = 4096  # bytes that a check writes: an empty file fits on a full disk, too


@contextmanager
def whole_file(path: str | Path, *, n_bytes: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends well, and vanishes when not.

    A link stays, and what it leads to is replaced, with its permissions and, where this is allowed, its owner; another
    hard link of it keeps the old content. A device, a FIFO and standard output are written through instead.

    Args:
        path: the file; folders above it are made.
        n_bytes: that will be written, where this is known: a full disk then says how many are missing.

    Raises:
        OSError: it is a folder or protected from writing, nobody reads the FIFO, or the disk is full.
    """
    path = Path(path)
    found, target = _status(path), file_to_replace(path)
    if target is None:
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "part"
            part.touch()
            yield part
            _write_through(part, path)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with _part_beside(target) as part:
        with _full_disk_told(path, part, n_bytes):
            yield part
            with part.open("rb+") as written:
                os.fsync(written.fileno())
        _own(part, found)
        part.replace(target)
    _settle(target.parent)


def check_writable(path: str | Path) -> None:
    """Refuse a file that cannot be written, before hours of work for it: by trying, which leaves nothing behind.

    Raises:
        OSError: of the kinds of `whole_file`, or the folder cannot be written or made, or the name is too long.
    """
    target, made = file_to_replace(Path(path)), []
    if target is None:
        return
    try:
        for folder in reversed([one for one in target.parents if not one.exists()]):
            folder.mkdir(exist_ok=True)
            made.append(folder)
        _status(target)  # a name that is too long
        sweep_parts(target.parent, target.name)
        with _part_beside(target) as part, _full_disk_told(Path(path), part, _PROBE), part.open("wb") as file:
            file.write(bytes(_PROBE))
            file.flush()
            os.fsync(file.fileno())
    finally:
        for folder in reversed(made):
            with suppress(OSError):  # somebody else may have written there
                folder.rmdir()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with whole_file(path, n_bytes=len(content)) as part:
        part.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    r"""Write a text file whole or not at all (UTF-8).

    A byte of a file's name that is no UTF-8 is half of a surrogate pair in a text: it is written as \udce9, which JSON
    reads back as it was.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN and infinity are refused, since JSON has no word for them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def lock(handle: int, *, is_shared: bool = False) -> bool | None:
    """Take a lock on an open file without waiting: True: taken; False: somebody has it; None: there are no locks here.

    Args:
        handle: of the file; closing it gives the lock back, and so does the end of the process.
        is_shared: others may have it too, but none of them alone.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks
        return None
    return True


def sweep_parts(folder: Path, name: str = "*") -> None:
    """Remove the temporary files that killed processes have left in a folder; those in use stay.

    Args:
        folder: where they lie.
        name: of the file that they were to become; "*" takes all, in folders of ours alone.
    """
    for part in folder.glob(f".{name if name == '*' else glob.escape(name[:_LONGEST_STEM])}.*.????????.part"):
        with suppress(OSError):
            handle = os.open(part, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if lock(handle):
                    part.unlink()
            finally:
                os.close(handle)


def _status(path: Path) -> os.stat_result | None:
    """Return what is there, links followed; None: nothing, or a link that leads nowhere yet."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def file_to_replace(path: Path) -> Path | None:
    """Return the regular file to replace, links followed; None: a device, FIFO or stream, to be written through."""
    found = _status(path)
    if found is None:
        return Path(os.path.realpath(path))
    kind = {stat.S_IFDIR: "folder", stat.S_IFBLK: "disk", stat.S_IFSOCK: "socket"}.get(stat.S_IFMT(found.st_mode))
    if kind is not None:
        raise IsADirectoryError(f"{path} is a {kind}: name a file")
    if not stat.S_ISREG(found.st_mode) or _stream_of(found):
        return None
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{path} is protected from writing: name another file")
    return Path(os.path.realpath(path))


@contextmanager
def _part_beside(target: Path) -> Iterator[Path]:
    """Make the temporary file beside a file, and hold a lock on it, which the system drops when the process is gone."""
    prefix = f".{target.name[:_LONGEST_STEM]}.{os.getpid()}."
    while True:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=".part")
        is_held, part = lock(handle, is_shared=True), Path(name)
        if is_held and part.exists():  # nobody has swept it away between our two lines
            break
        os.close(handle)
        if is_held is None:
            break
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
        if is_held:
            os.close(handle)


def _stream_of(found: os.stat_result) -> int | None:
    """Return 1 or 2 where a file is what standard output or error writes into, under whatever name."""
    for stream in (1, 2):
        with suppress(OSError):  # a stream may be closed
            if os.path.samestat(found, os.fstat(stream)):
                return stream
    return None


def _write_through(part: Path, path: Path) -> None:
    stream = _stream_of(path.stat())
    if stream is None:
        handle = _opened(path)
    else:
        sys.stdout.flush()  # what was printed before stands before
        handle = os.dup(stream)
    try:
        with part.open("rb") as source, open(handle, "wb") as target:
            shutil.copyfileobj(source, target, _COPIED)
    except OSError as error:  # of a handle it does not know the name
        raise OSError(error.errno, error.strerror, str(path)) from error


def _opened(path: Path) -> int:
    """Open what is no regular file for writing; a FIFO is waited for a while, not for ever."""
    end, waits = time.monotonic() + _READER_SECONDS, getattr(os, "O_NONBLOCK", 0)
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | waits)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > end:
                raise OSError(f"nobody reads from {path}: begin to read it, or name a file") from error
            time.sleep(0.05)
        else:
            if waits:
                os.set_blocking(handle, True)
            return handle


@contextmanager
def _full_disk_told(path: Path, part: Path, n_bytes: int | None) -> Iterator[None]:
    """Say of a full disk which file did not fit, and how much was missing."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch's writer raises a RuntimeError without the reason
        is_full = getattr(error, "errno", None) in _NO_SPACE
        if not is_full and (isinstance(error, OSError) or shutil.disk_usage(part.parent).free >= _SCARCE):
            raise
        n_written = part.stat().st_size if part.exists() else 0
        part.unlink(missing_ok=True)
        free = shutil.disk_usage(part.parent).free
        need = f"more than the {_megabytes(n_written)} that were written" if n_bytes is None else _megabytes(n_bytes)
        missing = "" if n_bytes is None or n_bytes <= free else f", {_megabytes(n_bytes - free)} are missing"
        text = f"{path}: no room on the disk: it needs {need}, {_megabytes(free)} are free{missing}; make room"
        full = OSError(text)
        full.errno = errno.ENOSPC
        raise full from error


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.3g} MB"


def _own(part: Path, found: os.stat_result | None) -> None:
    """Give the new file the permissions and the owner of the one that it replaces, or those of any new file."""
    if found is None:
        part.chmod(0o666 & ~_umask())  # mkstemp made it private
        return
    mode = stat.S_IMODE(found.st_mode) & 0o777  # nothing of ours runs as somebody else
    mine = part.stat()
    if hasattr(os, "chown") and (mine.st_uid, mine.st_gid) != (found.st_uid, found.st_gid):
        try:
            os.chown(part, found.st_uid, found.st_gid)
        except OSError:
            mode &= 0o707 if mine.st_gid != found.st_gid else 0o777  # what one group may read is not for another
    part.chmod(mode)


def _settle(folder: Path) -> None:
    """Bring the name to the disk as well, where a folder can be told to."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

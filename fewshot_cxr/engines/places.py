"""Where tables, films and shards lie: on this machine's disks, or at an address of fsspec (s3://, gs://)."""

import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast
from uuid import uuid4

from fsspec.core import url_to_fs

from fewshot_cxr.records import resolve_below
from fewshot_cxr.whole_files import sweep_parts

_HERE = "file://"


def whole_address(address: str) -> str:
    """Return an address that means the same wherever a process works: of a file of this machine, its absolute path."""
    return address.rstrip("/") if is_far(address) else os.path.abspath(address.removeprefix(_HERE))


def is_far(address: str) -> bool:
    """Return whether something lies elsewhere than on the disks of this machine."""
    return "://" in address and not address.startswith(_HERE)


def stamp_of(address: str) -> tuple[int, int] | None:
    """Return size and time of writing (nanoseconds) of a file; None of one that lies elsewhere, or is not there."""
    if is_far(address) or not os.path.exists(address):
        return None
    found = os.stat(address)
    return found.st_size, found.st_mtime_ns


def opened(address: str) -> IO[bytes]:
    """Open a file for reading.

    Raises:
        FileNotFoundError: there is none.
    """
    if not is_far(address):
        return Path(address).open("rb")
    system, path = url_to_fs(address)
    return cast("IO[bytes]", system.open(path, "rb"))


@contextmanager
def at_hand(address: str) -> Iterator[Path]:
    """Yield where a file can be read as one of this machine: itself or, while the block lasts, a copy of its name."""
    if not is_far(address):
        yield Path(address)
        return
    system, path = url_to_fs(address)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / posixpath.basename(path)
        system.get_file(path, str(copy))
        yield copy


def below(root: str, path: str) -> str:
    """Return the address of a film.

    Args:
        root: folder or address that paths start from.
        path: of the film; a whole address below the root is taken, too.

    Raises:
        ValueError: it leaves the root.
    """
    if not is_far(root):
        return str(resolve_below(Path(root), path.removeprefix(_HERE)))
    path = posixpath.normpath(path.removeprefix(f"{root}/"))
    if path.startswith(("/", "../")) or path == ".." or "://" in path or ":/" in path:
        raise ValueError(f"{path} leaves the data root {root}; name another root (--root)")
    return f"{root}/{path}"


def names_in(folder: str) -> set[str]:
    """Return the names of the files in a folder; none where there is no folder."""
    if not is_far(folder):
        return {file.name for file in Path(folder).iterdir()} if Path(folder).is_dir() else set()
    system, path = url_to_fs(folder)
    system.invalidate_cache()
    try:
        return {posixpath.basename(name) for name in system.ls(path, detail=False)}
    except FileNotFoundError:
        return set()


def commit(address: str, write: Callable[[Path], None]) -> None:
    """Write a file whole or not at all: under another name beside its own, then renamed.

    Args:
        address: of the file, which replaces one that is there.
        write: writes a file of this machine so.
    """
    if not is_far(address):
        write(Path(address))
        return
    system, path = url_to_fs(address)
    system.makedirs(posixpath.dirname(path), exist_ok=True)
    part = f"{path}.{uuid4().hex}.part"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "whole"
        write(copy)
        system.put_file(str(copy), part)
    system.mv(part, path)


def sweep(folder: str) -> None:
    """Remove what killed processes had begun to write in a folder of this machine's disks; what is in use stays."""
    if not is_far(folder):
        sweep_parts(Path(folder))

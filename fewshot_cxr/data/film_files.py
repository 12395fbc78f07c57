"""Which file each film is, and what stands for its content; known from last time while the file is as it was."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from fewshot_cxr._json import read_json
from fewshot_cxr.data.images import reading_mark
from fewshot_cxr.data.packs import file_hash
from fewshot_cxr.data.plain_file import check_plain
from fewshot_cxr.records import Records, resolve_below
from fewshot_cxr.whole_files import write_text

_MARK_VERSION = 3  # of `reading_mark`: what is remembered of older ones is marked anew


def find_files(records: Records) -> tuple[list[Path | None], dict[int, str]]:
    """Return where each film lies (None: it leaves the root, or is nowhere), and by row why not."""
    files: list[Path | None] = []
    reasons: dict[int, str] = {}
    folders: dict[str, Path] = {}
    for row, film in enumerate(records):
        name = film.path.rpartition("/")[2]
        folder = film.path.removesuffix(name)
        try:
            if folder not in folders:
                folders[folder] = resolve_below(records.root, folder)
            file = folders[folder] / name
            # Resolving each of 100,000 paths takes seconds; one in a checked folder leads out only by these.
            files.append(records.file(film) if name in ("", "..") or file.is_symlink() else file)
        except (OSError, ValueError) as error:
            files.append(None)
            reasons[row] = _cannot_open(error)
    return files, reasons


def hash_files(
    files: Sequence[Path | None], reasons: dict[int, str], memory: Path, pool: ThreadPoolExecutor
) -> list[list[Any]]:
    """Return of every file what stands for its content, a version and its hash; "" where there is none, and why."""
    known = _read_json(memory)

    def look(file: Path | None) -> list[Any] | OSError | None:
        if file is None:
            return None
        try:
            found = file.stat()
            check_plain(found)
            stamp = stamp_of(found)
            entry = known.get(str(file))
            is_known = isinstance(entry, list) and entry[:3] == stamp and isinstance(entry[-1], str)
            *_, version, key = entry if is_known and entry else (0, file_hash(file))
            if version == _MARK_VERSION:
                return entry
            return [*stamp, _MARK_VERSION, key.partition("-")[0] + reading_mark(file)]
        except OSError as error:
            return error

    entries, fresh = list[list[Any]](), dict[str, list[Any]]()
    for row, (file, entry) in enumerate(zip(files, pool.map(look, files), strict=True)):
        if isinstance(entry, OSError):
            reasons[row] = _cannot_open(entry)
        elif entry is not None and known.get(str(file)) != entry:
            fresh[str(file)] = entry
        entries.append(entry if isinstance(entry, list) else [0, ""])
    if fresh:
        with suppress(OSError):  # of a cache that we may only read: the files are hashed again next time
            write_text(memory, json.dumps(known | fresh))
    return entries


def stamp_of(found: os.stat_result) -> list[int]:
    """Return what stands for the content, as for `make`; the time of change, because copies keep that of writing."""
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _cannot_open(error: OSError | ValueError) -> str:
    return f"the file cannot be opened: {getattr(error, 'strerror', None) or error}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}

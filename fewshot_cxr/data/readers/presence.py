"""Which of the files that a table names are there, and below its root."""

import os
from collections.abc import Callable
from pathlib import Path

from fewshot_cxr.records import resolve_below

StateOf = Callable[[str, Path, int | None], tuple[str, str, str]]


def file_states(root: Path) -> StateOf:
    """Return a function from (path, table, row) to (path below the root, kind of problem or "", what is wrong or "").

    Each folder is listed once: asking the file system about every one of 100,000 films takes far longer.
    """
    real_root = root.resolve()
    listings: dict[str, dict[str, int]] = {}

    def look(name: str, table: Path, row: int | None) -> tuple[str, str, str]:
        folder, _, file = name.rpartition("/")
        if folder in listings and listings[folder].get(file, 0) > 0 and name[0] != "/":
            return name, "", ""  # most films: their folder is known, under this very name, and they are no links
        if os.path.isabs(name) or ".." in name.split("/"):
            name = _insist_below(table, row, name, root).relative_to(real_root).as_posix()
        name = os.path.normpath(name).replace(os.sep, "/")
        folder, _, file = name.rpartition("/")
        if folder not in listings:
            _insist_below(table, row, folder or ".", root)
            listings[folder] = _list_sizes(real_root, folder)
        size = listings[folder].get(file)
        if size == -1:
            size = _size_of_link(table, row, name, root)
        if size is None:
            return name, "missing", "the file is missing"
        return (name, "", "") if size else (name, "unreadable", "the file is empty")

    def state(cell: str, table: Path, row: int | None) -> tuple[str, str, str]:
        # As it stands first: a file's name may begin with a blank or hold a backslash.
        found = look(cell, table, row)
        if found[1] != "missing":
            return found
        plain = cell.strip().replace("\\", "/")
        return found if plain == cell else look(plain, table, row)

    return state


def _list_sizes(real_root: Path, folder: str) -> dict[str, int]:
    """Return size by name for one folder; -1 stands for a link, which is looked at one by one."""
    sizes: dict[str, int] = {}
    try:
        with os.scandir(real_root / folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    sizes[entry.name] = -1
                elif entry.is_file():
                    sizes[entry.name] = entry.stat().st_size
    except OSError:  # no such folder, or one that may not be looked into: none of its files is there for us
        return {}
    return sizes


def _insist_below(table: Path, row: int | None, name: str, root: Path) -> Path:
    try:
        return resolve_below(root, name)
    except ValueError as error:
        raise ValueError(f"{table}{'' if row is None else f', row {row}'}: {error}") from None


def _size_of_link(table: Path, row: int | None, name: str, root: Path) -> int | None:
    try:
        target = _insist_below(table, row, name, root)
        return target.stat().st_size if target.is_file() else None
    except OSError:  # it leads nowhere, or in a circle
        return None

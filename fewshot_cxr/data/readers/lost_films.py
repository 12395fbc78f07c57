"""Where a film lies that a table names otherwise: under another suffix, in another case, in another folder."""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from fewshot_cxr._visible import visible

Files = tuple[dict[str, list[str]], dict[str, list[str]]]
"""Paths of files below a root by their name, and by their stem, in small letters."""

_MOST_FILES = 50_000
_ENOUGH = 1_000
_FEW = 5


def lost_films(root: Path, missing: Sequence[str]) -> list[str]:
    """Look for files of nearly the names that are missing.

    Args:
        root: that the names start from; at most 50,000 files below it are looked at.
        missing: names of files that are not there; the first 1,000 are looked for.

    Returns:
        At most one note: how many were found, the first of them, and the flag that finds them all.
    """
    found, first = _look_for(root, missing[:_ENOUGH], _files(root)) if missing else ({}, {})
    n_sought = min(len(missing), _ENOUGH)
    return [
        f"{found[way]} of {n_sought} missing files lie there under another name, such as {first[way]}: {way}"
        for way in sorted(found, key=found.__getitem__, reverse=True)[:1]
    ]


def column_of_films(root: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return which column of a table names files that lie below a root, and the flags that take it; "" for none."""
    files = _files(root)
    for place, name in enumerate(names):
        cells = [row[place].strip() for row in rows[:_FEW] if place < len(row) and row[place].strip()]
        found, first = _look_for(root, cells, files)
        for way_out in found:
            flags = " ".join(filter(None, (f'--path-column "{name}"', way_out)))
            return visible(f"; {name} names files that lie there, such as {first[way_out]}: {flags}")
    return ""


def _look_for(root: Path, missing: Sequence[str], files: Files) -> tuple[dict[str, int], dict[str, str]]:
    """Return how many of the files each way out would find, and the first of these."""
    by_name, by_stem = files
    found: Counter[str] = Counter()
    first: dict[str, str] = {}
    for name in missing:
        lost = PurePosixPath(name.replace("\\", "/"))
        there = (
            by_name.get(lost.name.casefold()) or by_stem.get(lost.name.casefold()) or by_stem.get(lost.stem.casefold())
        )
        if there is None:
            continue
        way_out = _way_out(root, lost, PurePosixPath(there[0]))
        found[way_out] += 1
        first.setdefault(way_out, f"{there[0]} for {name}")
    return dict(found), first


def _way_out(root: Path, lost: PurePosixPath, there: PurePosixPath) -> str:
    flags = []
    if there.name != lost.name and there.name.startswith(lost.name):
        flags.append(f"--path-suffix {there.name.removeprefix(lost.name)}")
    elif there.name != lost.name:
        return "correct the names in the table"
    above = len(there.parts) - len(lost.parts)
    if there.parent != lost.parent:
        if above <= 0 or there.parts[above:-1] != lost.parts[:-1]:
            return "correct the folders in the table, or name the folder with --root"
        flags.append(f"--root {root.joinpath(*there.parts[:above])}")
    return " ".join(flags)


def _files(root: Path) -> Files:
    by_name: dict[str, list[str]] = defaultdict(list)
    by_stem: dict[str, list[str]] = defaultdict(list)
    n_files = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(folder).relative_to(root).as_posix()
        for name in sorted(names):
            path = name if below == "." else f"{below}/{name}"
            by_name[name.casefold()].append(path)
            by_stem[os.path.splitext(name)[0].casefold()].append(path)
        n_files += len(names)
        if n_files > _MOST_FILES:
            break
    return by_name, by_stem

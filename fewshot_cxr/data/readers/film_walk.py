"""Where the films of a folder lie: every picture below it, in order, and what is none or could not be looked into."""

import os
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fewshot_cxr.data.dicom import HEAD_BYTES, is_dicom
from fewshot_cxr.data.images import is_image_name, is_picture
from fewshot_cxr.data.split_names import split_named
from fewshot_cxr.records import Problem

_DICOM_INDEX = "DICOMDIR"  # PS3.10, 8.6: the index of a medium, and no film
_OF_SYSTEMS = frozenset({_DICOM_INDEX, "THUMBS.DB", "DESKTOP.INI"})
_MOST_KINDS = 6
_DICOM, _PICTURE = " (DICOM, which --any-name takes)", " (a picture by its content: give it its suffix)"


class Walk(NamedTuple):
    """What lies below a folder.

    Args:
        paths: of the pictures, below the folder, sorted.
        problems: what could not be looked into.
        others: the kind of every other file (its suffix, and whether it is a picture or DICOM all the same), by path.
    """

    paths: list[str]
    problems: list[Problem]
    others: dict[str, str]

    @property
    def notes(self) -> tuple[str, ...]:
        """How many files are passed over, by their kind; nothing where there is none."""
        counts = Counter(self.others.values()).most_common()
        told = [f"{count} {kind}" for kind, count in counts[:_MOST_KINDS]]
        rest = sum(count for _, count in counts[_MOST_KINDS:])
        told += [f"{rest} of other kinds"] if rest else []
        return (f"passed over, no films by their names: {', '.join(told)}",) if told else ()


def descend(root: Path) -> Path:
    """Return the one folder inside that holds train/val/test folders of findings, else the root itself.

    A zip is often unpacked into a folder of its own name, once or twice. Where a picture or a second folder lies
    beside, the root is what was meant.
    """
    place = root
    while True:
        folders, has_picture = _look(place)
        splits = [name for name in folders if split_named(name)]
        if splits:
            return place if any(_look(place / name)[0] for name in splits) else root
        if len(folders) != 1 or has_picture:
            return root
        place /= folders[0]


def walk_films(root: Path, *, any_name: bool) -> Walk:
    """Find every file with a picture's name; hidden ones, and links to folders, are not followed.

    Args:
        root: where to look, at any depth.
        any_name: also take files that are a DICOM by content, whatever their name.
    """
    paths: list[str] = []
    problems: list[Problem] = []
    others: dict[str, str] = {}

    def leave_out(folder: str, reason: str) -> None:
        problems.append(Problem(None, Path(folder).relative_to(root).as_posix(), reason))

    def refuse(error: OSError) -> None:
        leave_out(str(error.filename), f"cannot be opened: {error.strerror}")

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if _is_seen(name)]
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                leave_out(os.path.join(folder, name), "is a link to a folder, which is not followed")
        if Path(folder) == root and (copies := _copies(root, folders)):
            folders[:] = [name for name in folders if name not in copies]
            for name in copies:
                leave_out(os.path.join(folder, name), "holds train/val/test folders beside train/val/test folders")
        below = Path(folder).relative_to(root).as_posix()
        for name in names:
            path = name if below == "." else f"{below}/{name}"
            kind = _kind(folder, name)
            if kind == "" or (any_name and (kind or "").endswith(_DICOM)):
                paths.append(path)
            elif kind:
                others[path] = kind
    return Walk(sorted(paths), problems, others)


def _copies(root: Path, folders: list[str]) -> list[str]:
    """Return the folders beside train/val/test that hold such folders again: a second copy of all films, often."""
    others = [name for name in folders if not split_named(name) and not (root / name).is_symlink()]
    if not any(split_named(name) for name in folders):
        return []
    return [name for name in others if any(split_named(inner) for inner in _look(root / name)[0])]


def _kind(folder: str, name: str) -> str | None:
    """Return "" for a picture's name; None for what belongs to the system; else what else the file is."""
    if is_image_name(name):
        return ""
    file = Path(folder, name)
    if name.startswith(".") or name.upper() in _OF_SYSTEMS or not file.is_file():
        return None
    suffix = PurePosixPath(name).suffix.lower()
    kind = suffix if suffix and not suffix[1:].isdigit() else "without suffix"
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:  # it may be one: as a film that cannot be opened it is named
        return kind + _DICOM
    return kind + (_DICOM if is_dicom(head) else _PICTURE if is_picture(head) else "")


def _look(place: Path) -> tuple[list[str], bool]:
    """Return the names of the folders in a folder, and whether a picture lies there too."""
    try:
        with os.scandir(place) as scanned:
            entries = list(scanned)
    except OSError:  # os.walk meets it again, and names it
        return [], False
    folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and _is_seen(entry.name)]
    return folders, any(is_image_name(entry.name) for entry in entries)


def _is_seen(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"  # which zips made by macOS hold

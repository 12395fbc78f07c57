"""A folder for each finding: root/<finding>/*.png, or root/<split>/<finding>/*.png."""

import os
import re
from pathlib import Path

from fewshot_cxr.data.images import is_image_name
from fewshot_cxr.records import Problem, Record, Records

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read_image_folder(root: str | Path, *, patient_pattern: str | None = None) -> Records:
    """Read films whose folder is their finding.

    Args:
        root: holds a folder for each finding (its films may lie deeper), or train/val/test folders of such.
        patient_pattern: regular expression, searched in the path below the root; its first group (or, without one,
            the whole match) is the patient. None: each film counts as its own patient.

    Returns:
        Films sorted by path. Pictures outside any finding's folder, empty files, linked folders and links that leave
        the root are in `.problems`; hidden files and folders are passed over.

    Raises:
        FileNotFoundError: no film, or no such folder.
        ValueError: the pattern is no regular expression.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; expected {root}/<finding>/*.png")
    pattern = _compile(patient_pattern)
    films: list[Record] = []
    paths, problems = _walk(root)
    for path in paths:
        parts = path.split("/")
        split = SPLITS.get(parts[0].lower())
        folders = parts[1:-1] if split else parts[:-1]
        reason = _reason(root, path, folders)
        if reason:
            problems.append(Problem(None, path, reason))
            continue
        found = pattern.search(path) if pattern else None
        patient = (found.group(1) if found.groups() else found.group()) if found else None
        films.append(Record(path, (folders[0],), patient_id=patient or None, split=split))
    if not films:
        inside = ", ".join(sorted(item.name for item in root.iterdir())[:5]) or "nothing"
        first = f"; {len(problems)} left out, the first: {problems[0].path} {problems[0].reason}" if problems else ""
        raise FileNotFoundError(
            f"{root} holds no film: expected {root}/<finding>/*.png (or .jpg, .tif), found {inside}{first}"
        )
    return Records(tuple(films), root, tuple(problems), _notes(films, pattern))


def _compile(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise ValueError(f"--patient-pattern {pattern!r} is no regular expression: {error}") from error


def _walk(root: Path) -> tuple[list[str], list[Problem]]:
    """Return the paths of all pictures, sorted, and what could not be looked into."""
    paths: list[str] = []
    problems: list[Problem] = []

    def leave_out(folder: str, reason: str) -> None:
        problems.append(Problem(None, Path(folder).relative_to(root).as_posix(), reason))

    def refuse(error: OSError) -> None:
        leave_out(str(error.filename), f"cannot be opened: {error.strerror}")

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                leave_out(os.path.join(folder, name), "is a link to a folder, which is not followed")
        below = Path(folder).relative_to(root).as_posix()
        paths += [name if below == "." else f"{below}/{name}" for name in names if is_image_name(name)]
    return sorted(paths), problems


def _reason(root: Path, path: str, folders: list[str]) -> str:
    file = root / path
    if not folders:
        return "lies in no finding's folder"
    if path != path.encode(errors="replace").decode():
        return "has a name that is not UTF-8"
    try:
        if file.is_symlink() and not file.resolve().is_relative_to(root.resolve()):
            return "is a link that leaves the folder"
        return "" if file.stat().st_size else "is empty"
    except OSError as error:
        return f"cannot be opened: {error.strerror}"


def _notes(films: list[Record], pattern: re.Pattern[str] | None) -> tuple[str, ...]:
    if pattern is None:
        return (
            "patients are unknown: each film counts as its own patient, so films of one patient may leak between "
            "splits; name a --patient-pattern",
        )
    n_unmatched = sum(film.patient_id is None for film in films)
    if n_unmatched:
        return (f"{n_unmatched} of {len(films)} paths do not match the patient pattern: each is its own patient",)
    return ()

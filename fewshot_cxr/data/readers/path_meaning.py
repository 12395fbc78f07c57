"""What the folders of a film's path say: its split and its finding."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fewshot_cxr.data.readers.folder_names import is_form
from fewshot_cxr.data.split_names import split_named

_MOST_FINDINGS = 12  # more folders are rather patients


class Meaning(NamedTuple):
    """What the folders of one path say; None: nothing."""

    split: str | None
    finding: str | None


def path_meanings(paths: Sequence[str]) -> tuple[dict[str, Meaning], tuple[str, ...]]:
    """Read the folders of each path: [split/]finding[/deeper], wherever a folder of the form alone (images) comes in.

    Args:
        paths: of films, below one root.

    Returns:
        By path, what it says; and what should be known of it.
    """
    folders = {path: [name for name in path.split("/")[:-1] if not is_form(name)] for path in paths}
    has_splits = any(len(names) > 1 and split_named(names[0]) for names in folders.values())
    meanings: dict[str, Meaning] = {}
    strangers: Counter[str] = Counter()
    for path, names in folders.items():
        split = split_named(names[0]) if names else None
        if has_splits and names and split is None:
            strangers[names[0]] += 1
        below = names[1:] if split or has_splits else names
        meanings[path] = Meaning(split, below[0] if below else None)
    notes = [
        f"the folder {name} lies beside those of splits and means none that is known: no split for its films ({count})"
        for name, count in sorted(strangers.items())
    ]
    return meanings, (*notes, *_one_finding(folders.values(), {meaning.finding for meaning in meanings.values()}))


def _one_finding(folders: Iterable[list[str]], findings: set[str | None]) -> list[str]:
    """Say where all films have one finding, though the folders inside may be the findings that were meant."""
    inner = sorted({names[1] for names in folders if len(names) > 1})
    is_told = 1 < len(inner) <= _MOST_FINDINGS and not any(map(split_named, inner))
    if len(findings) > 1 or None in findings or not is_told:
        return []
    told = f"all films are called {findings.pop()}, as the one folder is"
    return [f"{told}; if {', '.join(inner)} in it are the findings, name that folder instead"]

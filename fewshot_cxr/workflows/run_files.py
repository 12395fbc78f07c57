"""What commands wrote, read again."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fewshot_cxr._csv import plain_cell
from fewshot_cxr._json import read_json
from fewshot_cxr._kinds import CARD, HISTORY, RESULT
from fewshot_cxr.evaluation import Audit, Result, result_from_json

Row = Mapping[str, float]


def read_audit(path: Path) -> Audit:
    """Read an audit that `fscxr data audit --json` wrote.

    Raises:
        ValueError: the file is none.
    """
    value = read_json(path)
    try:
        return Audit.from_json(value)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_result(path: Path) -> Result:
    """Read a result of episode-eval or evaluate: a JSON file, or the result.json of a recipe's run folder.

    Raises:
        FileNotFoundError: the folder has no result.json.
        ValueError: the file is no such result.
    """
    file = path / RESULT if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{path} has no {RESULT}; `fscxr evaluate --json FILE` writes a result")
    value = read_json(file)
    try:
        return result_from_json(value)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _told(card: Path) -> Mapping[str, Any]:
    told = read_json(card) if card.is_file() else {}
    return told if isinstance(told, dict) else {}


def read_history(path: Path) -> tuple[tuple[Row, ...], int | None]:
    """Read a row per epoch, and the epoch that was kept: of a run folder, or of its history.csv.

    Raises:
        FileNotFoundError: the folder has no history.csv.
        ValueError: the file is no such table.
    """
    file = path / HISTORY if path.is_dir() else path
    if not file.is_file():
        if "keep" in _told(file.parent / CARD):
            raise FileNotFoundError(f"{path} was fitted without a step of training (--keep), and has no epochs to show")
        raise FileNotFoundError(f"{path} has no {HISTORY}; `fscxr train` writes it into its run folder")
    rows = read_epochs(file)
    if not rows or not {"epoch", "loss"} <= rows[0].keys():
        raise ValueError(f"{file} has no columns epoch and loss, or no row; name a run folder of `fscxr train`")
    best = _told(file.parent / CARD).get("best_epoch")
    return rows, best if best in [row["epoch"] for row in rows] else None


def read_epochs(file: Path) -> tuple[Row, ...]:
    """Read the rows of a history.csv; what was not measured in an epoch is left out of its row.

    Raises:
        ValueError: the file is no table of numbers.
    """
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            rows = list(csv.DictReader(opened))
        return tuple({plain_cell(name): float(value) for name, value in row.items() if value} for row in rows)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} is no table of numbers; name a run folder of `fscxr train`") from error


def short_names(paths: Sequence[Path]) -> list[str]:
    """Name each file or folder after itself, with as many folders before it as tell them apart.

    A file goes without its suffix, unless that alone tells it from another. One place named twice has one name.
    """
    places = [path.resolve() for path in paths]
    bare = [place.parts if place.is_dir() else (*place.parts[:-1], place.stem) for place in places]
    whole = [place.parts for place in places]
    for parts in (bare, whole):
        for length in range(1, max(map(len, parts), default=0) + 1):
            names = ["/".join(own[-length:]) for own in parts]
            if len(set(names)) == len(set(places)):
                return names
    return [place.name for place in places]

"""What a figure is drawn from, and how it is to look."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import Result, result_from_json
from fewshot_cxr.records import Records

_RESULT, _HISTORY, _CARD = "result.json", "history.csv", "card.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class PlotInputs:
    """Of these a kind of figure takes what it is drawn from; `name` is what messages call it.

    `films` are all films, or those that the embeddings are of; `before` are other embeddings of the same films.
    `best_epoch` is the one that was kept, where that is known.
    """

    name: str = "the source"
    result: Result | None = None
    history: tuple[Mapping[str, float], ...] = ()
    best_epoch: int | None = None
    films: Records | None = None
    embeddings: Embeddings | None = None
    before: Embeddings | None = None


@dataclass(frozen=True, kw_only=True)
class PlotOptions:
    """How a figure looks, and what is chosen for it; `queries` are paths of films, none: drawn by `seed`."""

    title: str = ""
    theme: str = "light"
    seed: int = 0
    method: str = "tsne"
    colour: str = "finding"
    distance: str = "euclidean"
    queries: tuple[str, ...] = ()
    cache_folder: Path | None = None
    progress: Callable[[int, int], None] | None = None


def read_result(path: Path) -> Result:
    """Read a result of episode-eval or evaluate: a JSON file, or the result.json of a recipe's run folder.

    Raises:
        FileNotFoundError: the folder has no result.json.
        ValueError: the file is no such result.
    """
    file = path / _RESULT if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{path} has no {_RESULT}; `fscxr evaluate --json FILE` writes a result")
    try:
        return result_from_json(json.loads(file.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no result in JSON; `fscxr evaluate --json FILE` writes one") from error
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def read_history(path: Path) -> tuple[tuple[Mapping[str, float], ...], int | None]:
    """Read a row per epoch, and the epoch that was kept: of a run folder, or of its history.csv.

    Raises:
        FileNotFoundError: the folder has no history.csv.
        ValueError: the file is no such table.
    """
    file = path / _HISTORY if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{path} has no {_HISTORY}; `fscxr train` writes it into its run folder")
    try:
        rows = tuple(_numbers(row) for row in csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} is no table of numbers; name a run folder of `fscxr train`") from error
    if not rows or not {"epoch", "loss"} <= rows[0].keys():
        raise ValueError(f"{file} has no columns epoch and loss, or no row; name a run folder of `fscxr train`")
    card = file.parent / _CARD
    facts: dict[str, Any] = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    best = facts.get("best_epoch")
    return rows, best if best in [row["epoch"] for row in rows] else None


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    # What was not measured in an epoch is an empty cell.
    return {name: float(value) for name, value in row.items() if value}

"""What a report is made of: run folders and JSON files, each told by what it holds."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fewshot_cxr.evaluation import Audit, Comparison, result_from_json
from fewshot_cxr.report.run_page import PageParts
from fewshot_cxr.report.run_sections import ShownResult, ShownRun
from fewshot_cxr.workflows.made_by import MADE_BY_FILE
from fewshot_cxr.workflows.short_names import short_names

CARD, HISTORY, SPLIT = "card.json", "history.csv", "split.csv"
_RESULTS = ("episodes.json", "result.json")  # of a run folder, as the recipes write them
_WAYS = (
    "fscxr train and recipes write run folders; episode-eval, evaluate, compare and data audit write such a file "
    "with --json"
)


@dataclass(frozen=True)
class Inputs:
    """The parts of a page without its films, and the run folders, in the order in which they were named."""

    parts: PageParts
    folders: tuple[Path, ...]


def read_inputs(sources: Sequence[Path]) -> Inputs:
    """Read run folders and JSON files, in any mix.

    Args:
        sources: folders with card.json and, as far as they are there, history.csv, split.csv, result.json and
            episodes.json; and JSON files of episode-eval, evaluate, compare and data audit.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a file is none of these, or is not whole; the text says what writes one.
    """
    if not sources:
        raise ValueError(f"a report needs a run folder or a JSON file, got none; {_WAYS}")
    names = short_names(sources)
    runs: list[ShownRun] = []
    folders: list[Path] = []
    found: dict[str, list[Any]] = {"results": [], "comparisons": [], "audits": []}
    read: set[Path] = set()
    for source, name in zip(sources, names, strict=True):
        if source.resolve() in read:  # named twice, or a run's own result: it would be compared with itself
            continue
        read.add(source.resolve())
        if not source.exists():
            raise FileNotFoundError(f"{source}: no such file or folder")
        if not source.is_dir():
            part, value = _read_value(source, name)
            found[part].append(value)
            continue
        runs.append(_read_run(source, name))
        folders.append(source)
        for file in _RESULTS:
            if (source / file).resolve() not in read and (source / file).exists():
                read.add((source / file).resolve())
                part, value = _read_value(source / file, name)
                # A recipe judges in the command that trains.
                found[part].append(replace(value, made_by=value.made_by or runs[-1].made_by))
    parts = PageParts(runs=tuple(runs), **{name: tuple(values) for name, values in found.items()})
    return Inputs(parts, tuple(folders))


def _read_run(folder: Path, name: str) -> ShownRun:
    if not (folder / CARD).exists():
        inner = next((part.parent.name for part in sorted(folder.glob(f"*/{CARD}"))), None)
        hint = f"; its folder {inner} does" if inner else ""
        raise ValueError(f"{folder} holds no {CARD} and is no run folder{hint}; {_WAYS}")
    card = _read_json(folder / CARD)
    if not isinstance(card, dict):
        raise ValueError(f"{folder / CARD} is no card of a run; train again, or name another folder")
    made_by = _read_json(folder / MADE_BY_FILE) if (folder / MADE_BY_FILE).exists() else {}
    return ShownRun(
        name,
        card,
        _read_header(folder / SPLIT),
        _read_history(folder / HISTORY),
        made_by if isinstance(made_by, dict) else {},
    )


def _read_value(path: Path, name: str) -> tuple[str, Any]:
    """Return which part of the page a file belongs to, and its value."""
    plain = _read_json(path)
    kind = plain.get("kind") if isinstance(plain, dict) else None
    if isinstance(plain, dict) and kind is None and {"confounding", "near_duplicates"} <= plain.keys():
        kind = "audit"
    read = _READERS.get(str(kind))
    if read is None:
        told = f"its kind is {kind!r}" if kind is not None else "it does not say its kind"
        raise ValueError(f"{path} is nothing that a report shows ({told}); {_WAYS}")
    part, make = read
    try:
        return part, make(name, plain)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not whole ({error!r}); write it again") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _shown_result(name: str, plain: Mapping[str, Any]) -> ShownResult:
    made_by = plain.get("made_by")
    return ShownResult(name, result_from_json(plain), made_by if isinstance(made_by, dict) else {})


_READERS: dict[str, tuple[str, Callable[[str, Mapping[str, Any]], Any]]] = {
    "episodes": ("results", _shown_result),
    "closed_set": ("results", _shown_result),
    "multi_label": ("results", _shown_result),
    "comparison": ("comparisons", lambda name, plain: (name, Comparison.from_json(plain))),
    "audit": ("audits", lambda name, plain: (name, Audit.from_json(plain))),
}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON ({error}); {_WAYS}") from error


def _read_header(path: Path) -> dict[str, Any]:
    """Return what the first line of a manifest says of it; {} where there is no file or no such line."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as opened:
        first = opened.readline()
    try:
        value = json.loads(first.removeprefix("# ")) if first.startswith("# ") else {}
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _read_history(path: Path) -> tuple[dict[str, float], ...]:
    if not path.exists():
        return ()
    with path.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    try:
        return tuple({name: float(value) for name, value in row.items() if value} for row in rows)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no history of a training ({error}); remove it, or train again") from error

"""What a report is made of: run folders and JSON files, each told by what it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fewshot_cxr import _kinds
from fewshot_cxr._json import read_json
from fewshot_cxr.data.readers.csv_table import read_text, split_lead
from fewshot_cxr.data.readers.manifest import lead_facts
from fewshot_cxr.encoders import load_card
from fewshot_cxr.evaluation import Audit, Comparison, LearningCurve, result_from_json
from fewshot_cxr.evaluation.learning_curve_result import LEARNING_CURVE
from fewshot_cxr.evaluation.plain_values import read_plain
from fewshot_cxr.report.run_page import PageParts
from fewshot_cxr.report.run_sections import ShownResult, ShownRun
from fewshot_cxr.workflows import run_files

_RESULTS = (_kinds.EPISODES, _kinds.RESULT)  # of a run folder, as the recipes write them
_PARTS = {"episodes": "results", "closed_set": "results", "multi_label": "results"}
_PARTS |= {"comparison": "comparisons", "audit": "audits", LEARNING_CURVE: "curves"}
_READERS = {"audits": Audit.from_json, "comparisons": Comparison.from_json, "curves": LearningCurve.from_json}
_WAYS = (
    "fscxr train and recipes write run folders; episode-eval, evaluate, compare, learning-curve and data audit write "
    "such a file with --json"
)


@dataclass(frozen=True)
class _Spec:
    size_px: int = 0
    top_crop: float = 0.0
    border_crop: float = 0.0


@dataclass(frozen=True)
class _Card:
    """What a page shows of a run's card."""

    training: dict[str, Any] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)
    image_spec: _Spec = _Spec()
    findings: tuple[str, ...] = ()
    n_films: dict[str, int] = field(default_factory=dict)
    n_patients: dict[str, int] = field(default_factory=dict)
    n_films_without_patient: dict[str, int] = field(default_factory=dict)
    data_hash: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    best_epoch: int | None = None
    val_accuracy: float | None = None


@dataclass(frozen=True)
class _MadeBy:
    versions: dict[str, Any] = field(default_factory=dict)


def _checked(kind: Any, value: Any, path: Path) -> dict[str, Any]:
    """Return an object whose parts are of the types of a dataclass's fields, as far as they are there."""
    try:
        read_plain(kind, value)
    except ValueError as error:
        raise ValueError(f"{path} is not whole: {error}; train again, or name another folder") from error
    return dict(value)


def read_inputs(sources: Sequence[Path]) -> tuple[PageParts, tuple[Path, ...]]:
    """Read run folders and JSON files, in any mix.

    Args:
        sources: folders with card.json and, as far as they are there, history.csv, split.csv, result.json and
            episodes.json; and JSON files of episode-eval, evaluate, compare and data audit.

    Returns:
        The parts of a page without its films, and the run folders, in the order in which they were named.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a file is none of these, or is not whole; the text says what writes one.
    """
    if not sources:
        raise ValueError(f"a report needs a run folder or a JSON file, got none; {_WAYS}")
    # By where they lie: what is named twice, or a run's own result, would be compared with itself.
    runs: dict[Path, tuple[Path, ShownRun]] = {}
    files: dict[Path, tuple[Path, str, Mapping[str, Any]]] = {}
    for source, name in zip(sources, run_files.short_names(sources), strict=True):
        place = source.resolve()
        if not source.exists():
            raise FileNotFoundError(f"{source}: no such file or folder")
        if not source.is_dir():
            files.setdefault(place, (source, name, {}))
        elif place not in runs:
            run = _read_run(source, name)
            runs[place] = source, run
            for file in _RESULTS:
                if (source / file).exists():
                    # A recipe judges in the command that trains.
                    files.setdefault((source / file).resolve(), (source / file, name, run.made_by))
    found: dict[str, list[Any]] = {part: [] for part in ("results", *_READERS)}
    for path, name, made_by in files.values():
        part, value = _read_value(path, name, made_by)
        found[part].append(value)
    parts = PageParts(
        runs=tuple(run for _, run in runs.values()), **{name: tuple(some) for name, some in found.items()}
    )
    return parts, tuple(folder for folder, _ in runs.values())


def _read_run(folder: Path, name: str) -> ShownRun:
    if not (folder / _kinds.CARD).exists():
        inner = next((part.parent.name for part in sorted(folder.glob(f"*/{_kinds.CARD}"))), None)
        hint = f"; its folder {inner} does" if inner else ""
        raise ValueError(f"{folder} holds no {_kinds.CARD} and is no run folder{hint}; {_WAYS}")
    # The copy beside the encoder has no hash, and may be that of another run.
    is_whole = (folder / _kinds.ENCODER_FILE).is_file()
    card = _checked(_Card, load_card(folder) if is_whole else read_json(folder / _kinds.CARD), folder / _kinds.CARD)
    history = run_files.read_epochs(folder / _kinds.HISTORY) if (folder / _kinds.HISTORY).exists() else ()
    lead = split_lead(read_text(folder / _kinds.SPLIT)[0])[0] if (folder / _kinds.SPLIT).exists() else []
    file = folder / _kinds.PROVENANCE_FILE
    made_by = _checked(_MadeBy, read_json(file), file) if file.exists() else {}
    return ShownRun(name, card, lead_facts(lead) or {}, history, made_by)


def _read_value(path: Path, name: str, made_by: Mapping[str, Any]) -> tuple[str, Any]:
    """Return which part of the page a file belongs to, and its value."""
    plain = read_json(path)
    kind = plain.get("kind") if isinstance(plain, dict) else None
    if isinstance(plain, dict) and kind is None and {"confounding", "near_duplicates"} <= plain.keys():
        kind = "audit"
    part = _PARTS.get(str(kind))
    if part is None:
        told = f"its kind is {kind!r}" if kind is not None else "it does not say its kind"
        raise ValueError(f"{path} is nothing that a report shows ({told}); {_WAYS}")
    try:
        if part == "results":
            own = _checked(_MadeBy, plain.get("made_by") or {}, path)
            return part, ShownResult(name, result_from_json(plain), own or made_by)
        return part, (name, _READERS[part](plain))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error

"""Predictions of any classifier, from a CSV with one row per film."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot_cxr._checks import MOST_JUDGED, check_few_findings, nearest
from fewshot_cxr.data import patient_ids
from fewshot_cxr.data.no_value import says_nothing
from fewshot_cxr.data.readers.columns import COLUMNS
from fewshot_cxr.data.readers.csv_table import parse_rows, read_text
from fewshot_cxr.data.split_names import plain
from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.records import Record

_PREDICTED = "predicted"
_ROW_NAMES = {"id", "index", "unnamed0"}  # of rows, as tables of other programs have them
_SUM_SLACK = 0.05  # probabilities written with two digits, of many findings
_EXACT = 1e-6
_NO_PATIENTS = "no column patient_id or group_id: each film counts as a patient of its own"


@dataclass(frozen=True)
class _Table:
    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]  # number of the row in the file, cells

    def place(self, kind: str) -> int | None:
        names = [plain(name) for name in self.header]
        return next((names.index(name) for name in COLUMNS[kind] if name in names), None)

    def fail(self, number: int, what: str) -> ValueError:
        return ValueError(f"{self.path}, row {number}: {what}")


def read_predictions(path: str | Path) -> Answers:
    """Read what a classifier predicted (comma, semicolon or tab).

    Columns, found by name in any case: `path, file, filename, image`; the true finding, `label, finding, class`;
    optional `patient_id` and `group_id`; and then for every finding a column of its name with its probability, 0..1,
    or one column `predicted` (tied findings separated by `|`). Columns of a manifest (`source`, `split`, ...)
    and of row numbers (`id`, `index`) are passed over; any other is taken for a finding.

    Args:
        path: the CSV.

    Returns:
        Answers. Probabilities that do not add up to 1 for rounding (0.95 to 1.05) are divided by their sum, and a
        note says of how many films.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column is missing, there are more than 256 findings, or a row is not as it should be; its number
            is named.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with open(f"{folder}/said.csv", "w") as table:
        ...         print("path,label,normal,covid19", file=table)
        ...         print("1.png,normal,0.75,0.25", file=table)
        ...     answers = read_predictions(f"{folder}/said.csv")
        >>> answers.findings, answers.probabilities.tolist()
        (('covid19', 'normal'), [[0.25, 0.75]])
    """
    table = _read_table(Path(path))
    places = {kind: table.place(kind) for kind in COLUMNS}
    for kind in ("path", "label"):
        if places[kind] is None:
            raise ValueError(
                f"{path} has no column {COLUMNS[kind][0]} (or {', '.join(COLUMNS[kind][1:3])}); "
                f"it has {', '.join(table.header)}"
            )
    records = [_record(table, number, cells, places) for number, cells in table.rows]
    _refuse_twice(table, records)
    true = [film.finding for film in records]
    known = {name for names in COLUMNS.values() for name in names} | {_PREDICTED} | _ROW_NAMES
    columns = [place for place, name in enumerate(table.header) if name and plain(name) not in known]
    lower = [name.lower() for name in table.header]
    notes: list[str] = []
    if columns:
        findings = tuple(table.header[place] for place in columns)
        probabilities = _probabilities(table, columns, findings, true, notes)
        if _PREDICTED in lower:
            notes.append("the column predicted is not read: decisions follow from the probabilities")
    elif _PREDICTED in lower:
        findings, probabilities = _credits(table, lower.index(_PREDICTED), true)
    else:
        raise ValueError(
            f"{path} has neither a column predicted nor one of probabilities for each of {', '.join(sorted(set(true)))}"
        )
    if len(findings) < 2:
        raise ValueError(f"{path} knows one finding only ({findings[0]}); a column for each of two or more is needed")
    has_patients = places["patient"] is not None or places["group"] is not None
    return Answers(
        findings=findings,
        truth=[findings.index(name) for name in true],
        probabilities=probabilities,
        paths=tuple(film.path for film in records),
        patient_ids=patient_ids(records),
        has_probabilities=bool(columns),
        rule="predictions of a file",
        notes=(*notes, *(() if has_patients else (_NO_PATIENTS,))),
    )


def _read_table(path: Path) -> _Table:
    text, _ = read_text(path)
    rows = parse_rows(path, text, ",;\t")
    header = [name.strip() for name in rows[0]]
    table = _Table(path, header, [(n, row) for n, row in enumerate(rows[1:], start=2) if any(row)])
    if not table.rows:
        raise ValueError(f"{path} has a header and no row; write one row per film")
    if len({name.lower() for name in header}) != len(header):
        raise ValueError(f"{path} names a column twice: {', '.join(header)}")
    for number, cells in table.rows:
        if len(cells) != len(header):
            raise table.fail(number, f"{len(cells)} cells under {len(header)} columns")
    return table


def _record(table: _Table, number: int, cells: list[str], places: dict[str, int | None]) -> Record:
    text = {
        kind: None if place is None or says_nothing(cells[place]) else cells[place].strip()
        for kind, place in places.items()
    }
    if text["path"] is None or text["label"] is None:
        raise table.fail(number, f"no {'path' if text['path'] is None else 'finding'}; every film needs both")
    if "|" in text["label"]:
        raise table.fail(number, f"several findings ({text['label']}); closed-set evaluation needs one per film")
    return Record(text["path"], (text["label"],), text["patient"], text["group"])


def _refuse_twice(table: _Table, records: Sequence[Record]) -> None:
    """Refuse a film of two rows, however its path is spelt: it has one truth, and counts once."""
    first: dict[str, tuple[int, str]] = {}
    for (number, _), film in zip(table.rows, records, strict=True):
        before, finding = first.setdefault(posixpath.normpath(film.path.replace("\\", "/")), (number, film.finding))
        if before != number:
            told = "" if finding == film.finding else f" as {finding}, and {film.finding} here"
            way_out = "name each film once, or give two films of one name their folders"
            raise table.fail(number, f"{film.path} is named in row {before}{told}; {way_out}")


def _probabilities(
    table: _Table, columns: list[int], findings: tuple[str, ...], true: Sequence[str], notes: list[str]
) -> np.ndarray:
    check_few_findings(findings, MOST_JUDGED, f"{table.path}")
    if lacking := sorted(set(true) - set(findings)):
        raise ValueError(
            f"{table.path} has no column of probabilities for {', '.join(lacking)}{nearest(lacking[0], findings)}; "
            f"its columns of findings are {', '.join(findings)}"
        )
    values = np.empty((len(table.rows), len(columns)))
    for row, (number, cells) in enumerate(table.rows):
        for column, place in enumerate(columns):
            values[row, column] = _probability(table, number, place, cells[place])
    sums = values.sum(axis=1)
    if (is_off := np.abs(sums - 1) > _SUM_SLACK).any():
        row = int(np.flatnonzero(is_off)[0])
        raise table.fail(
            table.rows[row][0], f"the probabilities add up to {sums[row]:.4g}, not 1: write a softmax, or `predicted`"
        )
    if n_rounded := int((np.abs(sums - 1) > _EXACT).sum()):
        notes.append(f"the probabilities of {n_rounded} films add up to 1 but for rounding: divided by their sum")
    return np.asarray(values / sums[:, None])


def _probability(table: _Table, number: int, place: int, text: str) -> float:
    try:
        value = float(text.replace(",", ".", 1))  # a decimal comma
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        name = table.header[place]
        raise table.fail(number, f"{name} is {text!r}, a probability 0..1 was expected; drop columns of no finding")
    return value


def _credits(table: _Table, place: int, true: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the findings that occur, and the share of each film's decision that each gets."""
    answers = []
    for number, cells in table.rows:
        names = [name.strip() for name in cells[place].split("|")]
        if not all(names) or len(set(names)) != len(names):
            raise table.fail(number, f"predicted is {cells[place]!r}; one finding was expected, or ties as A|B")
        answers.append(names)
    findings = tuple(sorted({*true, *(name for names in answers for name in names)}))
    check_few_findings(findings, MOST_JUDGED, f"{table.path}")
    credits = np.zeros((len(answers), len(findings)))
    for row, names in enumerate(answers):
        credits[row, [findings.index(name) for name in names]] = 1 / len(names)
    return findings, credits

"""Any CSV with a file and a finding in each row; our own manifests are such, with one JSON object in the lead lines."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fewshot_cxr._checks import nearest
from fewshot_cxr.data.readers.csv_table import number_of, parse_rows, read_text, split_lead
from fewshot_cxr.data.readers.gathering import Gathering
from fewshot_cxr.data.split_names import split_named
from fewshot_cxr.data.splits import assert_no_leak
from fewshot_cxr.records import Record, Records
from fewshot_cxr.storage import write_text
from fewshot_cxr.unknown_patients import count_unknown, unknown_text

COLUMNS = {
    "path": ("path", "file", "filename", "image"),
    "label": ("label", "finding", "class"),
    "group": ("group_id",),
    "patient": ("patient_id", "patientid"),
    "source": ("source",),
    "view": ("view",),
    "split": ("split",),
    "mask_path": ("mask_path",),
    "age_years": ("age_years", "age"),
    "sex": ("sex",),
    "unstated": ("unstated",),
}
_NEEDED = ("path", "label")
_WRITTEN = ("path", "label", "patient_id", "group_id", "source", "view", "split", "mask_path", "age_years", "sex")


def read_manifest(
    path: str | Path,
    *,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    patient_column: str | None = None,
    allow_leak: bool = False,
) -> Records:
    """Read a CSV of films (comma, semicolon or tab).

    Columns are found by name, in any case, the first that is there: `path, file, filename, image`; `label, finding,
    class` (several findings separated by `|`); `group_id`; `patient_id, patientid`; and `source, view, split,
    mask_path, age_years, sex, unstated` (findings nobody looked for, separated by `|`). All others are kept in
    `Record.attributes`.

    Args:
        path: the CSV. Lead lines that begin with "# " hold one JSON object, which may name the `root`.
        root: folder that the paths start from; None: the header's, else the CSV's own folder.
        path_column: a name that overrides the search.
        label_column: the same.
        group_column: the same.
        patient_column: the same.
        allow_leak: take films whose `split` column puts a patient on two sides; without it that is an error.

    Returns:
        Films in the order of the rows. Rows without a file or a finding or with more cells than columns, and files that
        are missing, empty or named twice, are in `.problems`; `.notes` says which columns were taken.

    Raises:
        FileNotFoundError: no such CSV, or no readable row.
        ValueError: no CSV, no such column, a path that leaves the root (by `..`, as an absolute path or by a link), or
            a patient in two splits.
    """
    path = Path(path)
    text, notes = read_text(path)
    lead, text = split_lead(text)
    rows, header = parse_rows(path, text, ",;\t"), lead_facts(lead)
    notes += ("the lead lines are no JSON object: passed over",) if header is None else ()
    given = {"path": path_column, "label": label_column, "group": group_column, "patient": patient_column}
    taken = _take_columns(path, [name.strip() for name in rows[0]], given)
    notes += ("columns taken: " + ", ".join(f"{what} from {rows[0][at].strip()}" for what, at in taken.items()),)
    place = Path(root) if root is not None else path.parent / str((header or {}).get("root") or ".")
    if place.resolve() != path.parent.resolve():
        notes += (f"paths start from {place}, not from the manifest's own folder",)
    gathering = _read_rows(path, rows, taken, place, 1 + len(lead))
    try:
        records = gathering.records(notes)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: {error}") from error
    if not allow_leak:
        for problem in records.problems:
            if problem.kind == "split_conflict":
                raise ValueError(f"{path}, row {problem.row}: {problem.path}: {problem.reason}; name it once")
        assert_no_leak(records)
    return records


def lead_facts(lead: list[str]) -> dict[str, Any] | None:
    """Return what the lead lines of a manifest say of it: a JSON object, {} without one; None: they are no JSON."""
    try:
        value = json.loads("".join(lead) or "{}")
    except ValueError:
        return None
    return value if isinstance(value, dict) else {}


def _take_columns(path: Path, names: list[str], given: dict[str, str | None]) -> dict[str, int]:
    exact = {name: index for index, name in reversed(list(enumerate(names)))}
    at = {name.lower(): index for index, name in reversed(list(enumerate(names)))}
    taken: dict[str, int] = {}
    for what, candidates in COLUMNS.items():
        asked = given.get(what)
        if asked is not None:
            found = exact.get(asked.strip(), at.get(asked.strip().lower()))
            if found is None:
                raise ValueError(
                    f"--{what}-column {asked}: {path} has no such column{nearest(asked, names)}; "
                    f"it has {', '.join(names)}"
                )
            taken[what] = found
            continue
        found = next((at[name] for name in candidates if name in at and at[name] not in taken.values()), None)
        if found is not None:
            taken[what] = found
        elif what in _NEEDED:
            raise ValueError(
                f"{path} has no {what} column (looked for {', '.join(candidates)}); it has {', '.join(names)}: "
                f"name one with --{what}-column"
            )
    return taken


def _read_rows(path: Path, rows: list[list[str]], taken: dict[str, int], root: Path, first_line: int) -> Gathering:
    names = [name.strip() for name in rows[0]]
    others = _other_columns(names, set(taken.values()))
    has_text_ages = "age_years" in taken and _has_text(rows, taken["age_years"])
    gathering = Gathering(root)
    for number, row in enumerate(rows[1:], start=first_line + 1):
        if not any(row):
            continue
        row += [""] * (len(names) - len(row))
        cells = {what: row[index].strip() for what, index in taken.items()}
        findings, unstated = _names(cells["label"]), _names(cells.get("unstated", ""))
        if any(row[len(names) :]):
            reason = f"the row has {len(row)} cells, the header names {len(names)} columns"
            gathering.leave_out(number, cells["path"], reason)
        elif not cells["path"] or not findings:
            reason = "the row names no finding" if cells["path"] else "the row names no file"
            gathering.leave_out(number, cells["path"], reason)
        elif both := sorted(set(findings) & set(unstated)):
            gathering.leave_out(number, cells["path"], f"the row names {both[0]!r} as a finding and as unstated")
        else:
            attributes = {other: row[index] for index, other in others}
            if has_text_ages:
                attributes["age_years"] = cells["age_years"] if number_of(cells["age_years"]) is None else ""
            gathering.add(path, number, _record(row[taken["path"]], findings, cells, attributes))
    return gathering


def _names(cell: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in cell.split("|") if name.strip())


def _other_columns(names: list[str], taken: set[int]) -> list[tuple[int, str]]:
    """Return (index, name) of the columns that become attributes; the second "note" is called "note (2)"."""
    counts: Counter[str] = Counter()
    others = []
    for index, name in enumerate(names):
        if index not in taken:
            counts[name] += 1
            others.append((index, name if counts[name] == 1 else f"{name} ({counts[name]})"))
    return others


def _has_text(rows: list[list[str]], column: int) -> bool:
    """Return whether a column of numbers holds other things too, such as "058Y": these are kept, as an attribute."""
    cells = (row[column].strip() for row in rows[1:] if column < len(row))
    return any(cell and number_of(cell) is None for cell in cells)


def _record(name: str, findings: tuple[str, ...], cells: dict[str, str], attributes: dict[str, str]) -> Record:
    text = {what: cells.get(what) or None for what in ("source", "view", "split", "mask_path", "sex")}
    text["split"] = text["split"] and (split_named(text["split"]) or text["split"])
    return Record(
        name,
        findings,
        patient_id=cells.get("patient") or None,
        group_id=cells.get("group") or None,
        age_years=number_of(cells.get("age_years", "")),
        attributes=attributes,
        unstated=_names(cells.get("unstated", "")),
        **text,
    )


def write_manifest(records: Records, path: str | Path, *, header: dict[str, Any] | None = None) -> None:
    """Write films as a manifest that `read_manifest` gives back, whole or not at all.

    Args:
        records: the films; problems and notes are not written.
        path: the CSV. Its lead line holds the data hash, counts, `header`, and the root where it lies elsewhere.
        header: more plain JSON values, such as the seed of a split.

    A cell that a spreadsheet would take for a formula stays as it is, and so comes back as it was. An attribute that
    only some films have comes back as "" for the others. The column `unstated` is there where some film needs it.

    Raises:
        ValueError: the name of a finding holds "|", which separates findings, or begins or ends with a blank.
    """
    path = Path(path)
    lead: dict[str, Any] = {"hash": records.data_hash, "n_films": len(records), **(header or {})}
    if records.root.resolve() != path.parent.resolve():
        lead["root"] = str(records.root.resolve())
    if told := unknown_text(count_unknown(records), len(records)):
        lead["patients"] = told
    lead["n_by_finding"] = records.count_by(lambda film: "|".join(film.findings))
    # One called like a column of ours ("label" beside a chosen "finding") comes after it: the reader takes the first.
    extra = list(dict.fromkeys(name for film in records for name in film.attributes))
    written = list(_WRITTEN)
    if any(film.unstated for film in records) or any(name.strip().lower() == "unstated" for name in extra):
        written.append("unstated")
    rows = [[*written, *extra], *(_cells(film, written, extra) for film in records)]
    lines = (",".join(map(_quoted, row)) for row in rows)
    write_text(path, "\n".join((f"# {json.dumps(lead, ensure_ascii=False)}", *lines, "")))


def _cells(film: Record, written: Iterable[str], extra: Iterable[str]) -> list[str]:
    for name in (*film.findings, *film.unstated):
        if "|" in name or not name or name != name.strip():
            raise ValueError(
                f"{film.path}: a manifest cannot hold the finding {name!r}; use a name without | and blanks"
            )
    joined = {"label": "|".join(film.findings), "unstated": "|".join(film.unstated)}
    known = [joined[name] if name in joined else getattr(film, name) for name in written]
    cells = ["" if value is None else str(value) for value in known]
    return [*cells, *(film.attributes.get(name, "") for name in extra)]


def _quoted(cell: str) -> str:
    # csv.writer leaves a lone carriage return bare before Python 3.13, and csv.reader then ends the row there.
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell

"""Any CSV with a file and a finding in each row; our own manifests are such, with one JSON object in the lead lines."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fewshot_cxr._csv import csv_text, plain_lead
from fewshot_cxr._json import parse_json
from fewshot_cxr.data.readers.csv_table import declared_delimiter, parse_rows, read_text, split_lead
from fewshot_cxr.data.readers.manifest_root import header_root, root_of
from fewshot_cxr.data.readers.repeated_rows import AGREE
from fewshot_cxr.data.readers.table_rows import check_header
from fewshot_cxr.data.readers.whole_table import films_of_table
from fewshot_cxr.records import TABLE_COLUMNS, Record, Records
from fewshot_cxr.storage import write_text
from fewshot_cxr.unknown_patients import count_unknown, unknown_text


def read_manifest(
    path: str | Path,
    *,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    patient_column: str | None = None,
    patient_pattern: str | None = None,
    path_suffix: str = "",
    rows: str = AGREE,
    allow_leak: bool = False,
) -> Records:
    """Read a CSV of films (comma, semicolon or tab).

    Columns are found by name, whatever its case, blanks, dashes and underscores (COLUMNS): the file, the finding
    (several separated by `|`), group, patient, source, view, split, mask, age, sex, and findings that nobody looked
    for. All others are kept in `Record.attributes`. Cells such as "nan" or "-" say nothing.

    Args:
        path: the CSV. Lead lines that begin with "# " hold one JSON object, which may name the `root`.
        root: folder that the paths start from; None: the header's where it may be believed (see `root_of`), else the
            CSV's own folder.
        path_column: a name that overrides the search.
        label_column: the same.
        group_column: the same.
        patient_column: the same.
        patient_pattern: regular expression, searched in the path of a film whose row names no patient; its first group
            (or, without one, the whole match) is the patient.
        path_suffix: put behind every path that does not end with it, such as ".dcm".
        rows: of a film that several rows name. "agree": it is left out where they name different findings; "join": it
            has all their findings.
        allow_leak: take films whose `split` column puts a patient on two sides; without it that is an error.

    Returns:
        Films in the order of the rows. Rows without a file or a finding or with more cells than columns, and files that
        are missing, empty or named twice, are in `.problems`; `.notes` says which columns were taken, what cells were
        taken for, and which findings may be one.

    Raises:
        FileNotFoundError: no such CSV, or no readable row.
        ValueError: no CSV, no such column, a root that may not be believed, a path that leaves the root (by `..`, as an
            absolute path or by a link), or a patient in two splits.
    """
    path = Path(path)
    text, notes = read_text(path)
    lead, text = split_lead(text)
    table, header = parse_rows(path, text, ",;\t"), lead_facts(lead)
    first_line = 1 + len(lead) + bool(declared_delimiter(text)[0])
    notes += ("the lead lines are no JSON object: passed over",) if header is None else ()
    place = Path(root) if root is not None else root_of(header or {}, path)
    names = [name.strip() for name in table[0]]
    check_header(path, table[0], place)
    if place.resolve() != path.parent.resolve():
        notes += (f"paths start from {place}, not from the manifest's own folder",)
    return films_of_table(
        path,
        names,
        table[1:],
        place,
        first_row=first_line + 1,
        notes=notes,
        path_column=path_column,
        label_column=label_column,
        group_column=group_column,
        patient_column=patient_column,
        patient_pattern=patient_pattern,
        path_suffix=path_suffix,
        rows=rows,
        allow_leak=allow_leak,
    )


def lead_facts(lead: list[str]) -> dict[str, Any] | None:
    """Return what the lead lines of a manifest say of it: a JSON object, {} without one; None: they are no JSON."""
    try:
        value = parse_json("".join(lead) or "{}")
    except ValueError:
        return None
    return value if isinstance(value, dict) else {}


def write_manifest(
    records: Records, path: str | Path, *, header: dict[str, Any] | None = None, keep_paths: bool = False
) -> None:
    """Write films as a manifest that `read_manifest` gives back, whole or not at all.

    Args:
        records: the films; problems and notes are not written.
        path: the CSV. Its lead line holds the data hash, counts, `header`, and where the films lie, if elsewhere: as a
            path from the manifest's own folder, or as a key that this user alone can read (see `root_of`).
        header: more plain JSON values, such as the seed of a split.
        keep_paths: name a root above or beside the manifest, too.

    A cell that a spreadsheet would take for a formula has an apostrophe in front, which the reader takes off. An
    attribute that only some films have comes back as "" for the others. The column `unstated` is there where some film
    needs it.

    Raises:
        ValueError: the name of a finding holds "|", which separates findings, or begins or ends with a blank.
    """
    path = Path(path)
    lead: dict[str, Any] = {"hash": records.data_hash, "n_films": len(records), **(header or {})}
    lead |= header_root(records.root, path, keep_paths=keep_paths)
    if told := unknown_text(count_unknown(records), len(records)):
        lead["patients"] = told
    lead["n_by_finding"] = records.count_by(lambda film: "|".join(film.findings))
    # One called like a column of ours ("label" beside a chosen "finding") comes after it: the reader takes the first.
    extra = list(dict.fromkeys(name for film in records for name in film.attributes))
    written = list(TABLE_COLUMNS)
    if any(film.unstated for film in records) or any(name.strip().lower() == "unstated" for name in extra):
        written.append("unstated")
    rows = [[*written, *extra], *(_cells(film, written, extra) for film in records)]
    write_text(path, f"# {plain_lead(json.dumps(lead, ensure_ascii=False))}\n{csv_text(rows)}")


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

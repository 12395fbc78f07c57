"""A whole table becomes films: its columns are found, its rows read, its patients and splits checked."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fewshot_cxr._checks import first_of
from fewshot_cxr.data.no_value import says_nothing
from fewshot_cxr.data.readers.cells import crowded_patient, patient_of_path, patients_note
from fewshot_cxr.data.readers.columns import column_notes, patient_hint, take_columns
from fewshot_cxr.data.readers.gathering import Gathering
from fewshot_cxr.data.readers.lost_films import column_of_films
from fewshot_cxr.data.readers.repeated_rows import AGREE
from fewshot_cxr.data.readers.table_rows import TableRows
from fewshot_cxr.data.splits import assert_no_leak
from fewshot_cxr.records import Record, Records


def films_of_table(
    table: Path,
    names: Sequence[str],
    cells: Sequence[list[str]],
    root: Path,
    *,
    first_row: int = 1,
    notes: Iterable[str] = (),
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    patient_column: str | None = None,
    patient_pattern: str | None = None,
    path_suffix: str = "",
    rows: str = AGREE,
    allow_leak: bool = False,
) -> Records:
    """Read the rows of a table, of whatever file or frame it came; the other options are those of `read_manifest`.

    Args:
        table: what errors call it.
        names: its header.
        cells: its rows, as texts.
        root: folder that the paths start from.
        first_row: number of the first row.
        notes: on the table, which the films keep.
        path_column: a name that overrides the search.
        label_column: the same.
        group_column: the same.
        patient_column: the same.
        patient_pattern: finds the patient in a path.
        path_suffix: put behind every path that does not end with it.
        rows: what several rows of one film make.
        allow_leak: take films whose splits share a patient.
    """
    columns = {"path": path_column, "label": label_column, "group": group_column, "patient": patient_column}
    taken = take_columns(table, names, columns, hint=lambda: column_of_films(root, names, cells))
    gathering = Gathering(root, rows=rows)
    own = TableRows(table, names, taken, patient_of_path(patient_pattern), path_suffix)
    own.gather(gathering, cells, first_row)
    try:
        records = gathering.records((*column_notes(names, taken), *notes))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{table}: {error}") from error
    told = patients_note(records.films, pattern=patient_pattern, hint=patient_hint(names, taken))
    told += (*_strange_ages(records.films), *crowded_patient(records.films))
    records = replace(records, notes=(*records.notes, *told))
    if not allow_leak:
        for problem in records.problems:
            if problem.kind == "split_conflict":
                raise ValueError(f"{table}, row {problem.row}: {problem.path}: {problem.reason}; name it once")
        assert_no_leak(records)
    return records


def _strange_ages(films: Iterable[Record]) -> tuple[str, ...]:
    """Say which ages cannot be read; () where all can."""
    strange = [text for film in films if not says_nothing(text := film.attributes.get("age_years", ""))]
    told = first_of([repr(text) for text in dict.fromkeys(strange)], 3)
    return (f"{len(strange)} ages cannot be read ({told}): unknown, kept as an attribute",) if strange else ()

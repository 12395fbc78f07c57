"""A data frame of pandas or polars, read as a CSV is: the same columns, the same cells."""

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from fewshot_cxr._checks import MOST_READ, check_few_findings
from fewshot_cxr.data.readers.whole_table import films_of_table
from fewshot_cxr.patient_ids import is_unknown_id
from fewshot_cxr.records import Records
from fewshot_cxr.unknown_patients import with_unknown_noted


def read_dataframe(frame: Any, *, root: str | Path = ".", **options: Any) -> Records:
    """Read the films of a data frame: its columns are found and its cells are understood as those of a CSV.

    Args:
        frame: of pandas or polars. An index with a name is a column too; a cell may be a list of findings.
        root: folder that the paths start from.
        options: as in `read_manifest`: path_column, label_column, group_column, patient_column, patient_pattern,
            path_suffix, rows and allow_leak.

    Returns:
        Films in the order of the rows; problems count the rows from 1.

    Raises:
        TypeError: it is no data frame.
        ValueError: as `read_manifest`.
        FileNotFoundError: no readable row.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"path": ["1.png"], "label": ["covid19"], "patient_id": ["p1"]})
        >>> with TemporaryDirectory() as root:
        ...     _ = Path(root, "1.png").write_bytes(b"a film")
        ...     read_dataframe(frame, root=root).findings
        ('covid19',)
    """
    names, cells = _names_and_cells(frame)
    records = films_of_table(Path("the data frame"), names, cells, Path(root), **options)
    check_few_findings(records.findings, MOST_READ, "the data frame")
    return with_unknown_noted(records)


def _names_and_cells(frame: Any) -> tuple[list[str], list[list[str]]]:
    if not hasattr(frame, "columns") or not (hasattr(frame, "itertuples") or hasattr(frame, "iter_rows")):
        raise TypeError(f"a data frame of pandas or polars was expected, got {type(frame).__name__}")
    index = [name for name in getattr(getattr(frame, "index", None), "names", ()) if name is not None]
    if index and not set(index) & set(frame.columns):
        frame = frame.reset_index()
    rows: Iterable[Any] = (
        frame.itertuples(index=False, name=None) if hasattr(frame, "itertuples") else frame.iter_rows()
    )
    return [str(name).strip() for name in frame.columns], [[_text(cell) for cell in row] for row in rows]


def _text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, PurePath):
        return cell.as_posix()
    if isinstance(cell, bytes):
        return cell.decode(errors="replace")
    if hasattr(cell, "__iter__"):
        return "|".join(_text(item) for item in cell)
    if is_unknown_id(cell):
        return ""
    # A column of whole numbers in which one is missing holds floats: patient 7 must not become "7.0".
    is_whole = not isinstance(cell, bool) and hasattr(cell, "is_integer") and cell.is_integer()
    return str(int(cell)) if is_whole else str(cell)

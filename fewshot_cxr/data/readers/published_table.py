"""Large tables of public sets, read row by row: CSV, also gzipped, of which a few columns are wanted."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path

from fewshot_cxr._visible import visible
from fewshot_cxr.data.readers.gathering import Gathering, Row, StateOf, wrong_root
from fewshot_cxr.records import Record

Cells = tuple[str, ...]


def published_rows(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, Cells, str]]:
    """Yield the rows of a table in constant memory; a header in any case, and blank around its names.

    Args:
        path: of the CSV; one that ends in .gz is unpacked on the way.
        columns: that must be there.
        optional: that may be there; "" stands in each cell of one that is not.

    Yields:
        The row's number, 1-based with the header; its cells of `columns`, then of `optional`, without blanks around
        them; and what is wrong with it, or "". A row without any cell is none.

    Raises:
        ValueError: no CSV, damaged, or a column is not there.
    """
    with _text(path) as text:
        rows = csv.reader(text, strict=True)
        names = [name.strip().lower() for name in next(rows, [])]
        absent = [name for name in columns if name.lower() not in names]
        if absent:
            have = visible(", ".join(filter(None, names)))
            raise ValueError(f"{path} has no column {', '.join(absent)}; it has {have}")
        wanted = [*columns, *optional]
        places = [names.index(name.lower()) if name.lower() in names else len(names) for name in wanted]
        pick: Callable[[list[str]], Cells] = itemgetter(*places, len(names))  # of one column alone it gives no tuple
        for number, row in enumerate(rows, start=2):
            if len(row) == len(names):
                row.append("")  # what stands in a column that is not there
                yield number, tuple(map(str.strip, pick(row)[:-1])), ""
            elif any(row):
                fault = f"the row has {len(row)} cells, {len(names)} were expected"
                yield number, (row[0].strip(), *[""] * (len(wanted) - 1)), fault


def header_of(path: Path) -> list[str]:
    """Return the names of the columns of such a table, without blanks around them."""
    with _text(path) as text:
        return [name.strip() for name in next(csv.reader(text, strict=True), [])]


def take_rows(
    gathering: Gathering,
    table: Path,
    columns: Sequence[str],
    row_of: Callable[[int, Cells], Row],
    optional: Sequence[str] = (),
) -> None:
    """Take every row of a table, as `row_of` makes it from its number and its cells; see `published_rows`."""
    rows = published_rows(table, columns, optional)
    gathering.take_all(
        table,
        (Row(number, Record(cells[0], ()), fault) if fault else row_of(number, cells) for number, cells, fault in rows),
    )


def table_below(root: Path, names: Sequence[str]) -> Path:
    """Return the first of these tables that lies in a folder, or gzipped; else in one of its own folders.

    Raises:
        FileNotFoundError: none does; what was expected and what is there.
    """
    found = find_tables(root, names)
    if not found:
        raise wrong_root(root, " or ".join(names))
    return found[0]


def find_tables(root: Path, names: Sequence[str]) -> list[Path]:
    """Return which of these tables, plain or gzipped, lie in a folder; where none does, which lie one folder deeper."""
    folders = [root, *sorted(item for item in root.iterdir() if item.is_dir())] if root.is_dir() else []
    spelt = [name + end for name in names for end in ("", ".gz")]
    own = [root / name for name in spelt if (root / name).is_file()]
    return own or [folder / name for folder in folders for name in spelt if (folder / name).is_file()]


class FirstThere:
    """Finds films that lie under one of several names; the pattern that found the last one is tried first."""

    def __init__(self, state_of: StateOf, *patterns: str) -> None:
        """Remember patterns such as "{folder}/{name}"."""
        self._state_of, self._patterns = state_of, list(patterns)

    def path(self, table: Path, number: int, **words: str) -> str:
        """Return the path that is there, or that of the first pattern as it was given."""
        for place, pattern in enumerate(self._patterns):
            path = pattern.format(**words)
            if self._state_of(path, table, number)[1] != "missing":
                self._patterns.insert(0, self._patterns.pop(place))
                return path
        return self._patterns[0].format(**words)


@contextmanager
def _text(path: Path) -> Iterator[io.TextIOBase]:
    """Open a table; what is no UTF-8 stands in free text, which nobody asks for."""
    way = gzip.open if path.suffix == ".gz" else open
    try:
        with (
            way(path, "rb") as raw,
            io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="") as text,
        ):
            yield text
    except (csv.Error, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is no whole CSV ({error}); fetch it again") from error

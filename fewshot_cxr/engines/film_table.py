"""A table of films of any size, a shard of rows at a time: CSV or Parquet, of which no more is ever in memory."""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from fewshot_cxr._csv import plain_cell
from fewshot_cxr.data.readers.cells import clean_cells, patient_of_path
from fewshot_cxr.data.readers.columns import take_columns
from fewshot_cxr.data.readers.csv_table import declared_delimiter
from fewshot_cxr.data.readers.manifest import lead_facts, root_of
from fewshot_cxr.data.readers.table_rows import TableRows
from fewshot_cxr.engines.places import is_far, opened, stamp_of, whole_address
from fewshot_cxr.records import Record

_PARQUET = (".parquet", ".pq")
_AT_ONCE = 1 << 13  # rows of a Parquet file


class _Lines:
    """The lines of a text file, and where the next one begins."""

    def __init__(self, file: IO[bytes], start: int = 0) -> None:
        file.seek(start)
        self.file, self.at, self.digest = file, start, hashlib.sha256()

    def __iter__(self) -> Iterator[str]:
        for line in self.file:
            self.at += len(line)
            self.digest.update(line)
            yield line.decode()


@dataclass(frozen=True)
class FilmTable:
    """What is known of a table before its rows are read.

    Args:
        address: of the table.
        root: folder or address that its paths start from.
        sha256: of its content.
        names: its header.
        taken: place of each column that says something, by what it says.
        n_rows: below the header; empty lines are none.
        rows_per_shard: so many rows make a shard; the last has what is left.
        delimiter: of a CSV.
        starts: of a CSV, where each shard begins, in bytes.
        path_suffix: put behind every path that does not end with it.
        patient_pattern: finds the patient in a path.
        stamp: size and time of writing, by which a change is known; None: it lies elsewhere.
    """

    address: str
    root: str
    sha256: str
    names: tuple[str, ...]
    taken: Mapping[str, int]
    n_rows: int
    rows_per_shard: int
    delimiter: str = ","
    starts: tuple[int, ...] = field(default=(), repr=False)
    path_suffix: str = ""
    patient_pattern: str | None = None
    stamp: tuple[int, int] | None = None

    @property
    def n_shards(self) -> int:
        """How many shards the rows make."""
        return -(-self.n_rows // self.rows_per_shard)

    def span(self, shard: int) -> range:
        """Return the ids of a shard's rows: 0 is the first row below the header."""
        first = shard * self.rows_per_shard
        return range(first, min(first + self.rows_per_shard, self.n_rows))

    def films(self, shard: int) -> tuple[list[Record], dict[int, str]]:
        """Return a shard's rows as films, and by place in them why a row cannot be understood.

        Raises:
            OSError: the table has changed since it was looked through.
        """
        rows = [row if any(row) else ["-"] for row in self._rows(shard)]  # of a Parquet file: it names no film
        if len(rows) != len(self.span(shard)) or self.stamp != stamp_of(self.address):
            raise OSError(f"{self.address} has changed since the run began: begin anew in another folder (--shards)")
        gathered = _Gathered()
        how = (Path(self.address), self.names, dict(self.taken), patient_of_path(self.patient_pattern))
        TableRows(*how, self.path_suffix).gather(gathered, rows, 0)
        return list(clean_cells(gathered.films)[0]), gathered.faults

    def _rows(self, shard: int) -> Iterator[list[str]]:
        span = self.span(shard)
        with opened(self.address) as file:
            if _is_parquet(self.address):
                yield from _parquet_rows(file, span, self.names)
                return
            reader = csv.reader(_Lines(file, self.starts[shard]), delimiter=self.delimiter, strict=True)
            for row in islice(filter(any, reader), len(span)):
                yield [plain_cell(cell) for cell in row]


class _Gathered:
    """Takes every row, in order."""

    def __init__(self) -> None:
        self.films: list[Record] = []
        self.faults: dict[int, str] = {}

    def add(self, table: Path, row: int | None, film: Record) -> None:
        self.films.append(film)

    def leave_out(self, row: int | None, path: str, reason: str) -> None:
        self.faults[len(self.films)] = reason
        self.films.append(Record(path, ()))


def scan_table(
    address: str,
    rows_per_shard: int,
    *,
    root: str | None = None,
    needs_label: bool = True,
    columns: Mapping[str, str | None] | None = None,
    path_suffix: str = "",
    patient_pattern: str | None = None,
) -> FilmTable:
    """Look through a table once, row by row, and remember where its shards begin.

    Args:
        address: of a CSV (comma, semicolon or tab, UTF-8) or a Parquet file, here or at an address of fsspec.
        rows_per_shard: see `FilmTable`.
        root: see `read_manifest`; None, of a table that lies elsewhere: its own folder.
        needs_label: a row must name a finding.
        columns: "path", "label", "group", "patient" -> a name that overrides the search; see `read_manifest`.
        path_suffix: see `read_manifest`.
        patient_pattern: see `read_manifest`.

    Raises:
        FileNotFoundError: there is no such table, or it has no row.
        ValueError: it is no such table, or has no column that names the film, or the finding where that is needed.
    """
    address = whole_address(address)
    stamp = stamp_of(address)
    with opened(address) as file:
        names, lead, more = _scan_parquet(file) if _is_parquet(address) else _scan_csv(file, address, rows_per_shard)
    if not more["n_rows"]:
        raise FileNotFoundError(f"{address} has no rows below its header")
    taken = take_columns(address, names, columns or {}, needed=("path", "label") if needs_label else ("path",))
    if root is None:
        root = address.rpartition("/")[0] if is_far(address) else str(root_of(lead_facts(lead) or {}, Path(address)))
    return FilmTable(
        address,
        whole_address(root),
        names=tuple(names),
        taken=taken if needs_label else taken | {"label": taken["path"]},
        rows_per_shard=rows_per_shard,
        path_suffix=path_suffix,
        patient_pattern=patient_pattern,
        stamp=stamp,
        **more,
    )


def _scan_csv(file: IO[bytes], address: str, rows_per_shard: int) -> tuple[list[str], list[str], dict[str, Any]]:
    lines, lead, declared, header = _Lines(file), list[str](), "", ""
    try:
        for header in lines:
            header = header.removeprefix("\ufeff")
            if header.startswith("# "):
                lead.append(header[2:])
            elif (said := declared_delimiter(header)[0]) == "":
                break
            else:
                declared = said
        delimiter = declared or max(",;\t", key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        starts, n_rows, at = [], 0, lines.at
        for row in csv.reader(lines, delimiter=delimiter, strict=True):
            if any(row):
                if n_rows % rows_per_shard == 0:
                    starts.append(at)
                n_rows += 1
            at = lines.at
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{address} is no CSV in UTF-8 that can be read ({error}): save it as one") from error
    found = {"sha256": lines.digest.hexdigest(), "n_rows": n_rows, "delimiter": delimiter, "starts": tuple(starts)}
    return names, lead, found


def _is_parquet(address: str) -> bool:
    return address.lower().endswith(_PARQUET)


def _parquet_file(file: IO[bytes]) -> Any:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "tables in Parquet need pyarrow, which is not installed: pip install 'fewshot_cxr[ray]'"
        ) from error
    try:
        return ParquetFile(file)
    except ArrowInvalid as error:
        raise ValueError(f"the table is no Parquet file that can be read: {error}") from error


def _scan_parquet(file: IO[bytes]) -> tuple[list[str], list[str], dict[str, Any]]:
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # any file that reads bytes
    table = _parquet_file(file)
    return list(table.schema_arrow.names), [], {"sha256": sha256, "n_rows": table.metadata.num_rows}


def _parquet_rows(file: IO[bytes], span: range, names: Iterable[str]) -> Iterator[list[str]]:
    """Yield rows as texts; of the groups of rows that a file has, those alone are read that hold some of them."""
    table, groups, first, end = _parquet_file(file), list[int](), 0, 0
    for group in range(table.metadata.num_row_groups):
        start, end = end, end + table.metadata.row_group(group).num_rows
        if start < span.stop and end > span.start:
            first = start if not groups else first
            groups.append(group)
    at = first
    for batch in table.iter_batches(batch_size=_AT_ONCE, row_groups=groups, columns=list(names)):
        inside = batch.slice(max(0, span.start - at), max(0, min(at + len(batch), span.stop) - max(at, span.start)))
        at += len(batch)
        for row in zip(*(column.to_pylist() for column in inside.columns), strict=True):
            yield ["" if cell is None else str(cell) for cell in row]

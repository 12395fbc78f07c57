"""Every reader of a data set, a table, a sheet or a name of it spoilt: one line or a row less, nothing from outside."""

import csv
import io
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from made_layouts import LAYOUTS

from fault_kinds.attack import CRASH, HANG, HARMLESS, LOST, REFUSED, SECONDS, SILENT, Attack, fresh
from fault_kinds.pictures import fuzz
from fault_kinds.texts import CELLS
from fewshot_cxr.data import read_dataset

TABLES = (".csv", ".txt", ".xlsx")
N_INPUTS = {
    "brax": 5_000,
    "chestxray14": 20_000,
    "chexpert": 5_000,
    "coronahack": 20_000,
    "covid19_radiography": 4_000,
    "covid_chestxray": 19_000,
    "covidx": 20_000,
    "image_folder": 2_000,
    "manifest": 20_000,
    "padchest": 5_000,
    "rsna_pneumonia": 5_000,
    "siim_acr": 5_000,
    "vindr_cxr": 5_000,
}
SHEET = "xl/worksheets/sheet1.xml"
ENCODINGS = ("utf-16", "utf-32", "latin-1", "utf-8-sig", "cp037")
Kind = Callable[[Path, np.random.Generator, float], Iterator[Attack]]


def kinds() -> dict[str, Kind]:
    """Return one kind of attack for each reader."""
    return {f"readers: {name}": partial(_attacks, name) for name in N_INPUTS}


def _attacks(reader: str, made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    place = fresh(made, f"reader_{reader}")
    root = Path(LAYOUTS[reader](place))
    tables = sorted(file for file in place.rglob("*") if file.suffix in TABLES)
    wholes = {file: file.read_bytes() for file in tables}
    n_whole = len(read_dataset(reader, root))
    for _ in range(round(N_INPUTS[reader] * share)):
        if not tables:
            yield _renamed(reader, root, draw)
            continue
        file = tables[draw.integers(len(tables))]
        spoil = (_cell, _cell, _bytes, _encoded)[draw.integers(4)]
        what, content, n_spoilt = spoil(file, wholes[file], draw)
        written, n_least = (file, content, wholes[file]), None if n_spoilt is None else n_whole - n_spoilt
        yield f"{reader}: {file.name}: {what}", partial(_table, reader, root, written, n_least)


def _table(reader: str, root: Path, written: tuple[Path, bytes, bytes], n_least: int | None) -> str:
    file, content, whole = written
    file.write_bytes(content)
    try:
        return _outcome(reader, root, file.name, n_least)
    finally:
        file.write_bytes(whole)


def _renamed(reader: str, root: Path, draw: np.random.Generator) -> Attack:
    """Give a film or a folder another name, of letters that a disk takes and a reader may not expect."""
    films = sorted(root.rglob("*"))
    film, name = films[draw.integers(len(films))], CELLS[draw.integers(len(CELLS))].replace("/", "_").replace("\0", "_")
    name = (name + bytes(draw.integers(1, 255, 3).tolist()).replace(b"/", b"_").decode(errors="surrogateescape"))[-80:]
    other = film.with_name(name.strip(".") or "_")

    def work() -> str:
        os.rename(film, other)
        try:
            return _outcome(reader, root, root.name, None)
        finally:
            os.rename(other, film)

    return f"{reader}: {film.name} is called {name!r}", work


def _outcome(reader: str, root: Path, named: str, n_least: int | None) -> str:
    begun = time.process_time()
    try:
        found = read_dataset(reader, root)
    except (ValueError, OSError) as error:
        if "\n" in str(error) or not (named in str(error) or root.name in str(error)):
            return f"{CRASH}: no line that names the file: {error}"
        seconds = time.process_time() - begun
        return REFUSED if seconds < SECONDS else f"{HANG}: refused after {seconds:.1f} s"
    outside = [film.path for film in found if film.path.startswith("/") or ".." in film.path.split("/")]
    if outside:
        return f"{SILENT}: {outside[0]} leaves the folder"
    if n_least is not None and len(found) < n_least:
        return f"{LOST}: {n_least - len(found)} more than the spoilt row: {found.problems[:2]}"
    return HARMLESS


Spoilt = tuple[str, bytes, int | None]  # what was done, the file, rows that may be lost (None: all)


def _cell(file: Path, whole: bytes, draw: np.random.Generator) -> Spoilt:
    """Put something odd into one cell, or over it; of the head, all rows may go."""
    cell = CELLS[draw.integers(len(CELLS))]
    if file.suffix == ".xlsx":
        return f"a cell is {cell[:20]!r}", _sheet_with(whole, cell, draw), None
    by = " " if file.suffix == ".txt" else ","
    rows = list(csv.reader(io.StringIO(whole.decode()), delimiter=by))
    row = int(draw.integers(len(rows)))
    column = int(draw.integers(len(rows[row])))
    rows[row][column] = cell
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=by, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerows(rows)
    # A text without quotes has as many rows as it has line ends.
    is_head = row == 0 and by == ","
    return f"row {row}, cell {column} is {cell[:20]!r}", text.getvalue().encode(), None if is_head or by == " " else 2


def _sheet_with(whole: bytes, cell: str, draw: np.random.Generator) -> bytes:
    """Write a sheet in which one text, or some bytes of its XML, are others; the archive around it is sound."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(out, "w") as new:
        spoilt = ("xl/sharedStrings.xml", SHEET, "xl/workbook.xml", "xl/styles.xml")[draw.integers(4)]
        for member in old.namelist():
            content = old.read(member)
            if member == spoilt:
                parts = content.split(b">")
                at = int(draw.integers(len(parts)))
                if draw.random() < 0.5:
                    parts[at] = escape(cell).encode(errors="replace") + parts[at]
                    content = b">".join(parts)
                else:
                    content = fuzz(content, content, draw)[1]
            new.writestr(member, content)
    return out.getvalue()


def _bytes(file: Path, whole: bytes, draw: np.random.Generator) -> Spoilt:
    what, content = fuzz(whole, whole, draw)
    return what, content, None


def _encoded(file: Path, whole: bytes, draw: np.random.Generator) -> Spoilt:
    """Write it in another encoding, with another line end, or cut; zeros in its place as after a loss of power."""
    at, what = int(draw.integers(len(whole))), ("encoding", "ends", "cut", "zeros")[draw.integers(4)]
    if file.suffix == ".xlsx" or what in ("cut", "zeros"):
        return f"{what} at {at}", whole[:at] + bytes(len(whole) - at if what == "zeros" else 0), None
    if what == "ends":
        return "returns for line ends", whole.replace(b"\r", b"").replace(b"\n", b"\r"), None
    encoding = ENCODINGS[draw.integers(len(ENCODINGS))]
    return f"as {encoding}", fuzz(whole.decode().encode(encoding), whole, draw)[1], None

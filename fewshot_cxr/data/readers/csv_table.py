"""Tables as text: CSV of any usual encoding, with the number of the line that each row begins on."""

import codecs
import csv
import io
import math
import re
from itertools import takewhile
from pathlib import Path

from fewshot_cxr._csv import plain_cell
from fewshot_cxr._visible import visible

_QUOTED = re.compile(r'"[^"]*"')


def read_text(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the text of a table, and a note where it is not UTF-8.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    raw = path.read_bytes()
    notes: tuple[str, ...] = ()
    is_utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # what Excel calls "Unicode text"
    try:
        text = raw.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        text, kind = _of_windows(raw)
        notes = (f"{path.name} is not UTF-8: read as {kind}",)
    if "\0" in text:
        raise ValueError(f"{path} is no text file; save the table as CSV")
    return text, notes


def _of_windows(raw: bytes) -> tuple[str, str]:
    """Decode as Excel writes in Western Europe, and as Latin-1 where that cannot be: the two differ in 27 letters."""
    try:
        return raw.decode("cp1252"), "Windows-1252 (Latin-1 and more)"
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "Latin-1"


def split_lead(text: str) -> tuple[list[str], str]:
    """Return the lead lines of a table, which begin with "# ", without that; and what follows them."""
    lines = list(io.StringIO(text, newline=""))
    lead = list(takewhile(lambda line: line.startswith("# "), lines))
    return [line[2:] for line in lead], "".join(lines[len(lead) :])


def declared_delimiter(text: str) -> tuple[str, str]:
    """Return the delimiter that a first line such as `sep=;` declares (Excel's way), and the text below that line."""
    first, _, rest = text.partition("\n")
    found = re.fullmatch(r'"?sep=(.)"?\s*', first.rstrip("\r"), re.IGNORECASE | re.DOTALL)
    return (found[1], rest) if found else ("", text)


def parse_rows(path: Path, text: str, delimiters: str = ",") -> list[list[str]]:
    """Return the rows of a CSV; an empty line is an empty row. Of several delimiters the commonest in the header is it.

    The apostrophe goes that keeps a cell from being a formula, as `csv_text` and other careful programs write it.
    A first line `sep=;` is no row: it says the delimiter.

    Raises:
        ValueError: a quote is never closed (which would otherwise swallow all rows below it), or there is no first row.
    """
    declared, text = declared_delimiter(text)
    header = _QUOTED.sub("", next(io.StringIO(text, newline=""), ""))
    delimiter = declared or max(delimiters, key=header.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV that can be read: {error}; look for a quote that is not closed") from error
    if "'" in text:
        rows = [list(map(plain_cell, row)) for row in rows]
    if not rows or not any(rows[0]):
        raise ValueError(f"{path} has no first line; a header was expected")
    return rows


def read_rows(path: Path, columns: tuple[str, ...]) -> tuple[list[list[str]], dict[str, int], tuple[str, ...]]:
    """Read a CSV that must have certain columns.

    Args:
        path: of the CSV.
        columns: that must be in its header, in any case and with any blanks around them.

    Returns:
        The rows below the header, as they are (row i is the table's row i + 2; a short or an empty one is possible);
        the place of every column by its name in lower case, the first where a name occurs twice; notes.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no CSV, or a column is not there.
    """
    text, notes = read_text(path)
    rows = parse_rows(path, text)
    names = [name.strip().lower() for name in rows[0]]
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    absent = [name for name in columns if name.lower() not in places]
    if absent:
        have = visible(", ".join(filter(None, rows[0])))
        raise ValueError(f"{path} has no column {', '.join(absent)}; it has {have}")
    return rows[1:], places, notes


def number_of(text: str) -> float | None:
    """Return the number that a cell holds; None where it holds something else, NaN or infinity."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

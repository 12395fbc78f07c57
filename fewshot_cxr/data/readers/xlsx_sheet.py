"""The first sheet of an xlsx file, as texts. Its limits are checked before the work, which is a pass over its XML.

Source: ECMA-376 (Office Open XML), part 1, 18.3.1 (cells, rows), 18.4 (shared strings); part 2, 10.1 (parts hold no
DTD); the bounds of rows and columns are Excel's.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser
from zipfile import ZipFile

_MOST_BYTES = 4_000_000  # of the file, and of its parts unpacked; a sheet of 10,000 films holds less than 1 MB
_MOST_ROWS, _MOST_COLUMNS = 1_048_576, 16_384
_REFERENCE = re.compile(r"([A-Z]{1,3})\d+")

Row = tuple[int, dict[int, str]]
"""Number of a row, 1-based, and its cells by their column, from 0; empty ones are not there."""


def read_sheet(path: Path) -> Iterator[Row]:
    """Yield the rows of the first sheet that hold something. No formula is worked out.

    Raises:
        ValueError: it is no workbook, or one beyond the limits of its bytes, rows or columns.
        OSError: it cannot be opened.
    """
    if (n_bytes := path.stat().st_size) > _MOST_BYTES:
        raise ValueError(f"it holds {n_bytes:,} bytes, at most {_MOST_BYTES:,} are read")
    with ZipFile(path) as archive:
        if (n_bytes := sum(part.file_size for part in archive.infolist())) > _MOST_BYTES:
            raise ValueError(f"it would unpack to {n_bytes:,} bytes, at most {_MOST_BYTES:,} are read")
        sheet, strings = _parts(archive)
    number = 0
    for row in _within(sheet, "sheetData", "row"):
        number = _row_number(row, number + 1)
        if cells := _cells(row, strings):
            yield number, cells


class _PlainTree(TreeBuilder):
    def doctype(self, *_: object) -> None:
        raise ValueError("it has a document type, which no workbook has")


def _parse(archive: ZipFile, name: str) -> Element:
    parser = XMLParser(target=_PlainTree())
    try:
        parser.feed(archive.read(name))
        return parser.close()
    except KeyError as error:
        raise ValueError(f"it has no part {name}") from error
    except ParseError as error:
        raise ValueError(f"its part {name} is no XML: {error}") from error


def _parts(archive: ZipFile) -> tuple[Element, list[str]]:
    """Return the first sheet of the workbook, and the strings that its cells share."""
    book = _related(archive, "").get("officeDocument")
    if book is None:
        raise ValueError("it is no workbook")
    related = _related(archive, book)
    first = next(_within(_parse(archive, book), "sheets", "sheet"), None)
    place = next((value for key, value in first.items() if key.endswith("}id")), "") if first is not None else ""
    if place not in related:
        raise ValueError("it has no sheet")
    strings = []
    if "sharedStrings" in related:
        items = _parse(archive, related["sharedStrings"])
        strings = [_text(item) for item in items if _name(item) == "si"]
    return _parse(archive, related[place]), strings


def _related(archive: ZipFile, part: str) -> dict[str, str]:
    """Return the parts that a part names, by their id, and by the last word of their type."""
    folder, _, name = part.rpartition("/")
    found: dict[str, str] = {}
    for item in _parse(archive, posixpath.join(folder, "_rels", f"{name}.rels")):
        target = posixpath.normpath(posixpath.join("/", folder, item.get("Target", ""))).lstrip("/")
        found[item.get("Type", "").rpartition("/")[2]] = found[item.get("Id", "")] = target
    return found


def _within(tree: Element, holder: str, name: str) -> Iterator[Element]:
    return (item for inner in tree if _name(inner) == holder for item in inner if _name(item) == name)


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]  # strict workbooks have another namespace


def _text(item: Element) -> str:
    """Return the text of a string, of one or several runs; how it is pronounced is no part of it."""
    runs = [item, *(run for run in item if _name(run) == "r")]
    return "".join(part.text or "" for run in runs for part in run if _name(part) == "t")


def _row_number(row: Element, following: int) -> int:
    told = row.get("r", str(following))
    if not (told.isdecimal() and len(told) < 10 and following <= int(told) <= _MOST_ROWS):
        raise ValueError(f"row {told[:20]} stands after row {following - 1:,}; numbers up to {_MOST_ROWS:,} must rise")
    return int(told)


def _cells(row: Element, strings: list[str]) -> dict[int, str]:
    cells: dict[int, str] = {}
    column = -1
    for cell in row:
        column = _column(cell.get("r"), column + 1)
        if value := _value(cell, strings):
            cells[column] = value
    return cells


def _column(reference: str | None, following: int) -> int:
    found = None if reference is None else _REFERENCE.fullmatch(reference[:20])
    if reference is None:
        column = following
    else:
        column = -1
        for letter in found[1] if found else "":
            column = (column + 1) * 26 + ord(letter) - ord("A")
    if not 0 <= column < _MOST_COLUMNS:
        named = "" if reference is None else f" called {reference[:20]!r}"
        raise ValueError(f"a cell{named} stands in no column of A to XFD")
    return column


def _value(cell: Element, strings: list[str]) -> str:
    kind = cell.get("t")
    inner = next((part for part in cell if _name(part) == ("is" if kind == "inlineStr" else "v")), None)
    if inner is None:
        return ""
    if kind == "inlineStr":
        return _text(inner)
    text = inner.text or ""
    if kind != "s":
        return text
    if not (text.isdecimal() and len(text) < 10 and int(text) < len(strings)):
        raise ValueError(f"a cell names the shared string {text[:20]!r}, and there are {len(strings)}")
    return strings[int(text)]

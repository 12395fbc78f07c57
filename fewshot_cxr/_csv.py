"""CSV text that no spreadsheet takes for formulas, and the same cells read again."""

import re
from collections.abc import Iterable, Mapping, Sequence

# What a spreadsheet computes begins so, perhaps after blanks; with the wide forms that East Asian keyboards give.
_FORMULA = re.compile("'*(?:[\t\r\n]|\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20])")
_IN_LEAD = re.compile(r"([,;]\s*)([=+@\uff1d\uff0b\uff0d\uff20]|-(?!\d[\d.eE+-]*[,\]}]))")


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV; None is an empty cell, and a text that would be a formula gets an apostrophe in front.

    Numbers stay as they are, texts of numbers (-1.5) too.
    """
    return "".join(",".join(map(_cell, row)) + "\n" for row in rows)


def csv_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows that name their cells as CSV, the columns in the order in which they first occur."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return csv_text([columns, *([row.get(name) for name in columns] for row in rows)])


def whole_rows(lines: Iterable[bytes]) -> tuple[int, int]:
    """Return how many whole rows there are of CSV that may break off, as `csv_text` wrote it, and their bytes.

    Args:
        lines: of the file, each with its end; what follows the last whole row is not counted.
    """
    n_rows = n_bytes = n_read = n_marks = 0
    for line in lines:
        n_read, n_marks = n_read + len(line), n_marks + line.count(b'"')
        # Within a cell a line may end, too: then a quotation mark is open.
        if line.endswith(b"\n") and n_marks % 2 == 0:
            n_rows, n_bytes = n_rows + 1, n_read
    return n_rows, n_bytes


def plain_cell(cell: str) -> str:
    """Return what a cell said before `csv_text` put an apostrophe in front of it."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def plain_lead(text: str) -> str:
    """Return a line of JSON that says the same and in which no part behind a comma would be a formula."""
    return _IN_LEAD.sub(lambda found: f"{found[1]}\\u{ord(found[2]):04x}", text)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    if isinstance(value, str) and _FORMULA.match(text) and not _is_number(text):
        text = f"'{text}"
    # csv.writer leaves a lone carriage return bare before Python 3.13, and csv.reader then ends the row there.
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

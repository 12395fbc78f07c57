"""What a value shows of itself in a notebook and a console: a small table, every text escaped, and short lists."""

from collections.abc import Mapping, Sequence
from html import escape

_MOST_ROWS = 20
_MOST_NAMES = 5
_LONGEST_NAME = 40  # letters


def html_table(rows: Sequence[Sequence[object]], *, head: Sequence[str] = (), caption: str = "") -> str:
    """Return a table for `_repr_html_`; every text is escaped, and further rows than 20 are counted, not shown.

    Args:
        rows: of cells, whose text is shown; the first of each names the row, the others stand to the right.
        head: the names of the columns; none: the table has no head.
        caption: above the table: what it is, in one line.
    """
    lines = ["<table>"]
    if caption:
        lines.append(f'<caption style="text-align:left">{escape(caption)}</caption>')
    if head:
        lines.append(f"<thead>{_line('th', head)}</thead>")
    shown = rows if len(rows) <= _MOST_ROWS else rows[: _MOST_ROWS - 1]
    body = [_line("td", row) for row in shown]
    if len(shown) < len(rows):
        body.append(_line("td", [f"and {len(rows) - len(shown):,} more"]))
    return "".join([*lines, "<tbody>", *body, "</tbody></table>"])


def counts_text(counts: Mapping[str, int]) -> str:
    """Return counts by name in a line, the largest first, the sixth and later ones as their number: 'a 12, b 3'."""
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    n_more = len(largest) - _MOST_NAMES
    shown = largest if n_more <= 1 else largest[:_MOST_NAMES]
    named = [f"{short_name(name)} {n:,}" for name, n in shown]
    return ", ".join(named if n_more <= 1 else [*named, f"and {n_more:,} more"])


def short_name(name: str) -> str:
    """Return a name on one line, its middle left out where it has more than 40 letters."""
    line = " ".join(name.split())
    half = _LONGEST_NAME // 2 - 1
    return line if len(line) <= _LONGEST_NAME else f"{line[:half]} … {line[-half:]}"


def _line(cell: str, row: Sequence[object]) -> str:
    aligned = [' style="text-align:left"', *[""] * (len(row) - 1)]
    cells = (f"<{cell}{style}>{escape(str(text))}</{cell}>" for text, style in zip(row, aligned, strict=True))
    return f"<tr>{''.join(cells)}</tr>"

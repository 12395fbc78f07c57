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


def facts_text(name: str, facts: Sequence[tuple[str, str]]) -> str:
    """Return what `__repr__` says: the name of the class and (name, text) pairs, on one line.

    Args:
        name: of the class.
        facts: what is said of the value.
    """
    told = "; ".join(f"{fact}: {' '.join(text.split())}" for fact, text in facts)
    return f"{name}({told})"


def counts_table(findings: Sequence[str], counts: Sequence[Sequence[float]]) -> str:
    """Return what the films of each finding (rows) were taken for as a table whose shades are a picture of it.

    Args:
        findings: names of rows and columns.
        counts: of films or queries; empty: no table.
    """
    if not len(counts):
        return ""
    rows = []
    for name, row in zip(findings, counts, strict=True):
        total = sum(row) or 1
        # A colour that lets the ink of light and of dark notebooks through.
        cells = [f'<td style="background:rgba(0,114,178,{0.6 * n / total:.2f})">{n:,.6g}</td>' for n in row]
        rows.append(f'<tr><td style="text-align:left">{escape(short_name(name))}</td>{"".join(cells)}</tr>')
    heads = _line("th", ["truly", *(f"as {short_name(name)}" for name in findings)])
    return f"<table><thead>{heads}</thead><tbody>{''.join(rows)}</tbody></table>"


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

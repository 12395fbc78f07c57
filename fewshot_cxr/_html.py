"""What a value shows of itself in a notebook and a console: a small table, every text escaped, and short lists."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

_MOST_ROWS = 20
_MOST_NAMES = 5
_LONGEST_NAME = 40  # letters
_MOST = 12, 6  # rows and columns of a picture of counts
_SIDE, _DOT = 240, 3  # px
_HUES = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6D00", "#5E3C99"
_GRAY = "#808080"


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
    heads = ["truly", *(f"as {short_name(name)}" for name in findings)]
    return _shaded(heads, dict(zip(findings, counts, strict=True))) if len(counts) else ""


def cross_picture(pairs: Iterable[tuple[str, str]], heads: tuple[str, str]) -> str:
    """Return how often two texts meet as a table whose shades are a picture of it, the commonest ones first.

    Args:
        pairs: such as the finding and the source of each film.
        heads: what the first and what the second text is.
    """
    counts = Counter(pairs)
    sides: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for pair, count in counts.items():
        for side, name in zip(sides, pair, strict=True):
            side[name] += count
    rows, columns = ([name for name, _ in side.most_common(most)] for side, most in zip(sides, _MOST, strict=True))
    table = {row: [counts[row, column] for column in columns] for row in rows}
    return _shaded([" \\ ".join(heads), *map(short_name, columns)], table) if len(columns) > 1 else ""


def scatter_picture(points: np.ndarray, groups: Sequence[int], names: Sequence[str]) -> str:
    """Return points as an inline SVG, a colour and a name for each group, at most eight: what is more is gray.

    Args:
        points: float, shape (n, 2), of any scale.
        groups: index into `names` of each point.
        names: of the groups.
    """
    low, span = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-12)
    places = _DOT + (points - low) / span * (_SIDE - 2 * _DOT)
    hues = [_HUES[group] if group < len(_HUES) else _GRAY for group in range(len(names))]
    dots = [
        f'<circle cx="{x:.1f}" cy="{_SIDE - y:.1f}" r="{_DOT}" fill="{hues[group]}" fill-opacity="0.7"/>'
        for (x, y), group in zip(places.tolist(), groups, strict=True)
    ]
    told = [
        f'<span style="color:{hues[at]}">&#9679;</span> {escape(short_name(name))}' for at, name in enumerate(names)
    ]
    more = [f"and {len(told) - _MOST_ROWS:,} more"] * (len(told) > _MOST_ROWS)
    svg = f'<svg width="{_SIDE}" height="{_SIDE}" role="img" aria-label="{len(dots):,} films">{"".join(dots)}</svg>'
    return f"<div>{svg}<div>{' '.join([*told[:_MOST_ROWS], *more])}</div></div>"


def _shaded(heads: Sequence[str], table: Mapping[str, Sequence[float]]) -> str:
    """Return a table of counts by name, each cell as dark as its share of the row is large."""
    rows = []
    for name, row in table.items():
        total = sum(row) or 1
        # A colour that lets the ink of light and of dark notebooks through.
        cells = [f'<td style="background:rgba(0,114,178,{0.6 * n / total:.2f})">{n:,.6g}</td>' for n in row]
        rows.append(f'<tr><td style="text-align:left">{escape(short_name(name))}</td>{"".join(cells)}</tr>')
    return f"<table><thead>{_line('th', heads)}</thead><tbody>{''.join(rows)}</tbody></table>"


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

"""A comparison of two results as rows of text."""

from fewshot_cxr.evaluation.comparison import Comparison, Difference
from fewshot_cxr.report.tables import PLAIN_NUMBERS, Table, number_name

_LEAST = 0.0001


def comparison_table(comparison: Comparison) -> Table:
    """Return number by number the two values, first minus second with its interval, and the p-value with its test."""
    kind = "episodes" if comparison.results == "episodes" else "films"
    first, second = comparison.names
    return Table(
        ("", first, second, "difference", "95 %", "p", "test"),
        tuple(_row(row) for row in comparison.rows),
        caption=f"{first} less {second}, on the same {kind}: {comparison.n_films:,} films of "
        f"{comparison.n_patients:,} patients; differences of shares in points",
    )


def _row(row: Difference) -> tuple[str, ...]:
    is_plain = row.number in PLAIN_NUMBERS
    values = [f"{value:.3f}" if is_plain else f"{100 * value:.1f} %" for value in (row.first, row.second)]
    gap = f"{row.difference:+.3f}" if is_plain else f"{100 * row.difference:+.1f}"
    interval = "none"
    if row.ci95 is not None:
        low, high = row.ci95
        interval = f"{low:+.3f} to {high:+.3f}" if is_plain else f"{100 * low:+.1f} to {100 * high:+.1f}"
    return number_name(row.number), *values, gap, interval, _p_text(row.p_value), row.test


def _p_text(p_value: float | None) -> str:
    if p_value is None:
        return "none"
    return f"< {_LEAST:.4f}" if p_value < _LEAST else f"{p_value:.4f}" if p_value < 0.1 else f"{p_value:.2f}"

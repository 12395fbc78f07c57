"""A comparison of two results as rows of text."""

from fewshot_cxr.evaluation.comparison import Comparison, Difference
from fewshot_cxr.metrics import NUMBERS
from fewshot_cxr.report.tables import UNKNOWN, Table, interval_text, number_name, number_text, p_text
from fewshot_cxr.unknown_patients import films_text


def comparison_table(comparison: Comparison) -> Table:
    """Return number by number the two values, first minus second with its interval, and the p-value with its test."""
    kind = "episodes" if comparison.results == "episodes" else "films"
    first, second = comparison.names
    return Table(
        ("", first, second, "difference", "95 %", "p", "test"),
        tuple(_row(row) for row in comparison.rows),
        caption=f"{first} less {second}, on the same {kind}: "
        f"{films_text(comparison.n_films, comparison.n_patients, comparison.n_films_without_patient)}; "
        "differences of shares in points",
    )


def _row(row: Difference) -> tuple[str, ...]:
    number = NUMBERS.get(row.number.partition(" of ")[0])
    form, of_gap = ("share", "points") if number is None or number.is_share else ("plain", "signed")
    values = (number_text(value, form) for value in (row.first, row.second))
    gap = number_text(row.difference, of_gap), interval_text(row.ci95, of_gap)
    test = UNKNOWN if row.test == "none" else row.test
    return number_name(row.number), *values, *gap, p_text(row.p_value, short_from=0.1), test

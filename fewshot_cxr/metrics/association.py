"""How strongly two columns of names go together."""

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np


def cross_table(rows: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count each pair of names: {row name: {column name: count}}, both sorted, zeros written out.

    Args:
        rows: names.
        columns: names, as many; place i of both belongs to one thing.

    Examples:
        >>> cross_table(["normal", "covid19", "covid19"], ["hospital_a", "hospital_b", "hospital_b"])
        {'covid19': {'hospital_a': 0, 'hospital_b': 2}, 'normal': {'hospital_a': 1, 'hospital_b': 0}}
    """
    counts, column_names = Counter(zip(rows, columns, strict=True)), sorted(set(columns))
    return {row: {column: counts[row, column] for column in column_names} for row in sorted(set(rows))}


def cramers_v(counts: np.ndarray | Sequence[Sequence[int]], *, is_corrected: bool = False) -> float:
    """Return Cramer's V of a table of counts: 0 where rows and columns are independent, 1 where one tells the other.

    Args:
        counts: shape (n_rows, n_columns), 0 or more; rows and columns of zeros alone do not matter.
        is_corrected: take off what chance alone gives, which is much where there are many columns and few things.

    Returns:
        0..1. Without correction independent columns of n things give about sqrt(degrees of freedom / n), and columns
        of one thing each give 1; with it both give about 0.

    Raises:
        ValueError: fewer than two rows or two columns hold anything, so that there is nothing to go together.

    Examples:
        >>> cramers_v([[60, 0], [0, 40]])  # every normal film is of one hospital, every covid19 film of the other
        1.0
        >>> cramers_v([[30, 10], [10, 30]]), cramers_v([[30, 20], [30, 20]])
        (0.5, 0.0)

    Source: Cramer, "Mathematical Methods of Statistics", 1946, section 21.9; the correction: Bergsma, "A
    bias-correction for Cramer's V and Tschuprow's T", 2013, doi:10.1016/j.jkss.2012.10.002, section 3.
    """
    table = np.asarray(counts, dtype=float)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if min(table.shape) < 2:
        raise ValueError(
            f"counts must have two rows and two columns that hold anything, got {table.shape[0]} x {table.shape[1]}: "
            "say that the association cannot be assessed"
        )
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    # In fractions, so that a table without exceptions gives 1 itself, and independent columns 0.
    cells = ((Fraction(table[at]), rows[at[0]], columns[at[1]]) for at in zip(*np.nonzero(table), strict=True))
    phi_squared = sum((n * n / Fraction(row) / Fraction(column) for n, row, column in cells), Fraction(-1))
    if not is_corrected:
        return math.sqrt(phi_squared / (min(table.shape) - 1))
    n_rows, n_columns = table.shape
    spare = table.sum() - 1
    excess = max(0.0, float(phi_squared) - (n_rows - 1) * (n_columns - 1) / spare)
    most = min(size - 1 - (size - 1) ** 2 / spare for size in table.shape)
    return min(1.0, math.sqrt(excess / most)) if most > 0 else 0.0

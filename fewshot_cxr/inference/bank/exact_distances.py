"""Distances in float64 by subtraction, of NumPy and SciPy alone: what a bank's sets and limits are made of.

Each is computed by itself, so that neither the other rows nor their number change a digit, and copies tie.
"""

from collections.abc import Callable

import numpy as np
import scipy

from fewshot_cxr._checks import lookup


def exact_distances(rows: np.ndarray, columns: np.ndarray, distance: str) -> np.ndarray:
    """Measure every row against every column.

    Args:
        rows: float, shape (n_rows, dim), or one row for each group of columns, (n_groups, dim).
        columns: float, shape (n_columns, dim), or groups of them, (n_groups, n_columns, dim).
        distance: a name in `distances.DISTANCES`.

    Returns:
        float64, shape (n_rows, n_columns), or (n_groups, n_columns).
    """
    measure = lookup(_EXACT, distance, what="distance")
    return measure(rows.astype(np.float64, copy=False), columns.astype(np.float64, copy=False))


def _squared(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    if columns.ndim == 2:
        return np.asarray(scipy.spatial.distance.cdist(rows, columns, "sqeuclidean"))
    gaps = columns - rows[:, None]
    return np.asarray(np.einsum("ijk,ijk->ij", gaps, gaps))


def _euclidean(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(_squared(rows, columns)))


def _l1(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    if columns.ndim == 2:
        return np.asarray(scipy.spatial.distance.cdist(rows, columns, "cityblock"))
    return np.asarray(np.abs(columns - rows[:, None]).sum(axis=-1))


def _cosine(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return half the square of the way between unit vectors; of a zero vector 1."""
    (rows, has_row), (columns, has_column) = _unit(rows), _unit(columns)
    has_both = has_row[:, None] & (has_column if columns.ndim == 3 else has_column[None])
    return np.where(has_both, _squared(rows, columns) / 2, 1.0)


def _unit(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.sqrt(np.square(vectors).sum(axis=-1))
    return vectors / np.where(lengths > 0, lengths, 1)[..., None], lengths > 0


_EXACT: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "euclidean": _euclidean,
    "squared_euclidean": _squared,
    "cosine": _cosine,
    "l1": _l1,
}

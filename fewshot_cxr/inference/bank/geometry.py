"""How faiss measures a distance of ours in 32 bits, how far that may be wrong, and the same distance in 64 bits."""

from dataclasses import dataclass

import numpy as np

from fewshot_cxr._checks import lookup

_ROUNDING = float(np.finfo(np.float32).eps)  # twice what one operation may be wrong by
_METRICS = {"euclidean": "L2", "squared_euclidean": "L2", "cosine": "INNER_PRODUCT", "l1": "L1"}


@dataclass(frozen=True)
class Geometry:
    """The form of vectors in which faiss compares them: about a centre, of about the size 1; unit length for cosine.

    Args:
        distance: a name in DISTANCES.
        centre: float32, shape (dim,); near the mean, so that squares are small and their differences keep their digits.
        exponent: vectors are divided by 2 to this power, which costs no digit.
    """

    distance: str
    centre: np.ndarray
    exponent: int

    @property
    def metric(self) -> str:
        """What faiss calls it, without METRIC_ before it."""
        return lookup(_METRICS, self.distance, what="distance")

    def prepare(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors as faiss takes them.

        Args:
            vectors: float32, shape (n, dim).

        Returns:
            float32, shape (n, dim).
        """
        if self.distance == "cosine":
            return unit_length(vectors.astype(np.float64)).astype(np.float32, copy=False)
        with np.errstate(over="ignore"):  # of a query that is far from all: it is measured in 64 bits
            prepared: np.ndarray = np.ldexp(vectors, -self.exponent) - np.ldexp(self.centre, -self.exponent)
        return prepared

    def farthest_found(self, queries: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """Return the largest value that faiss may give to a row no farther than a distance.

        With u the rounding of 32 bits, faiss may be wrong by dim * u * (|q| + |r|)^2 in a squared distance, by
        dim * u * d in a sum of absolute differences and by dim * u in a cosine; a row within d has |r| <= |q| + d.

        Args:
            queries: prepared, float32, shape (n, dim).
            distances: in the unit of the vectors, float64, shape (n,).

        Returns:
            float64, shape (n,), smaller is closer: of inner products the negative.
        """
        wrong_by = (queries.shape[1] + 8) * _ROUNDING
        if self.metric == "INNER_PRODUCT":
            least_similar: np.ndarray = distances - 1 + wrong_by
            return least_similar
        if self.distance == "squared_euclidean":
            distances = np.sqrt(distances)
        scaled = np.ldexp(distances, -self.exponent)
        reach = 2 * np.linalg.norm(queries.astype(np.float64), ord=1 if self.metric == "L1" else 2, axis=1) + scaled
        scaled = scaled + _ROUNDING * reach  # the vectors were rounded when they were put about the centre
        with np.errstate(invalid="ignore", over="ignore"):
            farthest: np.ndarray = (
                scaled * (1 + wrong_by) if self.metric == "L1" else scaled**2 + wrong_by * (reach + scaled) ** 2
            )
        return farthest


def geometry_of(vectors: np.ndarray, distance: str, *, block: int) -> Geometry:
    """Read vectors once, and choose centre and size.

    Args:
        vectors: float32, shape (n, dim).
        distance: a name in DISTANCES.
        block: rows that are read at once.

    Raises:
        ValueError: a vector is not finite, or unknown distance.
    """
    lookup(_METRICS, distance, what="distance")
    total, largest = np.zeros(vectors.shape[1]), 0.0
    for start in range(0, len(vectors), block):
        part = np.abs(vectors[start : start + block])
        if not np.isfinite(part).all():
            row = start + int(np.flatnonzero(~np.isfinite(part).all(axis=1))[0])
            raise ValueError(f"row {row} of vectors is not finite; a diverged encoder? Lower the learning rate")
        total += vectors[start : start + block].sum(axis=0, dtype=np.float64)
        largest = max(largest, float(part.max()))
    return Geometry(distance, (total / len(vectors)).astype(np.float32), int(np.frexp(largest)[1]))


def measure(queries: np.ndarray, vectors: np.ndarray, distance: str) -> np.ndarray:
    """Return distances in 64 bits, by subtraction: those of `pairwise_distances`, and the same for the same vectors.

    Args:
        queries: float, shape (..., dim).
        vectors: float, shape (..., dim), broadcast with them.
        distance: a name in DISTANCES.

    Returns:
        float64, the broadcast shape without dim.
    """
    wide, rows = queries.astype(np.float64), vectors.astype(np.float64)
    if distance == "cosine":
        similarity: np.ndarray = (unit_length(wide) * unit_length(rows)).sum(axis=-1)
        return 1 - similarity
    difference = rows - wide
    if distance == "l1":
        sums: np.ndarray = np.abs(difference).sum(axis=-1)
        return sums
    squares: np.ndarray = np.square(difference).sum(axis=-1)
    return squares if distance == "squared_euclidean" else np.sqrt(squares)


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Return vectors at length 1; a zero vector stays.

    Args:
        vectors: float64, shape (..., dim).
    """
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: np.ndarray = vectors / np.where(length > 0, length, 1)
    return unit

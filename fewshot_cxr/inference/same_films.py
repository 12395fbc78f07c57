"""Which exemplars are a film itself, by their embeddings alone."""

import numpy as np


class SameFilms:
    """Embeddings among which a film is looked for.

    Args:
        vectors: float32, shape (n, dim); of very many not even a copy of their size is made.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        sums, largest = vectors.sum(axis=1, dtype=np.float64), float(max(vectors.max(), -vectors.min()))
        self._vectors, self._order = vectors, np.argsort(sums, kind="stable")
        self._sums = sums[self._order]  # equal films have one
        # Batch size and thread count move the last digits of an embedding; two films never come this near.
        self._wrong_by = 1e-5 * (largest or 1)

    def of(self, query: np.ndarray) -> np.ndarray:
        """Return which exemplars are the film itself, bool (n,).

        Args:
            query: its embedding, (dim,).
        """
        total, reach = float(query.sum(dtype=np.float64)), 1.01 * self._wrong_by * len(query)
        first, last = np.searchsorted(self._sums, (total - reach, total + reach))
        rows, is_same = self._order[first:last], np.zeros(len(self._order), dtype=bool)
        is_same[rows] = np.abs(self._vectors[rows] - query).max(axis=1, initial=0) < self._wrong_by
        return is_same

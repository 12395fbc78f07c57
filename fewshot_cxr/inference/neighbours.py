"""The exemplars that are shown beside an answer: the nearest ones, and one of the finding that was answered."""

from collections.abc import Iterator, Sequence

import numpy as np

from fewshot_cxr.inference.deciding import Decider


class Neighbours:
    """The nearest exemplars of some films: by the decider's index, if it has one, else every exemplar is measured.

    Args:
        decider: whose exemplars.
        queries: embeddings of the films, float32, shape (n_queries, dim).
        n: exemplars that are shown of each.
    """

    def __init__(self, decider: Decider, queries: np.ndarray, n: int) -> None:
        self._decider, self._queries, self._n = decider, queries, n
        if decider.index is None:
            self._all = decider.to_exemplars(queries).double().numpy()
        else:
            self._found = decider.index.search(queries, n)  # together, which is faster than one by one

    def of(self, query: int, may_be: np.ndarray, answered: Sequence[str]) -> Iterator[tuple[int, float]]:
        """Yield rows and distances, nearest first; where none is of an answered finding, its nearest one is the last.

        Args:
            query: row of the film.
            may_be: which exemplars may be shown, bool (n,): not the film itself.
            answered: names.
        """
        labels = self._decider.labels.numpy()
        named = [self._decider.findings.index(name) for name in answered]
        rows, distances = self._nearest(query, self._n, may_be)
        if not np.isin(labels[rows], named).any():
            own = self._nearest(query, 1, may_be & np.isin(labels, named))
            rows, distances = (np.append(found[:-1], one) for found, one in zip((rows, distances), own, strict=True))
        yield from zip(rows.tolist(), distances.tolist(), strict=True)

    def _nearest(self, query: int, n: int, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if (index := self._decider.index) is not None:
            if n == self._n and among.all():
                return self._found[0][query], self._found[1][query]
            found, distances = index.search(self._queries[query : query + 1], n, among=among)
            return found[0], distances[0]
        kept = np.flatnonzero(among)
        rows = kept[np.argsort(self._all[query, kept], kind="stable")[:n]]
        return rows, self._all[query, rows]

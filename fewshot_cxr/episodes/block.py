"""A block of episodes as row numbers: what is drawn, saved, replayed and judged."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class EpisodePart:
    """Episodes of one block that have the same shape, laid out as the rules want them.

    Args:
        positions: of these episodes within their block, int64, shape (b,), ascending.
        class_ids: int64, shape (b, n_way).
        support: rows, int64, shape (b, n_support), class by class.
        support_labels: int64, shape (n_support,), in 0..n_way-1: the column of `class_ids`.
        query: rows, int64, shape (b, n_queries), class by class.
        query_labels: int64, shape (n_queries,), in 0..n_way-1.
        outside: rows, int64, shape (b, n_outside), of films whose finding is not in the episode; None: there are none.

    Examples:
        >>> support, query = np.array([[[4], [7]]]), np.array([[[5, 6], [8, -1]]])  # of the second finding one query
        >>> (part,) = EpisodeBlock(0, np.array([[0, 1]]), support, query).parts()
        >>> type(part).__name__, part.query.tolist(), part.query_labels.tolist()
        ('EpisodePart', [[5, 6, 8]], [0, 0, 1])
    """

    positions: np.ndarray
    class_ids: np.ndarray
    support: np.ndarray
    support_labels: np.ndarray
    query: np.ndarray
    query_labels: np.ndarray
    outside: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, eq=False)
class EpisodeBlock:
    """Consecutive episodes as row numbers into the embeddings.

    Args:
        first: number of the first episode.
        class_ids: int64, shape (n, n_way), ascending in each episode.
        support: rows, int64, shape (n, n_way, max_shot); row c of an episode belongs to its class c, padded at the end
            with -1 where a class has fewer.
        query: the same, shape (n, n_way, max_query).
        outside: rows, int64, shape (n, n_outside), of films whose finding is not in the episode; None: there are none.

    Examples:
        >>> from fewshot_cxr import Embeddings, Episodes
        >>> films = Embeddings(np.eye(9), ["covid19", "normal", "pneumonia"] * 3)
        >>> block = Episodes.draw(films, n_way=2, n_shot=1, n_query=2, n_episodes=50).block(first=10, size=5)
        >>> len(block), block.support.shape, block.query.shape
        (5, (5, 2, 1), (5, 2, 2))
    """

    first: int
    class_ids: np.ndarray
    support: np.ndarray
    query: np.ndarray
    outside: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.class_ids)

    def parts(self) -> Iterator[EpisodePart]:
        """Yield the episodes grouped by shape: one part, without a copy, where all are full."""
        is_full = (self.support[:, :, -1] >= 0).all() and (self.query[:, :, -1] >= 0).all()
        if is_full or not len(self):
            n_way, max_shot, max_query = *self.support.shape[1:], self.query.shape[2]
            yield self._part(np.arange(len(self)), np.repeat([max_shot, max_query], n_way))
            return
        counts = np.concatenate([(side >= 0).sum(axis=2) for side in (self.support, self.query)], axis=1)
        shapes, shape_of = np.unique(counts, axis=0, return_inverse=True)
        order = np.argsort(shape_of.ravel(), kind="stable")
        ends = np.cumsum(np.bincount(shape_of.ravel(), minlength=len(shapes)))
        for shape, positions in zip(shapes, np.split(order, ends[:-1]), strict=True):
            yield self._part(positions, shape)

    def _part(self, positions: np.ndarray, counts: np.ndarray) -> EpisodePart:
        n_way = self.class_ids.shape[1]
        is_whole = len(positions) == len(self)
        sides = []
        for side, n_films in ((self.support, counts[:n_way]), (self.query, counts[n_way:])):
            rows = side.reshape(len(self), n_way * side.shape[2])
            is_there = (np.arange(side.shape[2]) < n_films[:, None]).ravel()
            rows = rows if is_whole else rows[positions]
            sides += [rows if is_there.all() else rows[:, is_there], np.repeat(np.arange(n_way), n_films)]
        support, support_labels, query, query_labels = sides
        return EpisodePart(
            positions=positions,
            class_ids=self.class_ids if is_whole else self.class_ids[positions],
            support=support,
            support_labels=support_labels,
            query=query,
            query_labels=query_labels,
            outside=self.outside if self.outside is None or is_whole else self.outside[positions],
        )

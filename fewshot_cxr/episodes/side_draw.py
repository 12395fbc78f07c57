"""One side of many episodes: large classes by candidates, small ones by putting all their films in order."""

from collections.abc import Sequence

import numpy as np

from fewshot_cxr.episodes.class_pool import ClassPool, PoolSide
from fewshot_cxr.episodes.sparse_draw import SparseSide
from fewshot_cxr.seeding import hashed_bits


class SideDraw:
    """The films of one side of several classes, and how episodes draw from them.

    Args:
        seed, kind: of the stream of random bits.
        pools: the classes; `sides` their films on this side.
        is_sparse: bool, shape (n_pools,): whether the class is large against what is drawn.
        limits: how many groups of a class may be drawn from, int64, shape (n_pools,).
    """

    def __init__(
        self,
        seed: int,
        kind: int,
        pools: Sequence[ClassPool],
        sides: Sequence[PoolSide],
        *,
        is_sparse: np.ndarray,
        limits: np.ndarray,
    ) -> None:
        self._stream = seed, kind
        self._keys = np.array([pool.key for pool in pools], dtype=np.uint64)
        self._sides, self._is_sparse, self._limits = sides, is_sparse, limits
        self._slot = np.cumsum(is_sparse) - 1
        large = [side for side, is_large in zip(sides, is_sparse, strict=True) if is_large]
        self._sparse = SparseSide(large) if large else None

    def take(
        self,
        numbers: np.ndarray,
        pools: np.ndarray,
        counts: np.ndarray,
        *,
        attempt: int,
        banned_groups: np.ndarray,
        banned_rows: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the films of m cells, a cell being one class of one episode.

        Args:
            numbers, pools, counts: number of the episode, position of the class, films wanted; shape (m,).
            attempt: 0, or which renewed try this is.
            banned_groups, banned_rows: what a cell must not take, int32, shapes (n_groups, m) and (n_rows, m).

        Returns:
            Rows, int32, shape (max(counts), m), -1 below those wanted; and which cells fell short, bool, shape (m,).
        """
        prefix = hashed_bits(*self._stream, attempt, numbers, self._keys[pools])
        if self._sparse is not None and self._is_sparse.all():
            rows = self._sparse.take(prefix, pools, counts, banned_groups, banned_rows)
            return rows, np.zeros(len(pools), dtype=bool)
        rows = np.full((counts.max(), len(pools)), -1, dtype=np.int32)
        is_short = np.zeros(len(pools), dtype=bool)
        for pool in np.unique(pools).tolist():
            if self._is_sparse[pool]:
                continue
            cells = np.flatnonzero(pools == pool)
            taken, is_short[cells] = take_in_order(
                self._sides[pool],
                prefix[cells],
                counts[cells],
                int(self._limits[pool]),
                (banned_groups[:, cells], banned_rows[:, cells]),
            )
            rows[: len(taken), cells] = taken
        cells = np.flatnonzero(self._is_sparse[pools])
        if self._sparse is not None and len(cells):
            bans = banned_groups[:, cells], banned_rows[:, cells]
            taken = self._sparse.take(prefix[cells], self._slot[pools[cells]], counts[cells], *bans)
            rows[: len(taken), cells] = taken
        return rows, is_short


def take_in_order(
    side: PoolSide,
    prefix: np.ndarray,
    counts: np.ndarray,
    limit: int,
    banned: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Shuffle the groups of a class in m episodes and take their films in turn; `SideDraw.take` says the rest.

    Args:
        side: the films.
        prefix: random bits of each episode, uint64, shape (m,).
        counts: films wanted, int64, shape (m,).
        limit: how many of the groups may be drawn from.
        banned: groups and rows, int32, shapes (n_groups, m) and (n_rows, m).
    """
    films, order, rank_of_film = side.ordered(prefix)
    is_allowed = rank_of_film < limit
    if len(banned[0]):
        is_allowed &= ~_marked(side.groups, banned[0])[:, side.group_of_film]
    if len(banned[1]):
        is_allowed &= ~np.take_along_axis(_marked(side.rows, banned[1]), films, axis=1)
    width = int(counts.max())
    is_short = is_allowed.sum(axis=1) < counts
    order = np.where(is_allowed, order, np.iinfo(np.int64).max)
    first = np.argsort(order, axis=1)[:, :width]
    taken = np.full((width, len(prefix)), -1, dtype=np.int32)
    taken[: first.shape[1]] = side.rows[np.take_along_axis(films, first, axis=1)].T
    taken[np.arange(width)[:, None] >= counts] = -1
    return taken, is_short


def _marked(items: np.ndarray, banned: np.ndarray) -> np.ndarray:
    """Mark, in each of m episodes, which of the n items (all different) are banned, bool, shape (m, n)."""
    order = np.argsort(items)
    place = np.minimum(np.searchsorted(items, banned, sorter=order), len(items) - 1)
    position = order[place]
    slots, episodes = np.nonzero(items[position] == banned)
    is_marked = np.zeros((banned.shape[1], len(items)), dtype=bool)
    is_marked[episodes, position[slots, episodes]] = True
    return is_marked

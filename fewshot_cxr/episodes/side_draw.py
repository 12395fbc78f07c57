"""One side of many episodes: large classes by candidates, small ones by putting all their films in order.

A candidate is a patient and one film of that patient; the t-th candidate of an episode follows from its key and t, and
the order of the patients is that of their first occurrence. So an episode costs what it draws, whatever a large class
holds, and drawing more candidates for one episode changes no other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fewshot_cxr.episodes.class_pool import ClassPool, PoolSide
from fewshot_cxr.seeding import hashed_bits

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


class Cells(NamedTuple):
    """What m cells draw, a cell being one class of one episode; the last axis of every array counts the cells.

    Args:
        prefix: random bits, uint64, shape (m,).
        pools: position of the class, int64, shape (m,).
        counts: films wanted, int64, shape (m,).
        banned_groups: what a cell must not take, int32, shape (n_groups, m).
        banned_rows: the same, int32, shape (n_rows, m).
    """

    prefix: np.ndarray
    pools: np.ndarray
    counts: np.ndarray
    banned_groups: np.ndarray
    banned_rows: np.ndarray

    def at(self, index: np.ndarray) -> "Cells":
        """Return some of the cells."""
        return Cells(*(values[..., index] for values in self))


class SideDraw:
    """The films of one side of several classes, and how episodes draw from them.

    Args:
        stream: seed and kind of draw: of the stream of random bits.
        pools: the classes.
        sides: their films on this side.
        is_large: bool, shape (n_pools,): which classes are large against what is drawn; for these a draw looks at
            candidates, and does not end where what is banned leaves too few groups.
        limits: how many groups of each class may be drawn from; None: all.
    """

    def __init__(
        self,
        stream: tuple[int, int],
        pools: Sequence[ClassPool],
        sides: Sequence[PoolSide],
        is_large: np.ndarray,
        limits: Sequence[int] | None = None,
    ) -> None:
        self._stream, self._sides, self._is_large = stream, sides, is_large
        self._limits = [len(side.groups) for side in sides] if limits is None else limits
        self._keys = np.array([pool.key for pool in pools], dtype=np.uint64)
        n_groups = np.array([len(side.groups) for side in sides], dtype=np.int64)
        n_films = np.array([len(side.rows) for side in sides], dtype=np.int64)
        firsts = zip(sides, np.cumsum(n_films) - n_films, strict=True)
        # All classes as one table, for candidates.
        self._n_groups = n_groups.astype(np.uint64)
        self._offset = (np.cumsum(n_groups) - n_groups).astype(np.uint64)
        self._groups = np.concatenate([side.groups for side in sides])
        self._rows = np.concatenate([side.rows for side in sides]).astype(np.int32)
        self._firsts = np.concatenate([side.starts + first for side, first in firsts]).astype(np.uint64)
        self._sizes = np.concatenate([side.sizes for side in sides]).astype(np.uint64)
        self._one_film_each = bool((self._sizes == 1).all())

    def cells(
        self, attempt: int, numbers: np.ndarray, pools: np.ndarray, counts: np.ndarray, banned_groups: np.ndarray
    ) -> Cells:
        """Describe the cells of these episodes; `attempt` is 0, or which renewed try this is."""
        prefix = hashed_bits(*self._stream, attempt, numbers, self._keys[pools])
        return Cells(prefix, pools, counts, banned_groups, np.empty((0, len(pools)), dtype=np.int32))

    def take(self, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        """Draw the films of m cells.

        Returns:
            Rows, int32, shape (max(counts), m), -1 below those wanted; and which cells fell short, bool, shape (m,).
        """
        is_short = np.zeros(len(cells.pools), dtype=bool)
        if self._is_large.all():
            return self._take_candidates(cells), is_short
        rows = np.full((cells.counts.max(), len(cells.pools)), -1, dtype=np.int32)
        is_large = self._is_large[cells.pools]
        for pool in np.unique(cells.pools[~is_large]).tolist():
            here = np.flatnonzero(cells.pools == pool)
            taken, is_short[here] = _take_in_order(self._sides[pool], cells.at(here), self._limits[pool])
            rows[: len(taken), here] = taken
        if is_large.any():
            here = np.flatnonzero(is_large)
            taken = self._take_candidates(cells.at(here))
            rows[: len(taken), here] = taken
        return rows, is_short

    def _take_candidates(self, cells: Cells) -> np.ndarray:
        """Take one film each of `counts` groups."""
        width = length = int(cells.counts.max())
        rows, is_out = self._candidates(cells, length)
        is_out &= np.arange(width)[:, None] < cells.counts
        todo = np.flatnonzero(is_out.any(axis=0))
        while len(todo):
            length = 2 * length + 8
            films, is_out = self._candidates(cells.at(todo), length)
            is_enough = length - is_out.sum(axis=0) >= cells.counts[todo]
            first = np.argsort(is_out[:, is_enough], axis=0, kind="stable")[:width]
            rows[:, todo[is_enough]] = np.take_along_axis(films[:, is_enough], first, axis=0)
            todo = todo[~is_enough]
        if cells.counts.min() < width:
            rows[np.arange(width)[:, None] >= cells.counts] = -1
        return rows

    def _candidates(self, cells: Cells, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the first candidates, int32, and which of them cannot be taken, bool, (length, m)."""
        # The upper half of the bits picks the group, the lower its film.
        bits = hashed_bits(cells.prefix[None, :], np.arange(length, dtype=np.uint64)[:, None])
        entries = (bits >> _HALF) * self._n_groups[cells.pools]
        entries >>= _HALF
        entries += self._offset[cells.pools]
        index = entries.view(np.int64)
        if not self._one_film_each:
            bits &= _LOW
            bits *= self._sizes[index]
            bits >>= _HALF
            bits += self._firsts[index]
        groups, rows = self._groups[index], self._rows[index if self._one_film_each else bits.view(np.int64)]
        is_out = repeats(groups)
        for banned, items in ((cells.banned_groups, groups), (cells.banned_rows, rows)):
            for slot in banned:
                is_out |= items == slot
        return rows, is_out


def repeats(items: np.ndarray) -> np.ndarray:
    """Mark what has occurred before in its column, bool, of the shape of `items`, (length, ...)."""
    is_repeat = np.zeros(items.shape, dtype=bool)
    for gap in range(1, len(items)):
        is_repeat[gap:] |= items[gap:] == items[:-gap]
    return is_repeat


def _take_in_order(side: PoolSide, cells: Cells, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Shuffle the groups of a class in m episodes and take their films in turn, of the first `limit` groups alone."""
    films, order, rank_of_film = side.ordered(cells.prefix)
    is_allowed = rank_of_film < limit
    if len(cells.banned_groups):
        is_allowed &= ~_marked(side.groups, cells.banned_groups)[:, side.group_of_film]
    if len(cells.banned_rows):
        is_allowed &= ~np.take_along_axis(_marked(side.rows, cells.banned_rows), films, axis=1)
    width = int(cells.counts.max())
    is_short = is_allowed.sum(axis=1) < cells.counts
    order = np.where(is_allowed, order, np.iinfo(np.int64).max)
    first = np.argsort(order, axis=1)[:, :width]
    taken = np.full((width, len(cells.counts)), -1, dtype=np.int32)
    taken[: first.shape[1]] = side.rows[np.take_along_axis(films, first, axis=1)].T
    taken[np.arange(width)[:, None] >= cells.counts] = -1
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

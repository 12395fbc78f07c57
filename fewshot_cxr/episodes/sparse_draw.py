"""Draw a few films of large classes without looking at the others: candidates by hash, those that repeat left out.

A candidate is a patient and one film of that patient; the t-th candidate of an episode follows from its key and t, and
the order of the patients is that of their first occurrence. So an episode costs what it draws, whatever a class holds,
and drawing more candidates for one episode changes no other.
"""

from collections.abc import Sequence

import numpy as np

from fewshot_cxr.episodes.class_pool import PoolSide
from fewshot_cxr.seeding import hashed_bits

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


class SparseSide:
    """One side of several classes as one table.

    Args:
        sides: films of each class; what is drawn must be few against its groups (`take` does not end otherwise).
    """

    def __init__(self, sides: Sequence[PoolSide]) -> None:
        n_groups = np.array([len(side.groups) for side in sides], dtype=np.int64)
        n_films = np.array([len(side.rows) for side in sides], dtype=np.int64)
        self._n_groups = n_groups.astype(np.uint64)
        self._offset = (np.cumsum(n_groups) - n_groups).astype(np.uint64)
        first_of_side = np.cumsum(n_films) - n_films
        self._groups = np.concatenate([side.groups for side in sides])
        self._rows = np.concatenate([side.rows for side in sides]).astype(np.int32)
        firsts = [side.starts + first for side, first in zip(sides, first_of_side, strict=True)]
        self._firsts = np.concatenate(firsts).astype(np.uint64)
        self._sizes = np.concatenate([side.sizes for side in sides]).astype(np.uint64)
        self._one_film_each = bool((self._sizes == 1).all())

    def take(
        self,
        prefix: np.ndarray,
        sides: np.ndarray,
        counts: np.ndarray,
        banned_groups: np.ndarray,
        banned_rows: np.ndarray,
    ) -> np.ndarray:
        """Take one film each of `counts` groups.

        Args:
            prefix: random bits of each of m draws, uint64, shape (m,).
            sides: which of the sides it draws from, int64, shape (m,).
            counts: films wanted, int64, shape (m,).
            banned_groups, banned_rows: what it must not take, int32, shapes (n_groups, m) and (n_rows, m).

        Returns:
            Rows, int32, shape (max(counts), m), -1 below those wanted.
        """
        width = length = int(counts.max())
        rows, is_out = self._look(prefix, sides, length, banned_groups, banned_rows)
        is_out &= np.arange(width)[:, None] < counts
        todo = np.flatnonzero(is_out.any(axis=0))
        while len(todo):
            length = 2 * length + 8
            bans = banned_groups[:, todo], banned_rows[:, todo]
            films, is_out = self._look(prefix[todo], sides[todo], length, *bans)
            is_enough = length - is_out.sum(axis=0) >= counts[todo]
            first = np.argsort(is_out[:, is_enough], axis=0, kind="stable")[:width]
            rows[:, todo[is_enough]] = np.take_along_axis(films[:, is_enough], first, axis=0)
            todo = todo[~is_enough]
        if counts.min() < width:
            rows[np.arange(width)[:, None] >= counts] = -1
        return rows

    def _look(
        self,
        prefix: np.ndarray,
        sides: np.ndarray,
        length: int,
        banned_groups: np.ndarray,
        banned_rows: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the first candidates, and which of them cannot be taken, (length, m)."""
        groups, rows = self._candidates(prefix, sides, length)
        is_out = repeats(groups)
        for banned, items in ((banned_groups, groups), (banned_rows, rows)):
            for slot in banned:
                is_out |= items == slot
        return rows, is_out

    def _candidates(self, prefix: np.ndarray, sides: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return groups and rows, int32 (length, m): the upper half of the bits picks the group, the lower its film."""
        bits = hashed_bits(prefix[None, :], np.arange(length, dtype=np.uint64)[:, None])
        entries = (bits >> _HALF) * self._n_groups[sides]
        entries >>= _HALF
        entries += self._offset[sides]
        index = entries.view(np.int64)
        if self._one_film_each:
            return self._groups[index], self._rows[index]
        bits &= _LOW
        bits *= self._sizes[index]
        bits >>= _HALF
        bits += self._firsts[index]
        return self._groups[index], self._rows[bits.view(np.int64)]


def repeats(items: np.ndarray) -> np.ndarray:
    """Mark what has occurred before in its column, bool, of the shape of `items`, (length, ...)."""
    is_repeat = np.zeros(items.shape, dtype=bool)
    for gap in range(1, len(items)):
        is_repeat[gap:] |= items[gap:] == items[:-gap]
    return is_repeat

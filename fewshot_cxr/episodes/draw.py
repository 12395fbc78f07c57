"""Draw blocks of episodes after a plan: which classes, which films on either side, and which from outside.

Every random bit follows from seed, kind of draw, attempt, episode and class; so an episode is the same whatever else
is drawn with it.
"""

from functools import cached_property

import numpy as np

from fewshot_cxr.episodes.block import EpisodeBlock
from fewshot_cxr.episodes.draw_plan import DrawPlan
from fewshot_cxr.episodes.query_shares import share_queries
from fewshot_cxr.episodes.side_draw import Cells, SideDraw, repeats
from fewshot_cxr.seeding import hashed_bits

_CLASS, _SUPPORT, _QUERY, _OUTSIDE, _OUTSIDE_CLASS = 1, 2, 3, 4, 5  # kinds of draw: each its own stream of random bits
_MAX_ATTEMPTS = 200


class EpisodeDraw:
    """Draws the episodes of a plan.

    Args:
        plan: what to draw.
        seed: of the whole sequence.
    """

    def __init__(self, plan: DrawPlan, seed: int) -> None:
        pools = plan.pools
        self._plan, self._seed = plan, seed
        self._class_ids = np.array([pool.class_id for pool in pools], dtype=np.int64)
        self._keys = np.array([pool.key for pool in pools], dtype=np.uint64)
        self._n_films = np.array([pool.n_films for pool in pools], dtype=np.int64)
        self._by_id = np.argsort(self._class_ids)
        support, query = [pool.support for pool in pools], [pool.query for pool in pools]
        self._support = SideDraw((seed, _SUPPORT), pools, support, plan.is_large, plan.support_groups)
        self._query = SideDraw((seed, _QUERY), pools, query, plan.is_large)

    @cached_property
    def _outside(self) -> SideDraw:
        pools = self._plan.outside_pools
        return SideDraw((self._seed, _OUTSIDE), pools, [pool.query for pool in pools], self._plan.is_outside_large)

    def block(self, first: int, size: int) -> EpisodeBlock:
        """Draw the episodes first .. first+size-1; `Episodes.block` says what may go wrong."""
        plan = self._plan
        numbers = np.arange(first, first + size, dtype=np.uint64)
        chosen = self._choose_classes(numbers)
        support = np.full((plan.shots.max(), size, plan.n_way), -1, dtype=np.int32)
        query = np.full((plan.queries.max(), size, plan.n_way), -1, dtype=np.int32)
        todo = np.arange(size)
        for attempt in range(_MAX_ATTEMPTS):
            *taken, is_short = self._attempt(numbers[todo], chosen[todo], attempt)
            for side, rows in zip((support, query), taken, strict=True):
                side[: len(rows), todo] = rows.reshape(len(rows), len(todo), plan.n_way)
                side[len(rows) :, todo] = -1
            todo = todo[is_short]
            if not len(todo):
                break
        else:
            raise ValueError(
                f"episode {first + int(todo[0])}: patients with films of several findings leave too few query films; "
                "take fewer shots (n_shot) or queries (n_query)"
            )
        return EpisodeBlock(
            first=first,
            class_ids=self._class_ids[chosen],
            support=np.ascontiguousarray(support.transpose(1, 2, 0), dtype=np.int64),
            query=np.ascontiguousarray(query.transpose(1, 2, 0), dtype=np.int64),
            outside=self._draw_outside(numbers, chosen, support) if plan.n_outside else None,
        )

    def _choose_classes(self, numbers: np.ndarray) -> np.ndarray:
        """Return, per episode, the positions of its n_way classes, by ascending finding."""
        if len(self._keys) == self._plan.n_way:
            return np.tile(self._by_id, (len(numbers), 1))
        bits = hashed_bits(self._seed, _CLASS, numbers[:, None], self._keys[None, :])
        bits[:, [pool.name in self._plan.always for pool in self._plan.pools]] = 0
        first = np.argsort(bits, axis=1, kind="stable")[:, : self._plan.n_way]
        chosen: np.ndarray = self._by_id[np.sort(np.argsort(self._by_id)[first], axis=1)]
        return chosen

    def _attempt(self, numbers: np.ndarray, chosen: np.ndarray, attempt: int) -> tuple[np.ndarray, ...]:
        """Draw once: support and query rows, (films, n * n_way), and which episodes fell short, (n,)."""
        where = np.repeat(numbers, self._plan.n_way), chosen.ravel()
        shots, nothing = self._plan.shots[chosen], np.empty((0, chosen.size), dtype=np.int32)
        support, is_short = self._take(self._support, self._support.cells(attempt, *where, shots.ravel(), nothing))
        banned = self._plan.films.group_of_row[support]
        if self._plan.has_shared_groups:
            banned = np.repeat(self._by_episode(banned), self._plan.n_way, axis=1)
        queries = self._queries(chosen).ravel()
        query, is_too_short = self._take(self._query, self._query.cells(attempt, *where, queries, banned))
        return support, query, (is_short | is_too_short).reshape(chosen.shape).any(axis=1)

    def _queries(self, chosen: np.ndarray) -> np.ndarray:
        most: np.ndarray = self._plan.queries[chosen]
        if self._plan.total_queries is None:
            return most
        order = np.argsort(chosen, axis=1)  # by name, so that the order of findings decides no tie
        shares = share_queries(self._plan.total_queries, self._n_films[np.take_along_axis(chosen, order, axis=1)])
        queries = np.empty_like(shares)
        np.put_along_axis(queries, order, shares, axis=1)
        fitting: np.ndarray = np.minimum(queries, most)
        return fitting

    def _take(self, side: SideDraw, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        """Draw one side, each film for one class alone: of two classes the first by name keeps it."""
        rows, is_short = side.take(cells)
        if not self._plan.has_shared_films:
            return rows, is_short
        n_way, films = self._plan.n_way, self._by_episode(rows)
        clashing = np.flatnonzero((repeats(films) & (films >= 0)).any(axis=0))
        by_name = np.argsort(cells.pools.reshape(-1, n_way)[clashing], axis=1)
        taken = np.empty((0, len(clashing)), dtype=np.int32)
        for way in range(n_way if len(clashing) else 0):
            here = clashing * n_way + by_name[:, way]
            again, is_short[here] = side.take(cells.at(here)._replace(banned_rows=taken))
            rows[:, here] = -1
            rows[: len(again), here] = again
            taken = np.concatenate([taken, again])
        return rows, is_short

    def _by_episode(self, rows: np.ndarray) -> np.ndarray:
        """Bring what is (films, n * n_way) into columns of episodes, (films * n_way, n)."""
        n_films, n_way = len(rows), self._plan.n_way
        return rows.reshape(n_films, -1, n_way).transpose(0, 2, 1).reshape(n_films * n_way, -1)

    def _draw_outside(self, numbers: np.ndarray, chosen: np.ndarray, support: np.ndarray) -> np.ndarray:
        """Return rows of one finding that is not in the episode, of patients who are not in its support."""
        pools = self._plan.outside_pools
        keys = np.array([pool.key for pool in pools], dtype=np.uint64)
        bits = hashed_bits(self._seed, _OUTSIDE_CLASS, numbers[:, None], keys[None, :])
        class_ids = np.array([pool.class_id for pool in pools])
        is_inside = (self._class_ids[chosen][:, :, None] == class_ids).any(axis=1)
        bits[is_inside] = np.iinfo(np.uint64).max
        pool, counts = np.argmin(bits, axis=1), np.full(len(numbers), self._plan.n_outside)
        banned = np.empty((0, len(numbers)), dtype=np.int32)
        if self._plan.has_shared_groups:
            banned = self._plan.films.group_of_row[support.transpose(0, 2, 1).reshape(-1, len(numbers))]
        rows, _ = self._outside.take(self._outside.cells(0, numbers, pool, counts, banned))
        return np.ascontiguousarray(rows.T, dtype=np.int64)

"""Draw blocks of episodes after a plan: which classes, which films on either side, and which from outside.

Every random bit follows from seed, kind of draw, attempt, episode and class; so an episode is the same whatever else
is drawn with it.
"""

import numpy as np

from fewshot_cxr.episodes.block import EpisodeBlock
from fewshot_cxr.episodes.draw_plan import DrawPlan
from fewshot_cxr.episodes.query_shares import share_queries
from fewshot_cxr.episodes.side_draw import SideDraw
from fewshot_cxr.episodes.sparse_draw import repeats
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
        no_limit = np.full(len(pools) + len(plan.outside_pools), np.iinfo(np.int64).max)
        sides = [pool.support for pool in pools], [pool.query for pool in pools]
        self._support = SideDraw(seed, _SUPPORT, pools, sides[0], is_sparse=plan.is_large, limits=plan.support_groups)
        self._query = SideDraw(seed, _QUERY, pools, sides[1], is_sparse=plan.is_large, limits=no_limit)
        others = plan.outside_pools
        outside = [pool.query for pool in others]
        self._outside = SideDraw(seed, _OUTSIDE, others, outside, is_sparse=plan.is_outside_large, limits=no_limit)

    def block(self, first: int, size: int) -> EpisodeBlock:
        """Draw the episodes first .. first+size-1; `Episodes.block` says what may go wrong."""
        plan = self._plan
        numbers = np.arange(first, first + size, dtype=np.uint64)
        chosen = self._choose_classes(numbers)
        support = np.full((plan.classes.shots.max(), size, plan.n_way), -1, dtype=np.int32)
        query = np.full((plan.classes.queries.max(), size, plan.n_way), -1, dtype=np.int32)
        todo = np.arange(size)
        for attempt in range(_MAX_ATTEMPTS):
            *drawn, is_short = self._attempt(numbers[todo], chosen[todo], attempt)
            for side, rows in zip((support, query), drawn, strict=True):
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
        shots, nothing = self._plan.classes.shots[chosen], np.empty((0, chosen.size), dtype=np.int32)
        support, is_short = self._take(self._support, numbers, chosen, shots, attempt, banned_groups=nothing)
        banned = self._groups(support)
        if self._plan.has_shared_groups:
            banned = np.repeat(_by_episode(banned, chosen.shape), chosen.shape[1], axis=1)
        queries = self._queries(chosen)
        query, is_too_short = self._take(self._query, numbers, chosen, queries, attempt, banned_groups=banned)
        return support, query, (is_short | is_too_short).reshape(chosen.shape).any(axis=1)

    def _queries(self, chosen: np.ndarray) -> np.ndarray:
        most: np.ndarray = self._plan.classes.queries[chosen]
        if self._plan.total_queries is None:
            return most
        order = np.argsort(chosen, axis=1)  # by name, so that the order of findings decides no tie
        shares = share_queries(self._plan.total_queries, self._n_films[np.take_along_axis(chosen, order, axis=1)])
        queries = np.empty_like(shares)
        np.put_along_axis(queries, order, shares, axis=1)
        fitting: np.ndarray = np.minimum(queries, most)
        return fitting

    def _take(
        self,
        side: SideDraw,
        numbers: np.ndarray,
        chosen: np.ndarray,
        counts: np.ndarray,
        attempt: int,
        *,
        banned_groups: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw one side, each film for one class alone: of two classes the first by name keeps it."""
        n_way = chosen.shape[1]
        cells = np.repeat(numbers, n_way), chosen.ravel(), counts.ravel()
        nothing = np.empty((0, chosen.size), dtype=np.int32)
        rows, is_short = side.take(*cells, attempt=attempt, banned_groups=banned_groups, banned_rows=nothing)
        if not self._plan.has_shared_films:
            return rows, is_short
        films = _by_episode(rows, chosen.shape)
        clashing = np.flatnonzero((repeats(films) & (films >= 0)).any(axis=0))
        by_name = np.argsort(chosen[clashing], axis=1)
        taken = np.empty((0, len(clashing)), dtype=np.int32)
        for way in range(n_way if len(clashing) else 0):
            here = clashing * n_way + by_name[:, way]
            some = cells[0][here], cells[1][here], cells[2][here]
            banned = {"banned_groups": banned_groups[:, here], "banned_rows": taken}
            again, is_short[here] = side.take(*some, attempt=attempt, **banned)
            rows[:, here] = -1
            rows[: len(again), here] = again
            taken = np.concatenate([taken, again])
        return rows, is_short

    def _draw_outside(self, numbers: np.ndarray, chosen: np.ndarray, support: np.ndarray) -> np.ndarray:
        """Return rows of one finding that is not in the episode, of patients who are not in its support."""
        pools = self._plan.outside_pools
        keys = np.array([pool.key for pool in pools], dtype=np.uint64)
        bits = hashed_bits(self._seed, _OUTSIDE_CLASS, numbers[:, None], keys[None, :])
        class_ids = np.array([pool.class_id for pool in pools])
        is_inside = (self._class_ids[chosen][:, :, None] == class_ids).any(axis=1)
        bits[is_inside] = np.iinfo(np.uint64).max
        pool, counts = np.argmin(bits, axis=1), np.full(len(numbers), self._plan.n_outside)
        nothing = np.empty((0, len(numbers)), dtype=np.int32)
        banned = self._groups(support.transpose(0, 2, 1).reshape(-1, len(numbers)))
        banned = banned if self._plan.has_shared_groups else nothing
        rows, _ = self._outside.take(numbers, pool, counts, attempt=0, banned_groups=banned, banned_rows=nothing)
        return np.ascontiguousarray(rows.T, dtype=np.int64)

    def _groups(self, rows: np.ndarray) -> np.ndarray:
        groups: np.ndarray = self._plan.films.group_of_row[rows]
        return groups


def _by_episode(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Bring what is (films, n * n_way) into columns of episodes, (films * n_way, n)."""
    return rows.reshape(len(rows), *shape).transpose(0, 2, 1).reshape(-1, shape[0])

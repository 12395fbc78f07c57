"""From films and wishes to what is drawn: which classes, how many films of each, and which of them are large."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fewshot_cxr.episodes.class_pool import ClassPool
from fewshot_cxr.episodes.films import EpisodeFilms

_LARGE = 2  # times the groups that a draw may look at: then half of the candidates or more can be taken


@dataclass(frozen=True, eq=False)
class DrawPlan:
    """What a draw needs to know, settled once.

    Args:
        films: with their findings.
        pools: the findings an episode may hold, in order of their names, with shots and queries.
        n_way: findings in an episode.
        n_query: films of a finding outside the episode, where enough are there.
        total_queries: of an episode, shared in proportion to films; None: each class has its own number.
        always: findings of every episode.
        never: those that are only ever outside.
        changes: what was done with classes that are too small, one sentence each.
    """

    films: EpisodeFilms
    pools: tuple[ClassPool, ...]
    n_way: int
    n_query: int
    total_queries: int | None
    always: tuple[str, ...]
    never: tuple[ClassPool, ...]
    changes: tuple[str, ...]

    @cached_property
    def shots(self) -> np.ndarray:
        """Support films of each class, int64, shape (n_classes,)."""
        return np.array([pool.n_shot for pool in self.pools], dtype=np.int64)

    @cached_property
    def queries(self) -> np.ndarray:
        """The most query films of each class in any episode, int64, shape (n_classes,)."""
        return np.array([pool.n_query for pool in self.pools], dtype=np.int64)

    @cached_property
    def has_shared_films(self) -> bool:
        """Whether a film is in two classes."""
        rows = np.concatenate([side.rows for pool in self.pools for side in (pool.support, pool.query)])
        return bool(len(np.unique(rows)) < sum(len(np.union1d(p.support.rows, p.query.rows)) for p in self.pools))

    @cached_property
    def has_shared_groups(self) -> bool:
        """Whether a patient that is support of one class could be asked for another, or from outside."""
        outside = self.outside_pools if self.n_outside else ()
        return any(self._most_lost(pool) for pool in (*self.pools, *outside))

    @cached_property
    def is_large(self) -> np.ndarray:
        """Which classes hold many times what is drawn from them, bool, shape (n_classes,)."""
        all_queries = self.total_queries or int(np.sort(self.queries)[-self.n_way :].sum())
        are_large = []
        for pool in self.pools:
            at_support, at_query = pool.n_shot, pool.n_shot + pool.n_query + self._most_lost(pool)
            if self.has_shared_films:
                at_support, at_query = at_support + self._n_support, at_query + all_queries
            is_enough = len(pool.support.groups) >= _LARGE * at_support
            are_large.append(is_enough and len(pool.query.groups) >= _LARGE * at_query)
        return np.array(are_large)

    @cached_property
    def support_groups(self) -> list[int]:
        """The number of patients that give the support of each class."""
        each = zip(self.pools, self.is_large, strict=True)
        return [pool.n_shot if is_large else pool.group_count() for pool, is_large in each]

    @cached_property
    def outside_pools(self) -> tuple[ClassPool, ...]:
        """Findings that can always give a film from outside the episode; none where one may be lacking."""
        pools = self.never or (self.pools if self.n_way < len(self.pools) else ())
        if self.films.is_multi_label:
            eligible = {pool.class_id for pool in self.pools}
            pools = tuple(self.films.pool(p.class_id, without=sorted(eligible - {p.class_id})) for p in pools)
        pools = tuple(pool for pool in pools if self._always_left(pool))
        return pools if self.never or len(pools) > self.n_way else ()

    @cached_property
    def n_outside(self) -> int:
        """Films of a finding outside each episode."""
        return min([self.n_query, *map(self._always_left, self.outside_pools)]) if self.outside_pools else 0

    @cached_property
    def is_outside_large(self) -> np.ndarray:
        """`is_large` for the findings outside, bool, shape (n_outside_pools,)."""
        needs = [self.n_outside + self._most_lost(pool) for pool in self.outside_pools]
        return np.array([len(p.query.groups) >= _LARGE * n for p, n in zip(self.outside_pools, needs, strict=True)])

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What differs from what was asked for, one sentence each."""
        if not (self.never or self.n_way < len(self.pools)) or self.n_outside == self.n_query:
            return self.changes
        if self.n_outside:
            note = (
                f"{self.n_outside} instead of {self.n_query} films of a finding outside each episode: one has no more"
            )
        else:
            note = "no films from outside the episodes: no finding can always give one of a patient who is not support"
        return (*self.changes, note)

    @property
    def n_looked_at(self) -> int:
        """Films that the draw of one episode looks at, about."""
        n_taken = self.n_way * int(self.shots.max() + self.queries.max()) + self.n_outside
        all_pools = zip((*self.pools, *self.outside_pools), (*self.is_large, *self.is_outside_large), strict=True)
        return n_taken + sum(pool.n_films for pool, is_large in all_pools if not is_large)

    @cached_property
    def _n_support(self) -> int:
        """The most support films of an episode."""
        return int(np.sort(self.shots)[-self.n_way :].sum())

    @cached_property
    def _n_supports(self) -> np.ndarray:
        """In the support of how many classes each group may stand."""
        n_supports = np.zeros(len(self.films.group_of_row), dtype=np.int64)
        for pool in self.pools:
            n_supports[pool.support.groups] += 1
        return n_supports

    @cached_property
    def _eligible(self) -> frozenset[int]:
        """Ids of the classes that an episode may hold."""
        return frozenset(pool.class_id for pool in self.pools)

    def _is_shared(self, pool: ClassPool) -> np.ndarray:
        """Which groups of the query side may stand in the support of another class: patients of several findings."""
        groups = pool.query.groups
        is_own = np.isin(groups, pool.support.groups) if pool.class_id in self._eligible else 0
        is_shared: np.ndarray = self._n_supports[groups] > is_own
        return is_shared

    def _most_lost(self, pool: ClassPool) -> int:
        """How many groups the query side of a class can lose to other classes, at most."""
        return min(int(self._is_shared(pool).sum()), self._n_support)

    def _always_left(self, pool: ClassPool) -> int:
        """How many films the query side of a class keeps, whatever other classes take as support."""
        shared = np.sort(pool.query.sizes[self._is_shared(pool)])
        return int(pool.query.sizes.sum() - shared[len(shared) - self._most_lost(pool) :].sum())

"""From films and wishes to what is drawn: which classes, how many films of each, and which of them are large."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fewshot_cxr.episodes.class_pool import ClassPool
from fewshot_cxr.episodes.films import EpisodeFilms
from fewshot_cxr.episodes.finding_names import check_names, shots_of
from fewshot_cxr.episodes.policy import FittedClasses, fit_classes
from fewshot_cxr.episodes.query_shares import most_queries
from fewshot_cxr.episodes.shared_groups import SharedGroups

_LARGE = 2  # times the groups that a draw may look at: then half of the candidates or more can be taken


@dataclass(frozen=True, eq=False)
class DrawPlan:
    """What a draw needs to know, settled once.

    Args:
        films: with their findings.
        classes: the findings an episode may hold, in order of their names, with shots and queries.
        n_way: findings in an episode.
        n_query: films of a finding outside the episode, where enough are there.
        total_queries: of an episode, shared in proportion to films; None: each class has its own number.
        always: findings of every episode. never: those that are only ever outside.
    """

    films: EpisodeFilms
    classes: FittedClasses
    n_way: int
    n_query: int
    total_queries: int | None
    always: tuple[str, ...]
    never: tuple[ClassPool, ...]

    @property
    def pools(self) -> tuple[ClassPool, ...]:
        """Films of each class."""
        return self.classes.pools

    @cached_property
    def has_shared_films(self) -> bool:
        """Whether a film is in two classes."""
        rows = np.concatenate([side.rows for pool in self.pools for side in (pool.support, pool.query)])
        return bool(len(np.unique(rows)) < sum(len(np.union1d(p.support.rows, p.query.rows)) for p in self.pools))

    @cached_property
    def has_shared_groups(self) -> bool:
        """Whether a patient that is support of one class could be asked for another, or from outside."""
        outside = self.outside_pools if self.n_outside else ()
        return any(self._shared.most_lost(pool) for pool in (*self.pools, *outside))

    @cached_property
    def is_large(self) -> np.ndarray:
        """Which classes hold many times what is drawn from them, bool, shape (n_classes,)."""
        shots, queries = self.classes.shots, self.classes.queries
        all_queries = self.total_queries or int(np.sort(queries)[-self.n_way :].sum())
        are_large = []
        for pool, n_shot, n_query in zip(self.pools, shots.tolist(), queries.tolist(), strict=True):
            at_support, at_query = n_shot, n_shot + n_query + self._shared.most_lost(pool)
            if self.has_shared_films:
                at_support, at_query = at_support + self._n_support, at_query + all_queries
            is_enough = len(pool.support.groups) >= _LARGE * at_support
            are_large.append(is_enough and len(pool.query.groups) >= _LARGE * at_query)
        return np.array(are_large)

    @cached_property
    def support_groups(self) -> np.ndarray:
        """Return the number of patients that give the support of each class, int64, shape (n_classes,)."""
        shapes = zip(self.pools, self.classes.shots.tolist(), self.classes.queries.tolist(), self.is_large, strict=True)
        return np.array([n_shot if large else pool.group_count(n_shot, n) for pool, n_shot, n, large in shapes])

    @cached_property
    def outside_pools(self) -> tuple[ClassPool, ...]:
        """Findings that can always give a film from outside the episode; none where one may be lacking."""
        pools = self.never or (self.pools if self.n_way < len(self.pools) else ())
        if self.films.is_multi_label:
            eligible = {pool.class_id for pool in self.pools}
            pools = tuple(self.films.pool(p.class_id, without=sorted(eligible - {p.class_id})) for p in pools)
        pools = tuple(pool for pool in pools if self._shared.always_left(pool))
        return pools if self.never or len(pools) > self.n_way else ()

    @cached_property
    def n_outside(self) -> int:
        """Films of a finding outside each episode."""
        return min([self.n_query, *map(self._shared.always_left, self.outside_pools)]) if self.outside_pools else 0

    @cached_property
    def is_outside_large(self) -> np.ndarray:
        """`is_large` for the findings outside, bool, shape (n_outside_pools,)."""
        needs = [self.n_outside + self._shared.most_lost(pool) for pool in self.outside_pools]
        return np.array([len(p.query.groups) >= _LARGE * n for p, n in zip(self.outside_pools, needs, strict=True)])

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What differs from what was asked for, one sentence each."""
        if not (self.never or self.n_way < len(self.pools)) or self.n_outside == self.n_query:
            return self.classes.notes
        if self.n_outside:
            note = (
                f"{self.n_outside} instead of {self.n_query} films of a finding outside each episode: one has no more"
            )
        else:
            note = "no films from outside the episodes: no finding can always give one of a patient who is not support"
        return (*self.classes.notes, note)

    @property
    def n_looked_at(self) -> int:
        """Films that the draw of one episode looks at, about."""
        drawn = self.n_way * int(self.classes.shots.max() + self.classes.queries.max()) + self.n_outside
        small = [pool.n_films for pool, is_large in zip(self.pools, self.is_large, strict=True) if not is_large]
        others = zip(self.outside_pools, self.is_outside_large, strict=True)
        return drawn + sum(small) + sum(pool.n_films for pool, is_large in others if not is_large)

    @property
    def _n_support(self) -> int:
        return int(np.sort(self.classes.shots)[-self.n_way :].sum())

    @cached_property
    def _shared(self) -> SharedGroups:
        return SharedGroups(self.pools, self._n_support, len(self.films.group_of_row))


def plan_draw(
    films: EpisodeFilms,
    *,
    n_way: int | None,
    n_shot: int | Mapping[str, int],
    n_query: int,
    is_natural: bool,
    if_too_small: str,
    always: Sequence[str],
    never: Sequence[str],
) -> DrawPlan:
    """Settle how episodes are drawn; `Episodes` says what the arguments mean and what is refused."""
    pools = {name: films.pool(films.class_names.index(name)) for name in sorted(films.present_names)}
    check_names({"always": always, "never": never}, set(pools), films.class_names)
    never_pools = tuple(pool for name, pool in pools.items() if name in never)
    some = [pool for name, pool in pools.items() if name not in never]
    ways = max(2, len(some)) if n_way is None else n_way
    _check_ways(ways, [pool.name for pool in some], "films", always)

    def queries_of(left: Sequence[ClassPool]) -> np.ndarray:
        n_left = min(ways, len(left))
        n_films = np.array([pool.n_films for pool in left])
        return most_queries(n_left * n_query, n_films, n_left) if is_natural else np.full(len(left), n_query)

    shots = shots_of(n_shot, [pool.name for pool in some], films.class_names)
    wanted = f"episodes with {n_query} queries per class{' on average' if is_natural else ''}"
    wanted = f"{n_shot}-shot {wanted}" if not isinstance(n_shot, Mapping) else f"{wanted} and the shots given"
    classes = fit_classes(some, shots, queries_of, if_too_small, wanted)
    names = [pool.name for pool in classes.pools]
    if lost := sorted(set(always) - set(names)):
        raise ValueError(f"always names {', '.join(lost)}, which has too few films; take fewer shots or queries")
    ways = len(names) if n_way is None else n_way
    _check_ways(ways, names, "enough films", always)
    total = ways * n_query if is_natural else None
    return DrawPlan(films, classes, ways, n_query, total, tuple(always), never_pools)


def _check_ways(n_way: int, names: Sequence[str], what: str, always: Sequence[str]) -> None:
    if n_way > len(names):
        raise ValueError(f"n_way is {n_way}, but only {len(names)} findings have {what}: {', '.join(names)}")
    if len(always) > n_way:
        raise ValueError(f"always names {len(always)} findings, but n_way is {n_way}; raise n_way")

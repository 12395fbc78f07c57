"""Patients with films of several findings: how many of a class can be lost to the support of the other classes."""

from collections.abc import Sequence

import numpy as np

from fewshot_cxr.episodes.class_pool import ClassPool


class SharedGroups:
    """The groups of several classes, and in how many of their supports each may stand.

    Args:
        pools: classes that an episode may hold.
        n_support: the most support films of an episode.
        n_groups: groups in all.
    """

    def __init__(self, pools: Sequence[ClassPool], n_support: int, n_groups: int) -> None:
        self._ids = {pool.class_id for pool in pools}
        self._n_support = n_support
        self._n_classes = np.zeros(n_groups, dtype=np.int64)
        for pool in pools:
            self._n_classes[pool.support.groups] += 1

    def most_lost(self, pool: ClassPool) -> int:
        """Return how many groups the query side of a class can lose to other classes, at most."""
        return min(int(self._is_shared(pool).sum()), self._n_support)

    def always_left(self, pool: ClassPool) -> int:
        """Return how many films the query side of a class keeps, whatever other classes take as support."""
        shared = np.sort(pool.query.sizes[self._is_shared(pool)])
        return int(pool.query.sizes.sum() - shared[len(shared) - self.most_lost(pool) :].sum())

    def _is_shared(self, pool: ClassPool) -> np.ndarray:
        groups = pool.query.groups
        own = np.isin(groups, pool.support.groups) if pool.class_id in self._ids else 0
        is_shared: np.ndarray = self._n_classes[groups] - own > 0
        return is_shared

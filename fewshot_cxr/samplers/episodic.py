"""Batches that are episodes, for training on n-way k-shot problems."""

from collections.abc import Iterator

import numpy as np

from fewshot_cxr.episodes import Episodes
from fewshot_cxr.samplers.epochs import EpochSampler
from fewshot_cxr.seeding import torch_seed


class EpisodicBatchSampler(EpochSampler):
    """Each batch is one episode: first n_way x n_shot support rows, class by class, then n_way x n_query query rows.

    No patient is on both sides. Each epoch has its own episodes, drawn from (seed, epoch); the sampler counts its
    epochs itself, as `BalancedBatchSampler` does.

    Args:
        class_ids: int64, shape (N,).
        group_ids: of patients, int64, shape (N,).
        class_names: findings, for the errors.
        n_way: findings in an episode.
        n_shot: support films of each.
        n_query: query films of each.
        n_batches: episodes in an epoch.
        seed: of all draws.

    Raises:
        ValueError: as for `Episodes`: too few classes, or a class with too few films; it is named.

    Examples:
        >>> class_ids, names = np.repeat([0, 1, 2], 4), ("covid19", "normal", "pneumonia")
        >>> sampler = EpisodicBatchSampler(class_ids, np.arange(12), names, n_way=3, n_shot=1, n_query=2, n_batches=1)
        >>> [class_ids[batch].tolist() for batch in sampler]
        [[0, 1, 2, 0, 0, 1, 1, 2, 2]]
    """

    def __init__(
        self,
        class_ids: np.ndarray,
        group_ids: np.ndarray,
        class_names: tuple[str, ...],
        *,
        n_way: int,
        n_shot: int,
        n_query: int,
        n_batches: int,
        seed: int = 0,
    ) -> None:
        super().__init__(n_batches, seed)
        self._episodes = Episodes(
            class_ids=class_ids,
            group_ids=group_ids,
            class_names=class_names,
            n_episodes=n_batches,
            seed=seed,
            n_way=n_way,
            n_shot=n_shot,
            n_query=n_query,
        )

    def _batches(self) -> Iterator[list[int]]:
        episodes = self._episodes.with_seed(torch_seed(self.seed, "episodes", self.epoch))
        for block in episodes.blocks():
            sides = [side.reshape(len(block), -1) for side in (block.support, block.query)]
            yield from np.concatenate(sides, axis=1).tolist()

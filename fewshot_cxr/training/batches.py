"""Which films make a batch of a metric loss, and the batches as Lightning iterates over them."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from fewshot_cxr._checks import lookup
from fewshot_cxr.data import XrayDataset
from fewshot_cxr.samplers import BalancedBatchSampler, ClassBatchSampler, EpisodicBatchSampler, PairBatchSampler

SAMPLERS = ("balanced", "pairs", "episodic", "shuffled")


class BatchSampler(Protocol):
    """What every sampler of `samplers/` is: batches of rows, epoch after epoch."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[list[int]]: ...
    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is."""


class BatchLoader:
    """Iterate over (images uint8 (N, S, S), class_ids (N,) or float (N, n_findings), group_ids (N,)).

    No worker processes: a batch is one gather from memory-mapped uint8, which costs far less than its transport
    between processes would.
    """

    def __init__(self, films: XrayDataset, sampler: BatchSampler) -> None:
        self.films = films
        self.sampler = sampler

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        groups = torch.from_numpy(self.films.group_ids)
        for rows in self.sampler:
            images, class_ids = self.films.__getitems__(rows)
            yield images, class_ids, groups[rows]


def choose_sampler(
    name: str,
    dataset: XrayDataset,
    *,
    batch_size: int,
    n_batches: int | None,
    n_way: int | None,
    n_shot: int,
    seed: int,
) -> BatchSampler:
    """Build a sampler over the training films.

    Args:
        name: in SAMPLERS.
        dataset: single-label.
        batch_size: films in a batch.
        n_batches: in an epoch; None: about as many as cover all films once.
        n_way: findings in an episodic batch; None: all.
        n_shot: support films of each in an episodic batch; the films left over are queries, the same for each.
        seed: of all draws.

    Raises:
        ValueError: unknown name, or a batch too small for its episodes; what the samplers say.
    """
    lookup(dict.fromkeys(SAMPLERS), name, what="sampler")
    class_ids, group_ids = dataset.class_ids, dataset.group_ids
    if name == "balanced":
        return BalancedBatchSampler(class_ids, group_ids, batch_size=batch_size, n_batches=n_batches, seed=seed)
    if name == "pairs":
        return PairBatchSampler(class_ids, group_ids, batch_size=batch_size, n_batches=n_batches, seed=seed)
    if name == "shuffled":
        return ClassBatchSampler(class_ids, batch_size=batch_size, n_batches=n_batches, seed=seed)
    ways = len(dataset.class_names) if n_way is None else n_way
    n_query = batch_size // ways - n_shot
    if n_query < 1:
        raise ValueError(
            f"batch_size {batch_size} leaves no query in {ways}-way {n_shot}-shot batches; "
            f"make it {ways * (n_shot + 1)} or more (--batch-size)"
        )
    try:
        return EpisodicBatchSampler(
            class_ids,
            group_ids,
            dataset.class_names,
            n_way=ways,
            n_shot=n_shot,
            n_query=n_query,
            n_batches=max(1, round(len(class_ids) / batch_size)) if n_batches is None else n_batches,
            seed=seed,
        )
    except ValueError as error:  # it names settings of evaluation
        reason = str(error).partition(";")[0]
        raise ValueError(f"{reason}: take smaller batches (--batch-size) or fewer shots (--n-shot)") from error

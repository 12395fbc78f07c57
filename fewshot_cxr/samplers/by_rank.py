"""The batches of one rank, where several processes train together."""

from collections.abc import Iterator
from typing import Protocol


class _Batches(Protocol):
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[list[int]]: ...
    def set_epoch(self, epoch: int) -> None: ...


class RankSampler:
    """Every n-th batch of a sampler, whole as it was drawn, from the one that is this rank's.

    All ranks draw all batches of an epoch, from (seed, epoch) alone, and each takes its own: no word between them, and
    together they take each batch once. Where the number of batches is no multiple of that of ranks, the last few are
    left out, so that each rank takes as many steps; another epoch leaves out others.

    Args:
        sampler: of all batches.
        rank: 0..n_ranks - 1.
        n_ranks: how many take part.

    Raises:
        ValueError: fewer batches than ranks.

    Examples:
        >>> import numpy as np
        >>> from fewshot_cxr.samplers import ClassBatchSampler
        >>> class_ids = np.array([0, 1] * 5)  # of ten films, which make five batches of two
        >>> ranks = [RankSampler(ClassBatchSampler(class_ids, batch_size=2), rank=rank, n_ranks=2) for rank in (0, 1)]
        >>> batches = [list(sampler) for sampler in ranks]
        >>> [len(own) for own in batches], len({row for own in batches for batch in own for row in batch})
        ([2, 2], 8)
    """

    def __init__(self, sampler: _Batches, *, rank: int, n_ranks: int) -> None:
        self.sampler, self.rank, self.n_ranks = sampler, rank, n_ranks
        if len(self) < 1:
            raise ValueError(
                f"an epoch has {len(sampler)} batches, fewer than {n_ranks} ranks: take smaller ones "
                "(--batch-size), more of them (--batches), or fewer ranks"
            )

    def __len__(self) -> int:
        return len(self.sampler) // self.n_ranks

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is."""
        self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch of this rank in this epoch."""
        batches = list(self.sampler)
        yield from batches[self.rank : len(self) * self.n_ranks : self.n_ranks]

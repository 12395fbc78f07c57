"""What every sampler of batches is: so many batches an epoch, drawn anew in each, and the epochs counted."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from fewshot_cxr._checks import check_at_least


class EpochSampler(Sampler[list[int]]):
    """Batches that follow from (seed, epoch) alone; a subclass draws those of one epoch in `_batches`.

    Lightning does not say which epoch it is, so the sampler counts itself: an epoch that is gone through is over.

    Args:
        n_batches: in an epoch.
        seed: of all draws.

    Raises:
        ValueError: no batch.
    """

    def __init__(self, n_batches: int, seed: int) -> None:
        check_at_least(n_batches, 1, "n_batches")
        self.n_batches, self.seed, self.epoch = n_batches, seed, 0

    def __len__(self) -> int:
        return self.n_batches

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch of this epoch."""
        yield from self._batches()
        self.epoch += 1

    def _batches(self) -> Iterator[list[int]]:
        raise NotImplementedError

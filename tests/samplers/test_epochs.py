"""Every sampler of batches counts its epochs, draws them anew, and refuses to have no batch."""

import numpy as np
import pytest

from fewshot_cxr.samplers import BalancedBatchSampler, ClassBatchSampler, EpisodicBatchSampler, PairBatchSampler
from fewshot_cxr.samplers.epochs import EpochSampler


class Counting(EpochSampler):
    def _batches(self):
        yield from ([self.seed, self.epoch, batch] for batch in range(self.n_batches))


def test_an_epoch_that_is_gone_through_is_over():
    sampler = Counting(2, seed=7)
    assert len(sampler) == 2
    assert [list(sampler), list(sampler)] == [[[7, 0, 0], [7, 0, 1]], [[7, 1, 0], [7, 1, 1]]]
    next(iter(sampler))
    assert sampler.epoch == 2
    sampler.set_epoch(0)
    assert next(iter(sampler)) == [7, 0, 0]


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match="n_batches"):
        Counting(0, seed=0)


CLASSES, GROUPS = np.repeat([0, 1, 2], 8), np.arange(24) // 2
EPISODE = {"n_way": 2, "n_shot": 1, "n_query": 1, "n_batches": 2}


@pytest.mark.parametrize(
    ("sampler", "batch"),
    [
        (ClassBatchSampler(CLASSES, batch_size=8, seed=7), [2, 10, 15, 20, 17, 12, 8, 11]),
        (BalancedBatchSampler(CLASSES, GROUPS, batch_size=6, seed=7), [11, 14, 20, 16, 1, 3]),
        (PairBatchSampler(CLASSES, GROUPS, batch_size=4, seed=7), [4, 2, 7, 18]),
        (EpisodicBatchSampler(CLASSES, np.arange(24), ("a", "b", "c"), **EPISODE, seed=7), [6, 10, 7, 14]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_seed_draws_what_it_has_always_drawn(sampler, batch):
    sampler.set_epoch(1)
    assert next(iter(sampler)) == batch

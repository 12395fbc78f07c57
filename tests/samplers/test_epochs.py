"""Every sampler of batches counts its epochs, draws them anew, and refuses to have no batch."""

import pytest

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

"""Every sampler of batches counts its epochs, draws them anew, and refuses to have no batch."""

from functools import partial

import numpy as np
import pytest
import torch

from fewshot_cxr.samplers import (
    BALANCES,
    BalancedBatchSampler,
    ClassBatchSampler,
    EpisodicBatchSampler,
    PairBatchSampler,
)
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


EPISODE = {"class_names": ("a", "b", "c"), "n_way": 2, "n_shot": 1, "n_query": 1, "n_batches": 2}
BY_CLASS = {f"by class, {balance}": balance for balance in sorted(BALANCES)}
SAMPLERS = {
    "balanced": partial(BalancedBatchSampler, batch_size=6),
    "pairs": partial(PairBatchSampler, batch_size=4),
    "episodes": partial(EpisodicBatchSampler, **EPISODE),
    **{name: partial(ClassBatchSampler, batch_size=8, balance=balance) for name, balance in BY_CLASS.items()},
}
CLASSES, GROUPS = np.repeat([0, 1, 2], (40, 70, 21)), np.arange(131) // 2


def make(name, class_ids=CLASSES, group_ids=GROUPS, **options):
    return SAMPLERS[name](class_ids, *(() if name in BY_CLASS else (group_ids,)), **options)


@pytest.mark.parametrize("name", SAMPLERS)
def test_epochs_differ_and_follow_from_seed_and_epoch(name):
    sampler = make(name)
    first, second = list(sampler), list(sampler)
    assert first != second
    assert sampler.epoch == 2
    fresh = make(name)
    fresh.set_epoch(1)
    assert list(fresh) == second
    fresh.set_epoch(0)
    assert list(fresh) == first
    assert list(make(name)) == first
    assert list(make(name, seed=1)) != first


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_interrupted_epoch_is_not_counted(name):
    sampler = make(name)
    batches = iter(sampler)
    started = [next(batches), next(batches)]
    assert sampler.epoch == 0
    assert list(sampler)[:2] == started


@pytest.mark.parametrize("name", SAMPLERS)
def test_global_generators_are_left_alone_and_play_no_part(name):
    sampler = make(name)
    before, state = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = list(sampler)
    assert np.array_equal(np.random.get_state()[1], before)
    assert torch.equal(torch.get_rng_state(), state)
    np.random.random(7)
    sampler.set_epoch(0)
    assert list(sampler) == first


@pytest.mark.parametrize("name", ["balanced", "pairs"])
def test_each_film_needs_a_group(name):
    with pytest.raises(ValueError, match="^each film needs its class and its group: got 4 and 3$"):
        make(name, np.array([0, 0, 1, 1]), np.arange(3))


@pytest.mark.parametrize(
    ("name", "films_per_patient", "batch"),
    [
        ("by class, none", 1, [2, 10, 15, 20, 17, 12, 8, 11]),
        ("balanced", 2, [11, 14, 20, 16, 1, 3]),
        ("pairs", 2, [4, 2, 7, 18]),
        ("episodes", 1, [6, 10, 7, 14]),
    ],
)
def test_a_seed_draws_what_it_has_always_drawn(name, films_per_patient, batch):
    sampler = make(name, np.repeat([0, 1, 2], 8), np.arange(24) // films_per_patient, seed=7)
    sampler.set_epoch(1)
    assert next(iter(sampler)) == batch

import re
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.utils.data import DataLoader, TensorDataset

from fewshot_cxr.samplers import BALANCES, ClassBatchSampler

SIZES = (40, 9, 70, 21)


def films(sizes=SIZES, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


def rows_of(sampler):
    return np.concatenate(list(sampler))


@pytest.mark.parametrize("balance", sorted(BALANCES))
@pytest.mark.parametrize("n_batches", [None, 1, 3, 40])
@pytest.mark.parametrize("batch_size", [2, 7, 32, 500])
def test_every_balance_keeps_the_contract(balance, n_batches, batch_size):
    class_ids = films()
    sampler = ClassBatchSampler(class_ids, batch_size=batch_size, balance=balance, n_batches=n_batches)
    batches, again = list(sampler), list(sampler)
    assert len(batches) == len(sampler) == (n_batches or len(batches))
    assert batches != again
    assert sampler.epoch == 2
    assert all(0 <= row < len(class_ids) for batch in batches for row in batch)
    sizes = [len(batch) for batch in batches]
    if n_batches:
        assert sizes == [batch_size] * n_batches
    else:
        assert all(size == batch_size for size in sizes[:-1])
        assert 2 <= sizes[-1] <= batch_size + 1


def test_none_takes_each_film_once():
    sampler = ClassBatchSampler(films(), batch_size=32)
    batches = list(sampler)
    assert [len(batch) for batch in batches] == [32, 32, 32, 32, 12]
    assert sorted(np.concatenate(batches)) == list(range(140))


@pytest.mark.parametrize(("n_films", "sizes"), [(2, [2]), (8, [8]), (9, [9]), (10, [8, 2]), (16, [8, 8]), (17, [8, 9])])
def test_a_last_film_alone_joins_the_batch_before_it(n_films, sizes):
    sampler = ClassBatchSampler(np.zeros(n_films, dtype=np.int64), batch_size=8)
    batches = list(sampler)
    assert [len(batch) for batch in batches] == sizes
    assert len(sampler) == len(sizes)
    assert sorted(np.concatenate(batches)) == list(range(n_films))


def test_inverse_draws_every_class_equally_often_and_each_of_its_films():
    class_ids = films()
    sampler = ClassBatchSampler(class_ids, balance="inverse")
    rows = np.concatenate([rows_of(sampler) for _ in range(60)])
    assert len(rows) == 60 * 140
    assert chisquare(np.bincount(class_ids[rows])).pvalue > 1e-3
    for c in range(4):
        counts = np.bincount(rows, minlength=140)[class_ids == c]
        assert chisquare(counts).pvalue > 1e-3


def test_inverse_draws_with_replacement():
    sampler = ClassBatchSampler(films((50, 1)), balance="inverse")
    assert Counter(rows_of(sampler).tolist()).most_common(1)[0][1] > 10


def test_effective_number_weighs_large_classes_by_what_their_films_add():
    sizes = np.array([4000, 900, 100])
    class_ids = np.repeat(np.arange(3), sizes)
    sampler = ClassBatchSampler(class_ids, balance="effective")
    rows = np.concatenate([rows_of(sampler) for _ in range(4)])
    effective = [sum(0.999**i for i in range(size)) for size in sizes]
    share = sizes / effective
    expected = share / share.sum() * len(rows)
    assert chisquare(np.bincount(class_ids[rows]), expected).pvalue > 1e-3
    # Between no balance (large class 80 %) and the full one (a third each).
    assert 1 / 3 < expected[0] / len(rows) < 0.8


def test_effective_number_of_small_classes_is_nearly_the_inverse():
    class_ids = films((20, 5))
    rows = np.concatenate([rows_of(ClassBatchSampler(class_ids, balance="effective", seed=s)) for s in range(200)])
    assert chisquare(np.bincount(class_ids[rows])).pvalue > 1e-3


def test_oversample_repeats_each_class_to_the_size_of_the_largest():
    class_ids = films()
    rows = rows_of(ClassBatchSampler(class_ids, balance="oversample"))
    assert np.bincount(class_ids[rows]).tolist() == [70] * 4
    times = np.bincount(rows, minlength=140)
    for c, size in enumerate(SIZES):
        own = times[class_ids == c]
        assert (own.min(), own.max()) == (70 // size, -(-70 // size))


def test_undersample_cuts_each_class_to_the_smallest_and_draws_it_anew():
    class_ids = films()
    sampler = ClassBatchSampler(class_ids, balance="undersample")
    seen = set()
    for _ in range(60):
        rows = rows_of(sampler)
        assert len(set(rows.tolist())) == len(rows) == 36
        assert np.bincount(class_ids[rows]).tolist() == [9] * 4
        seen |= set(rows.tolist())
    assert seen == set(range(140))


@pytest.mark.parametrize("balance", ["inverse", "effective", "oversample", "undersample"])
def test_classes_of_one_size_need_no_balance(balance):
    class_ids = films((30, 30, 30))
    rows = np.concatenate([rows_of(ClassBatchSampler(class_ids, balance=balance, seed=s)) for s in range(20)])
    assert chisquare(np.bincount(class_ids[rows])).pvalue > 1e-3


@pytest.mark.parametrize("balance", ["none", "oversample", "undersample"])
def test_counted_batches_use_every_film_before_any_comes_again(balance):
    class_ids = films((10, 10))
    rows = rows_of(ClassBatchSampler(class_ids, batch_size=8, balance=balance, n_batches=5))
    assert np.bincount(rows).tolist() == [2] * 20
    assert len(set(rows[:20].tolist())) == 20


def test_batches_are_mixed():
    class_ids = np.repeat([0, 1], 500)
    for balance in BALANCES:
        for batch in ClassBatchSampler(class_ids, batch_size=100, balance=balance):
            assert 20 < class_ids[batch].sum() < 80  # six standard deviations


@pytest.mark.parametrize("balance", sorted(BALANCES))
def test_numbers_of_classes_do_not_matter(balance):
    batches = list(ClassBatchSampler(films(), balance=balance))
    assert list(ClassBatchSampler(films() * 5 + 2, balance=balance)) == batches


def test_films_of_several_findings_come_each_once():
    findings = np.array([[0, 1, np.nan]] * 11, dtype=np.float32)
    assert sorted(rows_of(ClassBatchSampler(findings, batch_size=4))) == list(range(11))


def test_a_loader_takes_it():
    sampler = ClassBatchSampler(films((20, 13)), batch_size=8)
    loader = DataLoader(TensorDataset(torch.arange(33)), batch_sampler=sampler)
    assert [len(batch[0]) for batch in loader] == [8, 8, 8, 9]
    assert sampler.epoch == 1


@pytest.mark.parametrize(
    ("class_ids", "options", "message"),
    [
        (np.zeros(1), {}, "training needs two films or more, got 1"),
        (np.zeros(0), {}, "training needs two films or more, got 0"),
        (np.zeros(9), {"batch_size": 1}, "batch_size must be at least 2, got 1"),
        (np.zeros(9), {"n_batches": 0}, "n_batches must be at least 1, got 0"),
        (
            np.zeros((9, 3)),
            {"balance": "inverse"},
            "the balance inverse needs one finding per film, got films of several: choose none",
        ),
        (
            np.zeros(9),
            {"balance": "invers"},
            "unknown balance 'invers' (did you mean 'inverse'?); choose from effective, inverse, none, oversample, "
            "undersample",
        ),
    ],
)
def test_the_door_is_guarded(class_ids, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ClassBatchSampler(class_ids, **options)

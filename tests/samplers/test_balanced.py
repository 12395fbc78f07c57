import re

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset, default_collate

from fewshot_cxr.samplers import BalancedBatchSampler

SIZES = [(40, 40, 40), (100, 7, 31), (2, 30, 1), (200, 3, 9)]


def films(sizes, films_per_patient=2, seed=0):
    random = np.random.default_rng(seed)
    class_ids = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    groups = [random.integers(0, max(1, size // films_per_patient), size) + 1000 * c for c, size in enumerate(sizes)]
    group_ids = np.empty(len(class_ids), dtype=np.int64)
    for c, own in enumerate(groups):
        group_ids[class_ids == c] = own
    return class_ids, group_ids


def make(sizes=(40, 40, 40), **options):
    class_ids, group_ids = films(sizes)
    return BalancedBatchSampler(class_ids, group_ids, **options), class_ids, group_ids


@pytest.mark.parametrize("batch_size", range(4, 51))
@pytest.mark.parametrize("sizes", SIZES)
def test_any_batch_size_is_balanced_and_repeats_no_film(sizes, batch_size):
    sampler, class_ids, _ = make(sizes, batch_size=batch_size, n_batches=12)
    n_classes = min(3, batch_size // 2)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 12
    for batch in batches:
        assert len(set(batch)) == len(batch) <= batch_size
        counts = np.bincount(class_ids[batch], minlength=3)
        present = np.flatnonzero(counts)
        assert len(present) == n_classes
        floor = batch_size // n_classes
        for c in present:
            assert min(floor, sizes[c]) <= counts[c] <= min(floor + 1, sizes[c])
        if all(sizes[c] > floor for c in present):
            assert len(batch) == batch_size


@pytest.mark.slow
@given(
    films=st.lists(st.tuples(st.integers(-3, 6), st.integers(0, 20)), min_size=1, max_size=80),
    sizes=st.tuples(st.integers(2, 40), st.none() | st.integers(1, 6), st.none() | st.integers(1, 9)),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
def test_any_films_give_batches_without_a_film_twice_or_are_refused(films, sizes, seed):
    class_ids, groups = (np.array(column) for column in zip(*films, strict=True))
    batch_size, n_classes, n_batches = sizes
    options = {"batch_size": batch_size, "n_classes": n_classes, "n_batches": n_batches, "seed": seed}
    try:
        sampler = BalancedBatchSampler(class_ids, groups, **options)
    except ValueError:
        assume(False)
    first, second = list(sampler), list(sampler)
    for batch in first:
        assert len(set(batch)) == len(batch) <= batch_size
        assert len(np.unique(class_ids[batch])) == sampler.n_classes
    again = BalancedBatchSampler(class_ids, groups, **options)
    again.set_epoch(1)
    assert list(again) == second


@pytest.mark.parametrize("batch_size", [4, 9, 16, 50])
@pytest.mark.parametrize("sizes", SIZES)
def test_all_films_of_a_class_come_before_any_comes_again(sizes, batch_size):
    sampler, class_ids, _ = make(sizes, batch_size=batch_size, n_batches=250)
    times = np.zeros(len(class_ids), dtype=int)
    for batch in sampler:
        times[batch] += 1
        for c in range(3):
            own = times[class_ids == c]
            assert own.max() - own.min() <= 1
    assert times.min() >= 1


def test_an_epoch_covers_about_all_films():
    sampler, _, _ = make((48, 48, 48), batch_size=48)
    assert len(sampler) == 3
    assert sorted(row for batch in sampler for row in batch) == list(range(144))


def test_batches_hold_different_patients_where_the_class_has_them():
    sampler, class_ids, group_ids = make((60, 60, 60), batch_size=30, n_batches=1)
    for epoch in range(20):
        sampler.set_epoch(epoch)
        (batch,) = list(sampler)
        for c in range(3):
            own = [group_ids[row] for row in batch if class_ids[row] == c]
            assert len(set(own)) == len(own) == 10


def test_a_new_round_begins_with_patients_the_batch_does_not_hold():
    # Ten films of five patients in batches of four: the third batch takes the last two of one round, two of the next.
    class_ids, group_ids = np.repeat([0, 1], 10), np.concatenate([np.arange(10) // 2, 100 + np.arange(10)])
    for seed in range(20):
        sampler = BalancedBatchSampler(class_ids, group_ids, batch_size=8, n_batches=3, seed=seed)
        last = [group_ids[row] for row in list(sampler)[2] if class_ids[row] == 0]
        assert len(set(last)) == 4


def test_a_patient_with_many_films_does_not_crowd_out_the_others():
    class_ids = np.repeat([0, 1], 30)
    group_ids = np.concatenate([np.where(np.arange(30) < 20, 0, np.arange(30)), 100 + np.arange(30)])
    batch = next(iter(BalancedBatchSampler(class_ids, group_ids, batch_size=22, n_batches=1)))
    assert len({group_ids[row] for row in batch if class_ids[row] == 0}) == 11


def test_patients_names_do_not_matter():
    class_ids, group_ids = films((40, 20, 9))
    renamed = np.random.default_rng(1).permutation(5000)[group_ids]
    assert list(BalancedBatchSampler(class_ids, group_ids)) == list(BalancedBatchSampler(class_ids, renamed))


def test_class_ids_need_not_be_dense():
    class_ids, group_ids = films((10, 12, 8))
    batches = list(BalancedBatchSampler(class_ids * 5 + 2, group_ids, batch_size=9))
    assert batches == list(BalancedBatchSampler(class_ids, group_ids, batch_size=9))


def test_n_classes_are_chosen_anew_for_each_batch():
    sampler, class_ids, _ = make((30, 30, 30, 30, 30), batch_size=8, n_classes=2, n_batches=40)
    pairs = [tuple(sorted(set(class_ids[batch].tolist()))) for batch in sampler]
    assert {len(pair) for pair in pairs} == {2}
    assert len(set(pairs)) == 10


def test_a_loader_takes_it():
    sampler, class_ids, _ = make(batch_size=10)
    loader = DataLoader(TensorDataset(torch.from_numpy(class_ids)), batch_sampler=sampler, collate_fn=default_collate)
    assert [len(batch[0]) for batch in loader] == [10] * len(sampler)
    assert sampler.epoch == 1


@pytest.mark.parametrize(
    ("class_ids", "options", "message"),
    [
        ([0, 0, 0], {}, "metric learning needs films of two findings or more, got 1: add a finding"),
        ([], {}, "metric learning needs films of two findings or more, got 0: add a finding"),
        ([0, 1, 2], {}, "metric learning needs a finding with two films; each finding here has one"),
        ([0, 0, 1, 1], {"batch_size": 3}, "batch_size must be at least 4, got 3"),
        ([0, 0, 1, 1], {"n_batches": 0}, "n_batches must be at least 1, got 0"),
        ([0, 0, 1, 1], {"n_classes": 3}, "n_classes must be 2..2 for 2 findings and batch_size 48, got 3"),
        ([0, 0, 1, 1, 2], {"n_classes": 1}, "n_classes must be 2..3 for 3 findings and batch_size 48, got 1"),
        (
            [0, 1, 2, 2],
            {"n_classes": 3, "batch_size": 5},
            "n_classes must be 2..2 for 3 findings and batch_size 5, got 3",
        ),
    ],
)
def test_the_door_is_guarded(class_ids, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        BalancedBatchSampler(np.array(class_ids, dtype=np.int64), np.arange(len(class_ids)), **options)

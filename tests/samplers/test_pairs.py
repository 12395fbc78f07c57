import re
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.utils.data import DataLoader, TensorDataset

from fewshot_cxr.samplers import PairBatchSampler
from fewshot_cxr.samplers.pairs import _combination, _PairList


def films(sizes, films_per_patient=1, seed=0):
    class_ids = np.repeat(np.arange(len(sizes)), sizes)
    group_ids = np.concatenate([1000 * c + np.arange(size) // films_per_patient for c, size in enumerate(sizes)])
    order = np.random.default_rng(seed).permutation(len(class_ids))
    return class_ids[order], group_ids[order]


def make(sizes=(30, 50, 40), films_per_patient=1, **options):
    class_ids, group_ids = films(sizes, films_per_patient)
    return PairBatchSampler(class_ids, group_ids, **options), class_ids, group_ids


def pairs_of(batch):
    half = len(batch) // 2
    return list(zip(batch[:half], batch[half:], strict=True))


def groups_of(batch, class_ids):
    return Counter(tuple(sorted((int(class_ids[one]), int(class_ids[other])))) for one, other in pairs_of(batch))


@pytest.mark.parametrize("batch_size", [4, 6, 10, 12, 16, 30, 32, 64])
@pytest.mark.parametrize("sizes", [(30, 50, 40), (9, 200), (8, 8, 9, 30, 12)])
def test_half_is_of_one_class_half_of_two_and_each_half_is_shared_equally(sizes, batch_size):
    sampler, class_ids, _ = make(sizes, batch_size=batch_size, n_batches=20)
    n_same_of_all = 0
    for batch in sampler:
        groups, n_pairs = groups_of(batch, class_ids), batch_size // 2
        assert len(batch) == batch_size
        counts = {c: groups[c, c] for c in range(len(sizes))}
        mixed = {pair: groups[pair] for pair in combinations(range(len(sizes)), 2)}
        n_same, n_different = sum(counts.values()), sum(mixed.values())
        assert n_same + n_different == n_pairs
        assert abs(n_same - n_different) == n_pairs % 2
        assert max(counts.values()) - min(counts.values()) <= 1
        assert max(mixed.values()) - min(mixed.values()) <= 1
        n_same_of_all += n_same
    assert n_same_of_all == 10 * (batch_size // 2)


def test_32_pairs_of_three_classes_are_five_of_each_group_and_one_more():
    sampler, class_ids, _ = make((179, 600, 400), batch_size=64, n_batches=300)
    more = Counter()
    for batch in sampler:
        groups = groups_of(batch, class_ids)
        for kind in ([(0, 0), (1, 1), (2, 2)], [(0, 1), (0, 2), (1, 2)]):
            assert sorted(groups[group] for group in kind) == [5, 5, 6]
            more[next(group for group in kind if groups[group] == 6)] += 1
    for kind in ([(0, 0), (1, 1), (2, 2)], [(0, 1), (0, 2), (1, 2)]):
        assert chisquare([more[group] for group in kind]).pvalue > 1e-3


def test_an_epoch_draws_as_many_films_of_each_class_as_the_smallest_has_anew_each_epoch():
    sampler, class_ids, _ = make((12, 90, 40), batch_size=32, n_batches=60)
    epochs = [np.unique(np.concatenate(list(sampler))) for _ in range(100)]
    for rows in epochs:
        assert np.bincount(class_ids[rows]).tolist() == [12, 12, 12]
    assert len({tuple(rows.tolist()) for rows in epochs}) == 100
    assert set(np.concatenate(epochs).tolist()) == set(range(len(class_ids)))


def test_no_pair_comes_again_before_all_of_its_group_have_come():
    sampler, class_ids, _ = make((5, 9, 6), batch_size=24, n_batches=80)
    times = {group: Counter() for group in [*combinations(range(3), 2), (0, 0), (1, 1), (2, 2)]}
    for batch in sampler:
        for pair in pairs_of(batch):
            group = tuple(sorted(int(class_ids[row]) for row in pair))
            times[group][tuple(sorted(pair))] += 1
    for (one, other), counted in times.items():
        n_pairs = 5 * 4 // 2 if one == other else 5 * 5
        assert sum(counted.values()) > 2 * n_pairs
        assert len(counted) == n_pairs
        assert max(counted.values()) - min(counted.values()) <= 1


@pytest.mark.slow
def test_all_pairs_are_equally_likely():
    sampler, class_ids, _ = make((6, 6), films_per_patient=2, batch_size=4, n_batches=1)
    same, different = Counter(), Counter()
    for _ in range(3000):
        for one, other in pairs_of(next(iter(sampler))):
            (same if class_ids[one] == class_ids[other] else different)[frozenset((one, other))] += 1
        sampler.set_epoch(sampler.epoch + 1)
    # Of the 15 pairs of a class three are of one patient.
    assert len(same) == 2 * 12
    assert len(different) == 36
    assert chisquare(list(same.values())).pvalue > 1e-3
    assert chisquare(list(different.values())).pvalue > 1e-3


@pytest.mark.parametrize("films_per_patient", [2, 3, 7])
def test_films_of_one_patient_are_no_pair_where_the_class_has_another(films_per_patient):
    sampler, class_ids, group_ids = make((14, 21, 28), films_per_patient, batch_size=32, n_batches=120)
    same = [pair for batch in sampler for pair in pairs_of(batch) if class_ids[pair[0]] == class_ids[pair[1]]]
    assert all(group_ids[one] != group_ids[other] for one, other in same)
    n_of_two_patients = sum(
        group_ids[one] != group_ids[other] for one, other in combinations(np.flatnonzero(class_ids == 0), 2)
    )
    assert len({frozenset(pair) for pair in same if class_ids[pair[0]] == 0}) == n_of_two_patients


def test_a_class_of_one_patient_pairs_that_patients_films():
    class_ids, group_ids = np.repeat([0, 1], 6), np.array([7] * 6 + [1, 2, 3, 4, 5, 6])
    sampler = PairBatchSampler(class_ids, group_ids, batch_size=16, n_batches=20)
    own = {frozenset(pair) for batch in sampler for pair in pairs_of(batch) if set(class_ids[list(pair)]) == {0}}
    assert len(own) == 15


def test_the_only_other_patient_of_a_class_is_always_drawn():
    class_ids, group_ids = np.array([0, 0, *[1] * 50]), np.array([1, 2, *[3] * 49, 4])
    sampler = PairBatchSampler(class_ids, group_ids, batch_size=8, n_batches=2)
    for _ in range(40):
        for batch in sampler:
            own = [pair for pair in pairs_of(batch) if set(class_ids[list(pair)]) == {1}]
            assert own
            assert all({int(group_ids[row]) for row in pair} == {3, 4} for pair in own)


def test_a_class_with_one_film_makes_no_pair_of_its_own_and_the_others_take_its_share():
    sampler, class_ids, _ = make((1, 20, 30), batch_size=32, n_batches=30)
    for batch in sampler:
        groups = groups_of(batch, class_ids)
        assert groups[0, 0] == 0
        assert groups[1, 1] == groups[2, 2] == 4
        assert sorted([groups[0, 1], groups[0, 2], groups[1, 2]]) == [2, 3, 3]
        assert all(one != other for one, other in pairs_of(batch))


def test_more_groups_than_pairs_take_turns():
    sampler, class_ids, _ = make((9,) * 8, batch_size=8, n_batches=200)
    groups = sum((groups_of(batch, class_ids) for batch in sampler), Counter())
    assert len(groups) == 8 + 28
    assert chisquare([groups[c, c] for c in range(8)]).pvalue > 1e-3
    assert chisquare([groups[pair] for pair in combinations(range(8), 2)]).pvalue > 1e-3


def test_an_epoch_holds_about_as_many_films_as_there_are():
    assert len(make((100, 60, 64), batch_size=32)[0]) == 7
    assert len(make((3, 3), batch_size=64)[0]) == 1


def test_large_classes_are_never_listed():
    class_ids = np.repeat([0, 1, 2], 10_000)
    sampler = PairBatchSampler(class_ids, np.arange(30_000) // 2, n_batches=375)
    batches = np.array(list(sampler)).reshape(375, 2, 32)
    pairs = np.sort(batches.transpose(0, 2, 1).reshape(-1, 2), axis=1)
    assert len(np.unique(pairs, axis=0)) == len(pairs) == 12_000


def test_of_many_classes_those_groups_alone_are_made_that_give_a_pair(monkeypatch):
    made, across = [], _PairList.across
    monkeypatch.setattr(_PairList, "across", lambda *films: made.append(films) or across(*films))
    sampler, class_ids, _ = make((3,) * 200, batch_size=16, n_batches=10)
    different = [pair for batch in sampler for pair in pairs_of(batch) if len(set(class_ids[list(pair)].tolist())) == 2]
    assert len(different) == 40
    assert 0 < len(made) <= 40  # of 19,900


@pytest.mark.parametrize("n", [2, 3, 7, 30])
def test_pairs_of_classes_are_numbered_as_they_would_be_listed(n):
    assert [_combination(index, n) for index in range(n * (n - 1) // 2)] == list(combinations(range(n), 2))


def test_names_of_patients_and_numbers_of_classes_do_not_matter():
    class_ids, group_ids = films((40, 20, 9), films_per_patient=3)
    renamed = np.random.default_rng(1).permutation(5000)[group_ids]
    batches = list(PairBatchSampler(class_ids, group_ids, batch_size=16))
    assert list(PairBatchSampler(class_ids, renamed, batch_size=16)) == batches
    assert list(PairBatchSampler(class_ids * 5 + 2, group_ids, batch_size=16)) == batches


def test_a_loader_takes_it():
    sampler, class_ids, _ = make(batch_size=10)
    loader = DataLoader(TensorDataset(torch.from_numpy(class_ids)), batch_sampler=sampler)
    assert [len(batch[0]) for batch in loader] == [10] * len(sampler)
    assert sampler.epoch == 1


@pytest.mark.parametrize(
    ("class_ids", "options", "message"),
    [
        ([0, 0, 0], {}, "metric learning needs films of two findings or more, got 1: add a finding"),
        ([], {}, "metric learning needs films of two findings or more, got 0: add a finding"),
        ([0, 1, 2], {}, "metric learning needs a finding with two films; each finding here has one"),
        ([0, 0, 1, 1], {"batch_size": 2}, "batch_size must be at least 4, got 2"),
        ([0, 0, 1, 1], {"batch_size": 9}, "batch_size counts the films of whole pairs and must be even, got 9"),
        ([0, 0, 1, 1], {"n_batches": 0}, "n_batches must be at least 1, got 0"),
    ],
)
def test_the_door_is_guarded(class_ids, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PairBatchSampler(np.array(class_ids, dtype=np.int64), np.arange(len(class_ids)), **options)

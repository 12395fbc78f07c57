from itertools import combinations

import numpy as np
import pytest

from fewshot_cxr.episodes.class_pool import ClassPool, PoolSide, support_group_count


def made_pool(support_sizes, query_sizes, **wanted):
    """A class whose patient i has so many films that may be support, and so many others that may be query."""
    sides, row = [], 0
    for sizes in (support_sizes, query_sizes):
        groups = np.repeat(np.arange(len(sizes)), sizes)
        rows = np.arange(row, row + len(groups))
        row += len(groups)
        sides.append(PoolSide(rows, groups, rows.astype(np.uint64), groups.astype(np.uint64)))
    return ClassPool("effusion", 0, *sides, row, len(support_sizes), **wanted)


def odds_of(support_sizes, query_sizes, count, n_shot, n_query):
    givers = [i for i, size in enumerate(support_sizes) if size]
    ways = list(combinations(givers, count))
    good = [
        sum(support_sizes[i] for i in chosen) >= n_shot
        and sum(size for i, size in enumerate(query_sizes) if i not in chosen) >= n_query
        for chosen in ways
    ]
    return np.mean(good) if ways else 0.0


@pytest.mark.parametrize("seed", range(60))
def test_a_division_is_found_exactly_when_one_exists(seed):
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 5, draw.integers(1, 7)).tolist()
    n_shot, n_query = draw.integers(1, 6, 2).tolist()
    odds = {count: odds_of(sizes, sizes, count, n_shot, n_query) for count in range(1, n_shot + 1)}
    count = support_group_count(sizes, n_shot, n_query)
    assert bool(count) == any(odds.values())
    assert odds.get(count, 0) == max(odds.values())


@pytest.mark.parametrize("seed", range(60))
def test_a_division_is_found_where_the_sides_differ(seed):
    draw = np.random.default_rng(seed)
    support, query = draw.integers(0, 4, (2, draw.integers(1, 7))).tolist()
    n_shot, n_query = draw.integers(1, 5, 2).tolist()
    pool = made_pool(support, query, n_shot=n_shot, n_query=n_query)
    odds = {count: odds_of(support, query, count, n_shot, n_query) for count in range(1, n_shot + 1)}
    assert odds.get(pool.group_count(), 0) == max(odds.values())
    assert bool(pool.group_count(is_safe=True)) == (max(odds.values()) == 1)


def test_a_class_says_how_much_it_has():
    assert str(made_pool([1, 1], [1, 0])) == "effusion has 3 films of 2 patients (2 may be support, 1 may be query)"

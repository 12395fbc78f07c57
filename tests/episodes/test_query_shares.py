from fractions import Fraction

import numpy as np
import pytest

from fewshot_cxr.episodes.query_shares import most_queries, share_queries


def slow_shares(total, n_films):
    """Largest remainders in exact fractions, classes below one query set to one first."""
    ones = set()
    while True:
        left, whole = total - len(ones), sum(n for c, n in enumerate(n_films) if c not in ones)
        quota = {c: Fraction(left * n, whole) for c, n in enumerate(n_films) if c not in ones}
        below = {c for c, share in quota.items() if share < 1}
        if not below:
            break
        ones |= below
    shares = dict.fromkeys(ones, 1) | {c: int(share) for c, share in quota.items()}
    for c in sorted(quota, key=lambda c: (int(quota[c]) - quota[c], c))[: total - sum(shares.values())]:
        shares[c] += 1
    return [shares[c] for c in range(len(n_films))]


def test_shares_equal_a_slow_loop():
    draw = np.random.default_rng(0)
    for n_way in (2, 3, 5, 8):
        n_films = np.maximum(1, (10 ** draw.uniform(0, 4, (200, n_way))).astype(np.int64))
        for total in (n_way, 2 * n_way, 15 * n_way):
            shares = share_queries(total, n_films)
            assert shares.tolist() == [slow_shares(total, row) for row in n_films.tolist()]
            assert (shares.sum(axis=1) == total).all()
            assert shares.min() >= 1


def test_a_worked_example():
    assert share_queries(45, np.array([[100, 50, 1]])).tolist() == [[29, 15, 1]]


def test_equal_remainders_go_to_the_first():
    assert share_queries(4, np.array([[10, 10, 10]])).tolist() == [[2, 1, 1]]


@pytest.mark.parametrize("n_way", [2, 3, 6])
def test_most_queries_bound_every_episode_closely(n_way):
    draw = np.random.default_rng(n_way)
    n_films = np.maximum(1, (10 ** draw.uniform(0, 4, 6)).astype(np.int64))
    most = most_queries(10 * n_way, n_films, n_way)
    sets = np.sort(draw.permuted(np.tile(np.arange(6), (500, 1)), axis=1)[:, :n_way], axis=1)
    shares = share_queries(10 * n_way, n_films[sets])
    reached = np.zeros(6, dtype=np.int64)
    np.maximum.at(reached, sets, shares)
    assert (reached <= most).all()
    assert (most - reached <= (0 if n_way == 6 else 1)).all()

"""benchmarks/bank_coverage.py asks what a bank asks, and takes its own few films for no spread of banks."""

import numpy as np
import pytest
from scipy import stats

from fewshot_cxr.inference.bank import calibrate_on_films
from fewshot_cxr.inference.bank.comparing import conformal_of
from fewshot_cxr.inference.deciding import Decider


@pytest.fixture
def bank_coverage(script):
    return script("bank_coverage")


def test_films_kept_apart_are_asked_as_a_calibration_asks_them(bank_coverage):
    world = bank_coverage.World(np.random.default_rng(0))
    exemplars, kept, asked = (world.films(n, 4) for n in ((10, 10, 10), bank_coverage.NEW, (7, 7, 7)))
    decider = Decider(exemplars)
    by = calibrate_on_films(decider, kept).p_values_by(decider.findings, conformal=lambda: conformal_of(decider))
    expected = by(asked.vectors, decider.distances(asked.vectors).numpy())
    np.testing.assert_array_equal(bank_coverage.by_films(decider, kept, asked), expected)


def test_the_films_asked_add_nothing_to_the_spread_of_banks(bank_coverage):
    draw = np.random.default_rng(0)
    banks = stats.beta(18, 2)
    held = draw.binomial(bank_coverage.N_ASKED, banks.rvs((20_000, 3), random_state=draw)) / bank_coverage.N_ASKED
    mean, between = bank_coverage.achieved(held)
    low, high = (100 * banks.ppf(end) for end in (0.025, 0.975))
    assert float(mean.partition(" %")[0]) == pytest.approx(90, abs=0.15)
    assert [float(end.removesuffix(" %")) for end in between.split(" to ")] == pytest.approx([low, high], abs=0.7)


@pytest.mark.slow
def test_each_case_gives_its_rows(bank_coverage):
    for case in bank_coverage.cases():
        found = [bank_coverage.in_world(number, case, 0) for number in range(3)]
        rows = list(bank_coverage.rows(case, np.array([one for one, _ in found]), np.array([one for _, one in found])))
        assert len(rows) == len(set(case.patients))
        assert {len(row) for row in rows} == {12}
        assert sum(found[0][1]) == 3 * bank_coverage.N_ASKED

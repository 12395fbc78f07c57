"""What counts of patients promise: numbers that were published, and dice that a child could throw."""

import numpy as np
import pytest
from scipy import stats

from fewshot_cxr.inference.bank.coverage import (
    allowed_misses,
    coverage_interval,
    fewest_patients,
    patients_needed,
)


def test_nine_patients_at_90_percent():
    assert fewest_patients(0.9) == 9
    assert allowed_misses(9, 0.9) == 1
    mean, (low, high) = coverage_interval(9, 1)
    assert mean == 0.9
    assert (round(low, 2), round(high, 3)) == (0.66, 0.997)


@pytest.mark.parametrize(("level", "n"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999)])
def test_no_digit_of_a_level_costs_a_patient(level, n):
    assert fewest_patients(level) == n
    assert [allowed_misses(n - 1, level), allowed_misses(n, level), allowed_misses(2 * n, level)] == [0, 1, 1]
    assert allowed_misses(2 * n + 1, level) == 2


def test_patients_needed_are_those_of_a_tolerance_limit():
    assert patients_needed(0.9, 0.9) == 22
    assert patients_needed(0.95, 0.95) == 59  # Wilks' number
    for level, confidence in ((0.8, 0.9), (0.9, 0.95), (0.99, 0.5)):
        n = patients_needed(level, confidence)
        assert level**n <= 1 - confidence < level ** (n - 1)
        assert (allowed_misses(n - 1, level, confidence), allowed_misses(n, level, confidence)) == (0, 1)


@pytest.mark.parametrize("n", [22, 60, 400])
def test_a_confidence_is_kept_and_no_more_than_kept(n):
    misses = allowed_misses(n, 0.9, 0.9)
    assert stats.beta(n + 1 - misses, misses).cdf(0.9) <= 0.1
    assert stats.beta(n - misses, misses + 1).cdf(0.9) > 0.1


def test_coverage_is_what_uniform_scores_give():
    """Scores 0..1: a film is in the set unless at most l - 1 of the n are as large, so the l-th largest is covered."""
    draw = np.random.default_rng(0)
    covered = np.sort(draw.random((20_000, 30)), axis=1)[:, -3]  # l = 3 of 30 at 90 %
    mean, (low, high) = coverage_interval(30, allowed_misses(30, 0.9))
    assert covered.mean() == pytest.approx(mean, abs=0.002)
    assert np.quantile(covered, [0.025, 0.975]) == pytest.approx([low, high], abs=0.006)


def test_where_nothing_is_left_out_everything_is_covered():
    assert coverage_interval(4, 0) == (1.0, (1.0, 1.0))


@pytest.mark.parametrize("level", [0, 1, -0.5, 90, float("nan")])
def test_a_level_is_a_share(level):
    with pytest.raises(ValueError, match="level must be above 0 and below 1, such as 0.9, got"):
        fewest_patients(level)
    with pytest.raises(ValueError, match="confidence must be above 0 and below 1"):
        allowed_misses(9, 0.9, level)

import numpy as np
import pytest
import torch
from scipy import stats

from fewshot_cxr.metrics import Estimate, RunningMean, RunningMoments, t_interval, t_test, wilson_interval


def running_mean():
    with pytest.warns(DeprecationWarning, match=r"take RunningMoments\(1\)"):
        return RunningMean()


def test_blocks_give_the_interval_of_the_whole():
    values = np.random.default_rng(0).normal(1e4, 1e-2, 1001)
    running = running_mean()
    for block in np.array_split(values, 7):
        running.add(block)
    expected = stats.t.interval(0.95, 1000, values.mean(), stats.sem(values))
    assert running.mean == pytest.approx(values.mean(), abs=1e-9)
    np.testing.assert_allclose(running.interval(), expected, atol=1e-7)


def test_one_value_has_no_interval():
    running = running_mean()
    running.add(np.array([0.5]))
    running.add(np.array([]))
    assert (running.mean, running.interval()) == (0.5, None)


def test_coverage_is_as_stated():
    draw = np.random.default_rng(1)
    hits = 0
    for _ in range(2000):
        running = running_mean()
        running.add(draw.normal(3, 1, 8))
        low, high = running.interval()
        hits += low <= 3 <= high
    assert 0.935 < hits / 2000 < 0.965


@pytest.mark.parametrize("as_tensor", [False, True])
def test_moments_of_blocks_are_those_of_the_whole(as_tensor):
    rows = np.random.default_rng(2).normal([1e4, 0, -3], [1e-2, 1, 5], (501, 3))
    rows[:, 2] += 2 * rows[:, 1]
    running = RunningMoments(3)
    for block in (*np.array_split(rows, 7), rows[:0]):
        running.add(torch.from_numpy(block) if as_tensor else block)
    assert running.count == 501
    np.testing.assert_allclose(running.mean, rows.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(running.covariance, np.cov(rows.T), atol=1e-9)


def test_moments_need_two_rows_and_know_their_width():
    running = RunningMoments(2)
    assert (running.count, running.mean.tolist(), running.covariance) == (0, [0, 0], None)
    running.add(np.array([[1.0, 2.0]]))
    assert (running.mean.tolist(), running.covariance) == ([1, 2], None)
    with pytest.raises(ValueError, match=r"^rows must have the shape \(m, 2\), got \(2,\)$"):
        running.add(np.array([1.0, 2.0]))


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 9), (3, 9), (229, 240), (240, 240)])
def test_wilson_equals_scipys(successes, n, level):
    expected = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    np.testing.assert_allclose(wilson_interval(successes, n, level), expected, atol=1e-12)


def test_wilson_takes_credits_of_ties():
    low, high = wilson_interval(3.5, 9)
    assert wilson_interval(3, 9)[0] < low < 3.5 / 9 < high < wilson_interval(4, 9)[1]
    assert wilson_interval(0, 7)[0] == 0
    assert wilson_interval(7, 7)[1] == 1


def test_students_interval_is_scipys():
    expected = stats.t.interval(0.9, 7.5, 0.6, 0.02)
    np.testing.assert_allclose(t_interval(0.6, 0.02**2, 7.5, 0.9), expected, atol=1e-12)
    assert t_interval(0.6, 0.0, 3) == (0.6, 0.6)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3), (float("nan"), 3)])
def test_wilson_needs_trials(successes, n):
    with pytest.raises(ValueError, match=rf"^wilson_interval needs 0 <= successes <= n .*, got {successes} of {n}$"):
        wilson_interval(successes, n)


@pytest.mark.parametrize(("variance", "df"), [(-1e-9, 3), (float("nan"), 3), (0.1, 0)])
def test_students_interval_needs_a_variance(variance, df):
    with pytest.raises(ValueError, match=rf"^t_interval needs .*, got {variance} and {df}; where nothing can be"):
        t_interval(0.5, variance, df)


def test_the_test_of_a_difference_is_student_s():
    gaps = np.random.default_rng(3).normal(0.2, 1, 15)
    expected = stats.ttest_1samp(gaps, 0)
    interval, p_value, reason = t_test(float(gaps.mean()), float(gaps.var(ddof=1) / 15), 14)
    assert interval == pytest.approx(expected.confidence_interval())
    assert p_value == pytest.approx(expected.pvalue)
    assert reason is None


def test_where_nothing_varies_only_what_is_equal_is_certain():
    assert t_test(0.0, 0.0, 4) == ((0.0, 0.0), 1.0, None)
    assert t_test(0.1, 0.0, 4) == (None, None, "the two differ, but nothing varies to measure chance by")


def test_an_estimate_is_rebuilt_with_the_reason_for_what_is_absent():
    told = Estimate(0.5, None, (0.25, 0.75), "one film in each episode")
    assert Estimate.from_json(told.to_json()) == told

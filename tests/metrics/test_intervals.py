import numpy as np
import pytest
from scipy import stats

from fewshot_cxr.metrics import RunningMean


def test_blocks_give_the_interval_of_the_whole():
    values = np.random.default_rng(0).normal(1e4, 1e-2, 1001)
    running = RunningMean()
    for block in np.array_split(values, 7):
        running.add(block)
    expected = stats.t.interval(0.95, 1000, values.mean(), stats.sem(values))
    assert running.mean == pytest.approx(values.mean(), abs=1e-9)
    np.testing.assert_allclose(running.interval(), expected, atol=1e-7)


def test_one_value_has_no_interval():
    running = RunningMean()
    running.add(np.array([0.5]))
    running.add(np.array([]))
    assert (running.mean, running.interval()) == (0.5, None)


def test_coverage_is_as_stated():
    draw = np.random.default_rng(1)
    hits = 0
    for _ in range(2000):
        running = RunningMean()
        running.add(draw.normal(3, 1, 8))
        low, high = running.interval()
        hits += low <= 3 <= high
    assert 0.935 < hits / 2000 < 0.965

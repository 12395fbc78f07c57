import numpy as np
import pytest
from scipy import stats

from fewshot_cxr.metrics import bounded_interval, wilson_interval

MANY = {"degrees": 1e9, "n_patients": 1000}


@pytest.mark.parametrize(("right", "n"), [(30, 60), (7, 60), (595, 600)])
def test_independent_patients_give_wilsons_interval(right, n):
    share = right / n
    found = bounded_interval(share, share * (1 - share) / n, degrees=1e9, n_patients=n)
    assert found == pytest.approx(wilson_interval(right, n), abs=1e-6)


def test_a_small_variance_gives_students_interval():
    found = bounded_interval(0.5, 1e-6, degrees=20, n_patients=1000)
    assert found == pytest.approx(stats.t.interval(0.95, 20, 0.5, 1e-3), abs=1e-7)


def test_nothing_wrong_has_a_width():
    for variance in (0.0, 1e-12):
        assert bounded_interval(1.0, variance, degrees=1e9, n_patients=60) == pytest.approx(wilson_interval(60, 60))
        assert bounded_interval(0.0, variance, degrees=1e9, n_patients=60) == pytest.approx(wilson_interval(0, 60))
    assert bounded_interval(0.4, 0.0, degrees=1e9, n_patients=60) == pytest.approx(wilson_interval(24, 60))


def test_close_to_an_end_no_more_patients_count_than_there_are():
    low, high = bounded_interval(0.99, 1e-9, degrees=1e9, n_patients=100)
    assert (low, high) == pytest.approx(wilson_interval(99, 100))
    # Patients of many films count for less than one each.
    assert bounded_interval(0.99, 0.004, degrees=1e9, n_patients=100)[0] < wilson_interval(99, 100)[0]


def test_ends_stay_inside_and_hold_the_mean():
    draw = np.random.default_rng(0)
    for _ in range(500):
        mean, variance = draw.random() ** 3, 10 ** draw.uniform(-12, 1)
        for share in (mean, 1 - mean):
            low, high = bounded_interval(share, variance, degrees=draw.integers(1, 50), n_patients=draw.integers(1, 99))
            assert 0 <= low <= share <= high <= 1


def test_more_variance_or_fewer_degrees_are_wider():
    widths = [np.diff(bounded_interval(0.7, variance, **MANY))[0] for variance in (1e-4, 1e-3, 1e-2)]
    assert widths == sorted(widths)
    widths = [np.diff(bounded_interval(0.7, 1e-3, degrees=df, n_patients=99))[0] for df in (50, 5, 1)]
    assert widths == sorted(widths)


def test_both_ends_mirror():
    low, high = bounded_interval(0.2, 1e-3, **MANY)
    assert bounded_interval(0.8, 1e-3, **MANY) == pytest.approx((1 - high, 1 - low))

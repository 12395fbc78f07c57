import numpy as np
import pytest
from scipy import stats

from fewshot_cxr.explain.deletion import summarise_gains


def test_with_one_film_a_patient_the_interval_is_that_of_student():
    gains = np.random.default_rng(0).normal(0.5, 2, 12)
    (row,) = summarise_gains({"deletion": gains}, patients=range(12), n_without_heat=3)
    assert row.gain.ci95 == pytest.approx(stats.ttest_1samp(gains, 0).confidence_interval(0.95))
    assert (row.n_films, row.n_patients, row.n_without_heat) == (12, 12, 3)
    assert (row.gain.mean, row.share_gaining) == (pytest.approx(gains.mean()), (gains > 0).mean())
    assert row.gain.reason is None


def test_the_same_film_twice_adds_no_certainty():
    gains = np.random.default_rng(1).normal(0, 1, 9)
    (once,) = summarise_gains({"insertion": gains}, patients="abcdefghi")
    (twice,) = summarise_gains({"insertion": np.repeat(gains, 2)}, patients=np.repeat(list("abcdefghi"), 2).tolist())
    assert twice.gain.ci95 == pytest.approx(once.gain.ci95)


@pytest.mark.parametrize(
    ("gains", "patients", "reason"),
    [
        ([], [], "no film has heat"),
        ([1.0, 2.0], [7, 7], "it rests on one patient: no interval"),
        ([1.0, 1.0], [7, 8], "nothing varies to measure chance by"),
    ],
)
def test_what_has_no_interval_says_why(gains, patients, reason):
    (row,) = summarise_gains({"deletion": np.array(gains)}, patients=patients)
    assert (row.gain.ci95, row.gain.reason) == (None, reason)


def test_gains_without_a_patient_are_refused():
    with pytest.raises(ValueError, match=r"one gain in each mode, got \{'deletion': 2\} for 1 films"):
        summarise_gains({"deletion": np.ones(2)}, patients=["a"])

"""What more support films would buy: a law that is known is carried on, and what the films do not carry is refused."""

from dataclasses import replace

import numpy as np
import pytest

from fewshot_cxr.evaluation.episodic.patients import population_variance
from fewshot_cxr.evaluation.forecast import Growth, curve_covariance, forecast

SHOTS = (1, 2, 5, 10)


def law(n_shot, top=0.9, rise=0.4, exponent=0.7):
    return top - rise * np.asarray(n_shot, dtype=float) ** -exponent


def grown(values, error=0.001, n_patients=120, **more):
    """Return a curve whose patients shift all of it alike, and each point a little for itself."""
    covariance = error**2 * (0.9 * np.ones((len(values), len(values))) + 0.1 * np.eye(len(values)))
    shots = more.pop("shots", SHOTS)
    return Growth(shots, np.asarray(values), covariance, degrees=n_patients - 3, n_patients=n_patients, **more)


@pytest.mark.parametrize("exponent", [0.3, 0.7, 1.2])
@pytest.mark.parametrize("n_shot", [20, 40])
def test_a_law_that_is_known_is_carried_on(exponent, n_shot):
    ahead = forecast(grown(law(SHOTS, exponent=exponent)), n_shot)
    truth = law(n_shot, exponent=exponent)
    assert abs(ahead.value.mean - truth) < 0.02
    low, high = ahead.value.ci95
    assert low <= truth <= high
    assert high - low < 0.12
    assert ahead.gain.ci95[0] <= truth - law(10, exponent=exponent) <= ahead.gain.ci95[1]


def test_growth_that_does_not_slow_down_yet_is_carried_on_too():
    values = 0.3 + 0.05 * np.sqrt(SHOTS)
    ahead = forecast(grown(values), 20)
    assert ahead.value.ci95[0] <= 0.3 + 0.05 * 20**0.5 <= ahead.value.ci95[1]


def test_what_is_as_good_as_can_be_stays_so():
    ahead = forecast(grown([0.97, 0.99, 1.0, 1.0], error=0.0), 40)
    low, high = ahead.value.ci95
    assert high == 1
    assert 0.95 < low < 1


def test_intervals_hold_the_truth_about_as_often_as_stated():
    draw, error, inside = np.random.default_rng(0), 0.03, []
    for _ in range(120):
        shape = {"top": draw.uniform(0.6, 0.95), "rise": draw.uniform(0.1, 0.4), "exponent": draw.uniform(0.3, 1.2)}
        growth = grown(law(SHOTS, **shape), error=error)
        measured = replace(growth, values=draw.multivariate_normal(growth.values, growth.covariance))
        found = forecast(measured, 40).value.ci95
        if found is not None:
            inside.append(found[0] <= law(40, **shape) <= found[1])
    assert len(inside) > 100
    assert np.mean(inside) >= 0.9


@pytest.mark.parametrize(
    ("growth", "n_shot", "words"),
    [
        (grown(law((5, 10)), shots=(5, 10)), 20, "2 shots were measured, and 3 are needed"),
        (grown(law(SHOTS)), 41, "41 shots are more than 4 times the largest that was measured, 10"),
        (grown(law(SHOTS), error=0.15, n_patients=12), 40, "films of 12 patients do not carry a forecast"),
        (grown([0.8, 0.75, 0.5, 0.4]), 20, "the 4 measured shots follow no law of growth"),
        (grown([0.5, 0.8, 0.5, 0.8]), 20, "the 4 measured shots follow no law of growth"),
    ],
)
def test_what_the_films_do_not_carry_is_refused_with_its_reason(growth, n_shot, words):
    ahead = forecast(growth, n_shot)
    assert ahead.value.mean is None
    assert ahead.value.ci95 is None
    assert ahead.gain.mean is None
    assert ahead.value.reason.startswith("no forecast: ")
    assert words in ahead.value.reason


def test_the_recall_of_one_finding_may_fall():
    falling = [0.8, 0.78, 0.75, 0.74]
    assert forecast(grown(falling, error=0.004, is_rising=False), 20).value.mean < 0.745


def test_the_covariance_is_that_of_the_intervals():
    draw = np.random.default_rng(0)
    common = draw.normal(size=(1, 50))
    own = draw.normal(size=(3, 1, 50))
    influences = [0.01 * (common + own[place] + draw.normal(scale=0.3, size=(4, 50))) for place in range(3)]
    batches = [draw.normal(scale=0.01, size=20) for _ in range(3)]
    found = curve_covariance(influences, batches, 50)
    for place in range(3):
        over_episodes = batches[place].var(ddof=1) / 20
        assert found[place, place] == pytest.approx(population_variance(influences[place], 50) + over_episodes)
    # Products of different parts of the episodes, in a loop that a child could check.
    pairs = [(p, q) for p in range(4) for q in range(4) if p != q]
    slow = sum(influences[0][p] @ influences[1][q] for p, q in pairs) / len(pairs) * 49 / 50
    slow += np.cov(batches[0], batches[1])[0, 1] / 20
    assert found[0, 1] == pytest.approx(slow)
    assert (np.linalg.eigvalsh(found) > -1e-12).all()

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from fewshot_cxr.inference.bank import CalledPatients, predictive_curve, predictive_values

TWO = ("normal", "covid19")
THREE = ("normal", "covid19", "pneumonia")


def two(detected, n_with, false_alarms, n_without):
    return CalledPatients("covid19", TWO, (false_alarms, detected), (n_without, n_with))


def at(share):
    return {"covid19": share, "normal": 1 - share}


@pytest.mark.parametrize(("share", "ppv"), [(0.5, 0.89), (0.1, 0.47), (0.02, 0.14)])
def test_ppv_falls_with_prevalence_as_published(share, ppv):
    """Source: Godau et al., Medical Image Analysis 102:103504 (2025): sensitivity 0.8, specificity 0.9."""
    found = predictive_values(two(80, 100, 10, 100), at(share))
    assert found.ppv.mean == pytest.approx(ppv, abs=0.005)
    assert found.npv.mean == pytest.approx(0.9 * (1 - share) / (0.9 * (1 - share) + 0.2 * share))
    assert found.prevalence == share


def test_what_the_others_are_matters():
    counts = CalledPatients("covid19", THREE, (1, 9, 5), (10, 10, 10))
    mostly_normal = predictive_values(counts, {"normal": 0.85, "covid19": 0.1, "pneumonia": 0.05})
    mostly_pneumonia = predictive_values(counts, {"normal": 0.05, "covid19": 0.1, "pneumonia": 0.85})
    assert mostly_normal.ppv.mean == pytest.approx(0.09 / (0.09 + 0.085 + 0.025))
    assert mostly_pneumonia.ppv.mean == pytest.approx(0.09 / (0.09 + 0.005 + 0.425))


def test_numbers_are_those_of_a_clinic_counted_out():
    """1,000 patients, one by one."""
    counts = CalledPatients("covid19", THREE, (2, 8, 4), (10, 10, 10))
    clinic = [("normal", 0.2)] * 700 + [("covid19", 0.8)] * 100 + [("pneumonia", 0.4)] * 200
    called = sum(rate for _, rate in clinic)
    right = sum(rate for name, rate in clinic if name == "covid19")
    rejected_right = sum(1 - rate for name, rate in clinic if name != "covid19")
    found = predictive_values(counts, {"normal": 0.7, "covid19": 0.1, "pneumonia": 0.2})
    assert found.ppv.mean == pytest.approx(right / called)
    assert found.npv.mean == pytest.approx(rejected_right / (1000 - called))


def logit_interval(detected, n_with, false_alarms, n_without, share):
    """Mercaldo, Lau, Zhou, "Confidence intervals for predictive values with an emphasis to case-control studies",
    2007, the standard logit interval of PPV.
    """
    sensitivity, alarms = detected / n_with, false_alarms / n_without
    centre = np.log(share * sensitivity / ((1 - share) * alarms))
    error = np.sqrt((1 - sensitivity) / sensitivity / n_with + (1 - alarms) / alarms / n_without)
    return tuple(1 / (1 + np.exp(-(centre + sign * 1.959964 * error))) for sign in (-1, 1))


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_with_many_patients_the_interval_is_that_of_the_logit(share):
    low, high = predictive_values(two(800, 1000, 100, 1000), at(share)).ppv.ci95_patients
    expected = logit_interval(800, 1000, 100, 1000, share)
    assert (low, high) == pytest.approx(expected, abs=0.03 * (expected[1] - expected[0]))


def test_the_interval_is_that_of_random_draws():
    draw = np.random.default_rng(0)
    detected, alarms = draw.beta(8.5, 2.5, 400_000), draw.beta(1.5, 19.5, 400_000)
    ppv = 0.1 * detected / (0.1 * detected + 0.9 * alarms)
    npv = 0.9 * (1 - alarms) / (0.9 * (1 - alarms) + 0.1 * (1 - detected))
    found = predictive_values(two(8, 10, 1, 20), at(0.1))
    assert found.ppv.ci95_patients == pytest.approx(tuple(np.quantile(ppv, [0.025, 0.975])), abs=0.006)
    assert found.npv.ci95_patients == pytest.approx(tuple(np.quantile(npv, [0.025, 0.975])), abs=0.001)


@pytest.mark.slow
@pytest.mark.parametrize(("sensitivity", "alarms"), [(0.9, 0.01), (0.8, 0.1), (0.99, 0.05)])
def test_it_covers_the_truth_in_all_worlds_together(sensitivity, alarms):
    """Exact: every pair of counts, by its chance."""
    n_with, n_without, share = 10, 20, 0.1
    truth = share * sensitivity / (share * sensitivity + (1 - share) * alarms)
    covered = total = 0.0
    for detected in range(n_with + 1):
        for called in range(n_without + 1):
            chance = stats.binom.pmf(detected, n_with, sensitivity) * stats.binom.pmf(called, n_without, alarms)
            if chance < 1e-4:
                continue
            total += chance
            found = predictive_values(two(detected, n_with, called, n_without), at(share)).ppv
            covered += chance * (found.ci95_patients is None or found.ci95[0] <= truth <= found.ci95[1])
    assert total > 0.99
    assert covered / total > 0.93


def test_a_curve_passes_through_its_points_and_rises():
    counts = CalledPatients("covid19", THREE, (1, 9, 5), (10, 10, 10))
    base = {"normal": 0.6, "covid19": 0.2, "pneumonia": 0.2}
    curve = predictive_curve(counts, base, np.linspace(0.01, 0.99, 25))
    for name in ("mean", 0, 1):
        ppv = [one.ppv.mean if name == "mean" else one.ppv.ci95[name] for one in curve]
        npv = [one.npv.mean if name == "mean" else one.npv.ci95[name] for one in curve]
        assert all(before <= after for before, after in pairwise(ppv))
        assert all(before >= after for before, after in pairwise(npv))
    [point] = predictive_curve(counts, base, [0.2])
    whole = predictive_values(counts, base)
    assert (point.finding, point.prevalence) == ("covid19", 0.2)
    assert list(point.to_json()) == ["finding", "prevalence", "ppv", "npv"]
    assert point.to_json()["ppv"]["ci95"] == pytest.approx(list(whole.ppv.ci95))
    assert point.npv.mean == pytest.approx(whole.npv.mean)


def test_the_order_of_findings_plays_no_part():
    one = CalledPatients("covid19", THREE, (1, 9, 5), (10, 11, 12))
    other = CalledPatients("covid19", THREE[::-1], (5, 9, 1), (12, 11, 10))
    base = {"normal": 0.6, "covid19": 0.3, "pneumonia": 0.1}
    np.testing.assert_allclose(predictive_values(one, base).ppv.ci95, predictive_values(other, base).ppv.ci95)


def test_none_and_all_reach_the_ends():
    found = predictive_values(two(10, 10, 0, 20), at(0.1))
    assert (found.ppv.mean, found.npv.mean) == (1, 1)
    assert found.ppv.ci95_patients[1] == found.npv.ci95_patients[1] == 1
    assert found.ppv.ci95_patients[0] < 0.9
    never = predictive_values(two(0, 10, 0, 20), at(0.1))
    assert (never.ppv.mean, never.ppv.ci95_patients) == (None, None)
    assert never.ppv.reason == "no calibration patient was called covid19"
    always = predictive_values(two(10, 10, 20, 20), at(0.1))
    assert always.npv.reason == "no calibration patient was not called covid19"


@pytest.mark.parametrize(
    ("prevalence", "message"),
    [
        ({"normal": 0.5}, r"must be 0 or more and together 1, got \[0\.5, 0\.0\]"),
        ({"normal": 1.5, "covid19": -0.5}, "must be 0 or more and together 1"),
        ({"normal": 0.5, "covid": 0.5}, r"no finding of the bank is 'covid' \(did you mean 'covid19'\?\)"),
    ],
)
def test_wrong_prevalences_are_refused(prevalence, message):
    with pytest.raises(ValueError, match=message):
        predictive_values(two(8, 10, 1, 20), prevalence)


def test_what_does_not_follow_is_refused():
    with pytest.raises(ValueError, match="no calibration patient has normal"):
        predictive_values(two(8, 10, 0, 0), at(0.1))
    with pytest.raises(ValueError, match="a prevalence must be above 0 and below 1, got 1"):
        predictive_curve(two(8, 10, 1, 20), at(0.1), [0.5, 1])
    with pytest.raises(ValueError, match="the proportions of the findings beside covid19 must be stated"):
        predictive_curve(two(8, 10, 1, 20), {"covid19": 1.0}, [0.5])

"""Two classifiers on the same films: differences by a paired jackknife, McNemar's test and DeLong's."""

import numpy as np
import scipy

from fewshot_cxr.evaluation.closed_set.decisions import Decisions
from fewshot_cxr.evaluation.closed_set.numbers import (
    Numbers,
    brier_numbers,
    closed_numbers,
    closed_units,
    jackknife_variance,
)
from fewshot_cxr.evaluation.comparison import NO_CHANCE, Difference
from fewshot_cxr.evaluation.episodic.patients import PatientUnits
from fewshot_cxr.metrics import delong, mcnemar, t_interval

_COMPARED = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "brier")
_JACKKNIFE = "paired jackknife"
_FEWEST = 2


def closed_differences(first: Decisions, second: Decisions) -> list[Difference]:
    """Return the differences between two sets of decisions on the same films.

    Accuracy, balanced accuracy, macro F1, AUROC and Brier score: the difference of the two numbers without each unit
    of patients, all of it anew (a paired delete-a-group jackknife), Student's t with the units less one degrees of
    freedom. Then McNemar's test of the films decided rightly (of ties, those with over half of the decision), and
    DeLong's of each finding's AUROC against the rest; both twice: by films, which takes those of a patient for
    independent as published tests do, and by patients (one line where each film is a patient's only one). DeLong's
    needs two patients with the finding and two without it.

    Args:
        first, second: of the same films, findings and patients, in the same order.
    """
    units = closed_units(first)
    numbers = [_numbers(decisions, units) for decisions in (first, second)]
    keys = [(name,) for name in _COMPARED if all((name,) in some for some in numbers)]
    rows = [jackknifed(key[0], numbers[0][key], numbers[1][key]) for key in keys]
    clusters = first.patient_ids if units.n_patients < len(first) else None
    rows += _mcnemar_rows(first, second, clusters)
    if first.has_probabilities and second.has_probabilities:
        rankings = first.ranking_scores, second.ranking_scores
        for index, finding in enumerate(first.findings):
            scores = rankings[0][:, index], rankings[1][:, index]
            rows += delong_rows(finding, scores, first.true_ids == index, clusters)
    return rows


def _numbers(decisions: Decisions, units: PatientUnits) -> Numbers:
    numbers = closed_numbers(decisions, units)
    if decisions.has_probabilities:
        numbers["brier",] = brier_numbers(decisions.probabilities, decisions.true_ids, units)
    return numbers


def jackknifed(number: str, first: np.ndarray, second: np.ndarray) -> Difference:
    """Return the difference of a number, given with everybody and without each unit, float64 (1 + n_units,) each."""
    gaps = first - second
    values, gap = (float(first[0]), float(second[0])), float(gaps[0])
    degrees = len(gaps) - 2
    if degrees < 1 or not np.isfinite(gaps).all():
        return Difference(number, *values, gap, None, None, _JACKKNIFE, "too few patients for an interval")
    variance = jackknife_variance(gaps)
    if variance <= 0:
        interval, p_value, reason = ((0.0, 0.0), 1.0, None) if gap == 0 else (None, None, NO_CHANCE)
        return Difference(number, *values, gap, interval, p_value, _JACKKNIFE, reason)
    p_value = float(2 * scipy.special.stdtr(degrees, -abs(gap) / variance**0.5))
    return Difference(number, *values, gap, t_interval(gap, variance, degrees), p_value, _JACKKNIFE)


def _mcnemar_rows(first: Decisions, second: Decisions, clusters: np.ndarray | None) -> list[Difference]:
    rows = np.arange(len(first))
    right = [decisions.credits[rows, decisions.true_ids] > 0.5 for decisions in (first, second)]
    values = float(right[0].mean()), float(right[1].mean())
    return [
        Difference("share right", *values, values[0] - values[1], None, mcnemar(*right, clusters=some).p_value, test)
        for some, test in _clusterings(clusters, "McNemar")
    ]


def delong_rows(
    finding: str, scores: tuple[np.ndarray, np.ndarray], is_positive: np.ndarray, clusters: np.ndarray | None
) -> list[Difference]:
    """Return DeLong's test of a finding's AUROC by films and, with `clusters`, by patients; none where two are lacking.

    Args:
        finding: its name.
        scores: of the two classifiers, shape (N,) each.
        is_positive: bool, shape (N,).
        clusters: patient of each film, int64, shape (N,); None: each film is a patient's only one.
    """
    patients = np.arange(len(is_positive)) if clusters is None else clusters
    if min(len(np.unique(patients[side])) for side in (is_positive, ~is_positive)) < _FEWEST:
        return []
    found = []
    for some, test in _clusterings(clusters, "DeLong"):
        one = delong(*scores, is_positive, clusters=some)
        values, reason = (one.auroc_a, one.auroc_b, one.difference), None if one.p_value is not None else NO_CHANCE
        found.append(Difference(f"auroc of {finding}", *values, one.ci95, one.p_value, test, reason))
    return found


def _clusterings(clusters: np.ndarray | None, test: str) -> list[tuple[np.ndarray | None, str]]:
    if clusters is None:
        return [(None, test)]
    plain = (None, f"{test} by films")
    return [plain] if len(np.unique(clusters)) < _FEWEST else [plain, (clusters, f"{test} by patients")]

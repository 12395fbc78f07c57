"""Two classifiers on the same films or episodes: differences by a paired jackknife, McNemar's test and DeLong's."""

from dataclasses import replace

import numpy as np

from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.evaluation.comparison import Difference
from fewshot_cxr.evaluation.episodic.patients import paired_variances
from fewshot_cxr.evaluation.films.jackknife import jackknife_variance
from fewshot_cxr.evaluation.films.numbers import FilmNumbers
from fewshot_cxr.evaluation.replicates import Replicates
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.metrics import NUMBERS, delong, mcnemar, t_test
from fewshot_cxr.metrics.intervals import NO_CHANCE

EPISODES_ONLY = "interval over episodes only: it does not cover other patients"
_JACKKNIFE = "paired jackknife"
_FEWEST = 2


def film_differences(first: Answers, second: Answers) -> list[Difference]:
    """Return the differences between two sets of answers to the same films.

    The numbers over all findings: the difference of the two without each unit of patients, all of it anew (a paired
    delete-a-group jackknife), Student's t with the units less one degrees of freedom. Of films of one finding each,
    McNemar's test of the films decided rightly (of ties, those with over half of the decision). Then DeLong's test of
    each finding's AUROC over the films that state it. Both tests twice: by films, which takes those of a patient for
    independent as published tests do, and by patients (one line where each film is a patient's only one). DeLong's
    needs two patients with the finding and two without it.

    Args:
        first: of one classifier.
        second: of the other, of the same films, findings, truth and patients.
    """
    numbers = [_numbers(answers) for answers in (first, second)]
    rows = [_jackknifed(name, numbers[0][name], numbers[1][name]) for name in numbers[0] if name in numbers[1]]
    if first.is_exclusive:
        rows += _mcnemar_rows(first, second)
    else:
        rows = [row for row in rows if np.isfinite(row.difference)]
    if first.has_probabilities and second.has_probabilities:
        for index in range(len(first.findings)):
            rows += _delong_rows(first, second, index)
    return rows


def _numbers(answers: Answers) -> dict[str, np.ndarray]:
    """Return the numbers to compare, with everybody and without each unit, float64 (1 + n_units,) each."""
    found = FilmNumbers(answers)
    numbers = dict(found.numbers)
    if answers.is_exclusive and answers.has_probabilities:
        numbers["brier",] = found.brier(answers.probabilities)
    compared = [name for name, one in NUMBERS.items() if one.is_compared or not answers.is_exclusive]
    return {name: numbers[name,] for name in compared if (name,) in numbers}


def _jackknifed(number: str, first: np.ndarray, second: np.ndarray) -> Difference:
    gaps = first - second
    values, degrees = (float(first[0]), float(second[0])), len(gaps) - 2
    if degrees < 1 or not np.isfinite(gaps).all():
        reason = "too few patients for an interval"
        return Difference(number, *values, float(gaps[0]), None, None, _JACKKNIFE, reason)
    return _by_student(number, values, jackknife_variance(gaps), degrees, _JACKKNIFE)


def _by_student(number: str, values: tuple[float, float], variance: float, degrees: float, test: str) -> Difference:
    gap = values[0] - values[1]
    interval, p_value, reason = t_test(gap, variance, degrees)
    return Difference(number, *values, gap, interval, p_value, test, reason)


def _mcnemar_rows(first: Answers, second: Answers) -> list[Difference]:
    rows = np.arange(len(first))
    right = [answers.credits[rows, answers.true_ids] > 0.5 for answers in (first, second)]
    values = float(right[0].mean()), float(right[1].mean())
    return [
        Difference("share right", *values, values[0] - values[1], None, mcnemar(*right, clusters=some).p_value, test)
        for some, test in _clusterings(first.patient_ids, "McNemar")
    ]


def _delong_rows(first: Answers, second: Answers, index: int) -> list[Difference]:
    """Return DeLong's test of a finding's AUROC; none where two patients with it or without it are lacking."""
    truth, patients = first.truth[:, index], first.patient_ids
    is_stated = ~np.isnan(truth)
    scores = [answers.ranking_scores[is_stated, index] for answers in (first, second)]
    truth, patients = truth[is_stated], patients[is_stated]
    if min(len(np.unique(patients[truth == side])) for side in (0, 1)) < _FEWEST:
        return []
    found = []
    for clusters, test in _clusterings(patients, "DeLong"):
        one = delong(scores[0], scores[1], truth == 1, clusters=clusters)
        values, reason = (one.auroc_a, one.auroc_b, one.difference), None if one.p_value is not None else NO_CHANCE
        found.append(Difference(f"auroc of {first.findings[index]}", *values, one.ci95, one.p_value, test, reason))
    return found


def _clusterings(patients: np.ndarray, test: str) -> list[tuple[np.ndarray | None, str]]:
    """Return by what films are taken together, and the test's name: nothing, and patients where one has several."""
    n_patients = len(np.unique(patients))
    if n_patients == len(patients):
        return [(None, test)]
    plain = (None, f"{test} by films")
    return [plain] if n_patients < _FEWEST else [plain, (patients, f"{test} by patients")]


def episode_differences(first: Result, second: Result) -> list[Difference]:
    """Return the differences between two results of the same episodes.

    The patients' share comes from the replicates without each unit, by products of independent parts of the episodes,
    so that Monte-Carlo noise does not enter; the Monte-Carlo variance of the differences is added.
    """
    pair = first.replicates or Replicates(), second.replicates or Replicates()
    numbers = [number for number in pair[0].batches if number in pair[1].batches]
    overall = list(first.scores.overall)
    numbers.sort(key=lambda name: (overall.index(name) if name in overall else len(overall), name))
    return [
        _paired(number, (_value(first, pair[0], number), _value(second, pair[1], number)), *pair) for number in numbers
    ]


def _paired(number: str, values: tuple[float, float], first: Replicates, second: Replicates) -> Difference:
    gap = values[0] - values[1]
    shares = np.array(first.batches[number]) - np.array(second.batches[number])
    if len(shares) < 2:
        return Difference(number, *values, gap, None, None, "none", "one share of episodes gives no interval")
    influence = None
    if number in first.influence and number in second.influence:
        influence = np.array(first.influence[number]) - np.array(second.influence[number])
    over_episodes, in_all = paired_variances(shares, influence, first.n_patients)
    if in_all is not None:
        return _by_student(number, values, in_all, first.degrees, _JACKKNIFE)
    found = _by_student(number, values, over_episodes, len(shares) - 1, "paired over episodes")
    return replace(found, reason=found.reason or EPISODES_ONLY)


def _value(result: Result, replicates: Replicates, number: str) -> float:
    """Return the number that the replicates call so; where the result has no such one, the mean of its shares."""
    kind, _, finding = number.partition(" of ")
    estimate = None
    if number in result.scores.overall:
        estimate = result.scores.overall[number]
    elif number in ("ece", "brier") and result.calibration is not None:
        estimate = getattr(result.calibration.before, number)
    elif finding in result.scores.per_class:
        estimate = result.scores.per_class[finding].get(kind)
    if estimate is not None and estimate.mean is not None:
        return float(estimate.mean)
    return float(np.mean(replicates.batches[number]))

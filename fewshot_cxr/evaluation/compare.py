"""Two results on the same films: what differs by more than chance, paired film by film and patient by patient."""

from dataclasses import replace

import numpy as np

from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.evaluation.comparison import Comparison, Difference
from fewshot_cxr.evaluation.episodic.patients import paired_variances
from fewshot_cxr.evaluation.films.jackknife import jackknife_variance
from fewshot_cxr.evaluation.films.numbers import FilmNumbers
from fewshot_cxr.evaluation.result import COMMANDS, Result
from fewshot_cxr.evaluation.scores import Replicates
from fewshot_cxr.metrics import NUMBERS, delong, mcnemar, t_test
from fewshot_cxr.metrics.intervals import NO_CHANCE

EPISODES_ONLY = "interval over episodes only: it does not cover other patients"
_JACKKNIFE = "paired jackknife"
_FEWEST = 2


def compare_results(first: Result, second: Result, *, names: tuple[str, str] = ("A", "B")) -> Comparison:
    """Compare two results of one kind, on the same episodes (`episode_differences`) or the same films.

    Args:
        first: a result.
        second: another.
        names: what to call them.

    Raises:
        ValueError: the kinds, episodes, films, patients or findings differ.

    Examples:
        >>> from fewshot_cxr.evaluation import evaluate_closed_set
        >>> about = {"findings": ("covid19", "normal"), "truth": [0, 0, 1, 1], "paths": ("1", "2", "3", "4")}
        >>> first = evaluate_closed_set(Answers(**about, probabilities=[[0.75, 0.25]] * 2 + [[0.25, 0.75]] * 2))
        >>> second = evaluate_closed_set(Answers(**about, probabilities=[[0.75, 0.25]] * 4))
        >>> accuracy = compare_results(first, second, names=("ours", "always covid19")).rows[0]
        >>> accuracy.number, accuracy.first, accuracy.second, accuracy.difference
        ('accuracy', 1.0, 0.5, 0.5)
    """
    if isinstance(names, str) or len(names) != 2:
        raise ValueError(f"names must be two, one for each result, got {names!r}")
    for name, result in zip(names, (first, second), strict=True):
        if not isinstance(result, Result):
            raise TypeError(f"compare: {name} is no result of episode-eval or evaluate, got {type(result).__name__}")
    if first.kind != second.kind:
        raise ValueError(
            f"compare: {names[0]} is a result of {COMMANDS[first.kind]} and {names[1]} one of {COMMANDS[second.kind]}; "
            "compare two of one kind"
        )
    notes = []
    warnings = [f"{name}: {text}" for name, one in zip(names, (first, second), strict=True) for text in one.warnings]
    if first.episodes is not None and second.episodes is not None:
        _check_same_episodes(first, second, names)
        rows, common_hash = episode_differences(first, second), first.episodes.episodes_hash
        if any(row.reason == EPISODES_ONLY for row in rows):
            warnings.insert(0, f"some differences have an {EPISODES_ONLY}")
        if first.episodes.protocol.get("seen") != second.episodes.protocol.get("seen"):
            notes.append("the two encoders were trained on different findings")
    elif first.answers is not None and second.answers is not None:
        _check_same_films(first, second, names)
        rows, common_hash = film_differences(first.answers, second.answers), first.data_hash
    else:
        raise ValueError("compare: a result holds neither episodes nor answers film by film")
    if (n_tests := sum(row.p_value is not None for row in rows)) > 1:
        notes.insert(0, f"{n_tests} comparisons; the p-values are not adjusted for being several")
    if any(row.test.endswith("by films") for row in rows):
        notes.append("tests by films take films of one patient for independent; quote those by patients")
    return Comparison(
        results=first.kind,
        names=names,
        rows=tuple(rows),
        common_hash=common_hash,
        **{name: getattr(first, name) for name in ("n_films", "n_patients", "n_films_without_patient")},
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _check_same_episodes(first: Result, second: Result, names: tuple[str, str]) -> None:
    for what, one, other in (
        ("episodes", *(one.episodes.episodes_hash if one.episodes else "" for one in (first, second))),
        ("films", first.data_hash, second.data_hash),
    ):
        if one != other:
            raise ValueError(
                f"compare: {names[0]} was judged on other {what} than {names[1]} (hash {one[:12]} against "
                f"{other[:12]}); run both with --episodes-file FILE or the same seed and films"
            )
    if first.findings != second.findings:
        raise ValueError(f"compare: {names[0]} knows other findings than {names[1]}; embed both from one list of films")
    patients = [(one.replicates.units_hash, one.replicates.n_patients) for one in (first, second) if one.replicates]
    if len(set(patients)) > 1:
        raise ValueError(
            f"compare: {names[0]} knows other patients than {names[1]}; embed both from one list of films and patients"
        )
    if first.replicates and second.replicates and not first.replicates.have_shape_of(second.replicates):
        raise ValueError(
            f"compare: {names[0]} has replicates of another shape than {names[1]}; run both anew with one version"
        )


def _check_same_films(first: Result, second: Result, names: tuple[str, str]) -> None:
    if first.data_hash != second.data_hash:
        raise ValueError(
            f"compare: {names[0]} was judged on other films, findings or patients than {names[1]} (hash "
            f"{first.data_hash[:12]} against {second.data_hash[:12]}); run both on the same films with one list of "
            "patients"
        )
    if first.findings != second.findings:
        raise ValueError(
            f"compare: {names[0]} decided between {', '.join(first.findings)} and {names[1]} between "
            f"{', '.join(second.findings)}; give both the same findings"
        )
    stated = [np.isnan(one.answers.truth) for one in (first, second) if one.answers is not None]
    if not np.array_equal(*stated):
        raise ValueError(
            f"compare: {names[0]} takes other findings for not stated than {names[1]}; run both on one list of films"
        )


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
    why = FilmNumbers(first).why_no_mean()  # a question of the films alone, which are the same
    rows = [
        _jackknifed(name, numbers[0][name], numbers[1][name], why if name in NUMBERS and NUMBERS[name].is_mean else "")
        for name in numbers[0]
        if name in numbers[1]
    ]
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


def _jackknifed(number: str, first: np.ndarray, second: np.ndarray, reason: str = "") -> Difference:
    gaps = first - second
    values, degrees = (float(first[0]), float(second[0])), len(gaps) - 2
    if reason or degrees < 1 or not np.isfinite(gaps).all():
        reason = reason or "too few patients for an interval"
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

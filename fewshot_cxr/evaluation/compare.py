"""Two results on the same films: what differs by more than chance, paired film by film and patient by patient."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy

from fewshot_cxr.evaluation.closed_set.result import ClosedSetResult
from fewshot_cxr.evaluation.compare_closed import closed_differences
from fewshot_cxr.evaluation.comparison import NO_CHANCE, Comparison, Difference
from fewshot_cxr.evaluation.episodic.patients import paired_variances
from fewshot_cxr.evaluation.estimates import OVERALL
from fewshot_cxr.evaluation.multi_label.compare import multi_label_differences
from fewshot_cxr.evaluation.multi_label.result import MultiLabelResult
from fewshot_cxr.evaluation.results import EpisodicResult, Replicates
from fewshot_cxr.metrics import t_interval

Result = EpisodicResult | ClosedSetResult | MultiLabelResult

_RESULTS: dict[str, Callable[[Mapping[str, Any]], Result]] = {
    "episodes": EpisodicResult.from_json,
    "closed_set": ClosedSetResult.from_json,
    "multi_label": MultiLabelResult.from_json,
}
_COMMAND = {"episodes": "episode-eval", "closed_set": "evaluate", "multi_label": "evaluate (of several findings)"}
_EPISODES_ONLY = "interval over episodes only: it does not cover other patients"


def result_from_json(value: Any) -> Result:
    """Rebuild a result of episode-eval or evaluate.

    Raises:
        ValueError: it is neither, or a part of it is missing.
    """
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind not in _RESULTS:
        raise ValueError(f"this is no result of episode-eval or evaluate (kind {kind!r}); write one with --json FILE")
    try:
        result = _RESULTS[kind](value)
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"this result is not whole ({error!r}); run {_COMMAND[kind]} again") from error
    _check_plain(result)
    return result


def _check_plain(result: Result) -> None:
    """Refuse numbers and hashes that no evaluation writes."""
    again = "no evaluation writes that: run it again"
    numbers = {"mean_auroc": result.mean_auroc} if isinstance(result, MultiLabelResult) else vars(result.scores)
    for name in numbers.keys() & {"accuracy", "balanced_accuracy", "macro_f1", "auroc", "mean_auroc"}:
        mean = numbers[name].mean
        if mean is not None and not 0 <= mean <= 1:
            raise ValueError(f"{name} of this result is {mean}, a proportion 0..1 was expected; {again}")
    hashes = {"data_hash": result.data_hash}
    if isinstance(result, EpisodicResult):
        hashes["episodes_hash"] = result.episodes_hash
    for name, text in hashes.items():
        if not isinstance(text, str) or not text:
            raise ValueError(f"{name} of this result is {text!r}, a text was expected; {again}")


def compare_results(first: Result, second: Result, *, names: tuple[str, str] = ("A", "B")) -> Comparison:
    """Compare two results of one kind, on the same episodes or the same films.

    Episodes: the patients' share of the difference comes from the replicates without each unit, by products of
    independent parts of the episodes, so that Monte-Carlo noise does not enter; the Monte-Carlo variance of the
    differences is added. Closed set: see `closed_differences`; films of several findings: `multi_label_differences`.

    Args:
        first, second: results.
        names: what to call them.

    Raises:
        ValueError: the kinds, episodes, films, patients or findings differ.
    """
    if isinstance(names, str) or len(names) != 2:
        raise ValueError(f"names must be two, one for each result, got {names!r}")
    for name, result in zip(names, (first, second), strict=True):
        if not isinstance(result, Result):
            raise TypeError(f"compare: {name} is no result of episode-eval or evaluate, got {type(result).__name__}")
    kinds = [_kind(result) for result in (first, second)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"compare: {names[0]} is a result of {_COMMAND[kinds[0]]} and {names[1]} one of {_COMMAND[kinds[1]]}; "
            "compare two of one kind"
        )
    warnings: tuple[str, ...] = ()
    if isinstance(first, EpisodicResult) and isinstance(second, EpisodicResult):
        _check_same_episodes(first, second, names)
        rows, warnings = _episodic_differences(first, second, names)
        common_hash = first.episodes_hash
    elif isinstance(first, ClosedSetResult) and isinstance(second, ClosedSetResult):
        _check_same_films(first, second, names)
        rows, common_hash = closed_differences(first.decisions(), second.decisions()), first.data_hash
    elif isinstance(first, MultiLabelResult) and isinstance(second, MultiLabelResult):
        _check_same_films(first, second, names)
        rows, common_hash = multi_label_differences(first.answers(), second.answers()), first.data_hash
    carried = [f"{name}: {text}" for name, one in zip(names, (first, second), strict=True) for text in one.warnings]
    n_tests = sum(row.p_value is not None for row in rows)
    notes = [f"{n_tests} comparisons; the p-values are not adjusted for being several"] if n_tests > 1 else []
    trained = [one.protocol["seen"] for one in (first, second) if isinstance(one, EpisodicResult)]
    if trained and trained[0] != trained[1]:
        notes.append("the two encoders were trained on different findings")
    if any(row.test.endswith("by films") for row in rows):
        notes.append("tests by films take films of one patient for independent; quote those by patients")
    return Comparison(
        results=kinds[0],
        names=names,
        rows=tuple(rows),
        common_hash=common_hash,
        n_films=first.n_films,
        n_patients=first.n_patients,
        notes=tuple(notes),
        warnings=(*warnings, *carried),
    )


def _check_same_episodes(first: EpisodicResult, second: EpisodicResult, names: tuple[str, str]) -> None:
    for what, one, other in (
        ("episodes", first.episodes_hash, second.episodes_hash),
        ("films", first.data_hash, second.data_hash),
    ):
        if one != other:
            raise ValueError(
                f"compare: {names[0]} was judged on other {what} than {names[1]} (hash {one[:12]} against "
                f"{other[:12]}); run both with --episodes-file FILE or the same seed and films"
            )
    if first.findings != second.findings:
        raise ValueError(f"compare: {names[0]} knows other findings than {names[1]}; embed both from one list of films")


def _kind(result: Result) -> str:
    if isinstance(result, EpisodicResult):
        return "episodes"
    return "closed_set" if isinstance(result, ClosedSetResult) else "multi_label"


def _check_same_films(
    first: ClosedSetResult | MultiLabelResult, second: ClosedSetResult | MultiLabelResult, names: tuple[str, str]
) -> None:
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
    stated = [[film.truth for film in one.films] for one in (first, second) if isinstance(one, MultiLabelResult)]
    if stated and stated[0] != stated[-1]:
        raise ValueError(
            f"compare: {names[0]} takes other findings for not stated than {names[1]}; run both on one list of films"
        )


def _episodic_differences(
    first: EpisodicResult, second: EpisodicResult, names: tuple[str, str]
) -> tuple[list[Difference], tuple[str, ...]]:
    pair = first.replicates, second.replicates
    if (pair[0].units_hash, pair[0].n_patients) != (pair[1].units_hash, pair[1].n_patients):
        raise ValueError(
            f"compare: {names[0]} knows other patients than {names[1]}; embed both from one list of films and patients"
        )
    rows = []
    numbers = [number for number in pair[0].batches if number in pair[1].batches]
    for number in sorted(numbers, key=lambda name: (OVERALL.index(name) if name in OVERALL else len(OVERALL), name)):
        gap = _value(first, pair[0], number), _value(second, pair[1], number)
        rows.append(_paired_difference(number, gap, pair[0], pair[1]))
    left_to_episodes = any(row.reason == _EPISODES_ONLY for row in rows)
    return rows, (f"some differences have an {_EPISODES_ONLY}",) if left_to_episodes else ()


def _paired_difference(number: str, values: tuple[float, float], first: Replicates, second: Replicates) -> Difference:
    gap = values[0] - values[1]
    shares = np.array(first.batches[number]) - np.array(second.batches[number])
    if len(shares) < 2:
        return Difference(number, *values, gap, None, None, "none", "one share of episodes gives no interval")
    influence = None
    if number in first.influence and number in second.influence:
        influence = np.array(first.influence[number]) - np.array(second.influence[number])
    over_episodes, in_all = paired_variances(shares, influence, first.n_patients)
    if in_all is not None:
        return _difference(number, values, in_all, first.degrees, "paired jackknife")
    found = _difference(number, values, over_episodes, len(shares) - 1, "paired over episodes")
    return Difference(**{**vars(found), "reason": found.reason or _EPISODES_ONLY})


def _difference(number: str, values: tuple[float, float], variance: float, degrees: float, test: str) -> Difference:
    gap = values[0] - values[1]
    if variance <= 0:
        is_equal = gap == 0
        interval, p_value, reason = ((0.0, 0.0), 1.0, None) if is_equal else (None, None, NO_CHANCE)
        return Difference(number, *values, gap, interval, p_value, test, reason)
    p_value = float(2 * scipy.special.stdtr(degrees, -abs(gap) / variance**0.5))
    return Difference(number, *values, gap, t_interval(gap, variance, degrees), p_value, test)


def _value(result: EpisodicResult, replicates: Replicates, number: str) -> float:
    """Return the number that the replicates call so; where the result has no such one, the mean of its shares."""
    kind, _, finding = number.partition(" of ")
    estimate = None
    if number in OVERALL:
        estimate = getattr(result.scores, number)
    elif number in ("ece", "brier") and result.calibration is not None:
        estimate = getattr(result.calibration.before, number)
    elif finding in result.scores.per_class:
        estimate = result.scores.per_class[finding].get(kind)
    if estimate is not None and estimate.mean is not None:
        return float(estimate.mean)
    return float(np.mean(replicates.batches[number]))

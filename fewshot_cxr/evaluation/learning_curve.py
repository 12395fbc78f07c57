"""How many labelled films are enough? The same episodes at several numbers of shots, and what more films would buy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_list, check_whole
from fewshot_cxr._progress import Auto, Bar, bar_of
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes
from fewshot_cxr.evaluation.episodic.evaluate import evaluate_plan
from fewshot_cxr.evaluation.episodic.plan import Plan
from fewshot_cxr.evaluation.episodic.protocols import plan_episodes
from fewshot_cxr.evaluation.forecast import Growth, curve_covariance, forecast, refused
from fewshot_cxr.evaluation.learning_curve_result import CurvePoint, Forecast, LearningCurve, LeftOut
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.metrics import Estimate

SHOTS = (1, 2, 5, 10, 20)
N_QUERY = 10
_PROBE = 256  # episodes that must be there before a number of shots is taken on
_STEPS = (5, 10, 15, 20)  # films more than were measured, of the forecast


def measure_learning_curve(
    films: Embeddings,
    *,
    shots: Sequence[int] = SHOTS,
    seen: Sequence[str] | None = None,
    novel: Sequence[str] = (),
    may_support: np.ndarray | None = None,
    may_query: np.ndarray | None = None,
    n_way: int | None = None,
    n_query: int = N_QUERY,
    n_episodes: int = 1000,
    ahead: Sequence[int] | None = None,
    seed: int = 0,
    rule: str = "mean_distance",
    distance: str | None = None,
    rule_options: Mapping[str, Any] | None = None,
    n_patient_episodes: int | None = None,
    device: str = "auto",
    progress: Bar | Auto | None = "auto",
) -> LearningCurve:
    """Evaluate a rule at several numbers of shots, on nested draws, and say what more films would bring.

    Every episode is drawn for the largest number of shots that the patients allow; with fewer shots it shows the first
    of these support films and asks the very same queries. So points differ by the films that were added, and by nothing
    else. No patient is on both sides.

    Args:
        films: embeddings of one finding each.
        shots: support films of each finding, distinct; those that the patients do not allow are listed and left out.
        seen: findings that the encoder was trained on; None: not known.
        novel: findings that it was not trained on; (): all that are not in `seen`.
        may_support: which films may be support, bool, shape (N,); None: all.
        may_query: which may be asked; None: all.
        n_way: findings in an episode; None: all.
        n_query: films to classify of each finding.
        n_episodes: how many.
        ahead: shots to forecast; those up to the largest that can be measured are passed over. None: in steps up to 20
            more than that one.
        seed: of the episodes.
        rule: a name in RULES.
        distance: a name in DISTANCES; None: that of the embeddings' encoder, else euclidean.
        rule_options: further keyword arguments of the rule.
        n_patient_episodes: episodes that the intervals over patients are read off; see `evaluate_plan`.
        device: "auto", "cpu", "cuda" or "cuda:N".
        progress: called with (episodes done, in all); "auto": a bar in a terminal or a notebook; None: nothing.

    Raises:
        ValueError: films of several findings, no number of shots that the patients allow, or as for `plan_episodes`.

    Examples:
        >>> films = Embeddings([[n % 2, 0.01 * n] for n in range(12)], ["normal", "covid19"] * 6)
        >>> options = {"n_query": 2, "n_episodes": 10, "n_patient_episodes": 100, "progress": None}
        >>> curve = measure_learning_curve(films, shots=(1, 2, 5), **options)
        >>> [(point.n_shot, point.accuracy.mean) for point in curve.points], [one.n_shot for one in curve.left_out]
        ([(1, 1.0), (2, 1.0)], [5])
    """
    start, wanted = perf_counter(), _checked_shots(shots)
    asked_ahead = None if ahead is None else _checked_shots(ahead, "ahead")
    films, sides = _of_sides(films, may_support, may_query)
    plan = _plan(films, seen=seen, novel=novel, n_way=n_way, n_query=n_query, n_episodes=n_episodes, seed=seed)
    plan, allowed, left_out = _largest(plan, wanted, sides)
    options: dict[str, Any] = {"rule": rule, "distance": distance, "rule_options": rule_options, "device": device}
    options |= {"n_patient_episodes": n_patient_episodes}
    bar, results = bar_of(progress, "episodes"), {}
    for place, n_shot in enumerate(allowed):
        own = replace(plan, episodes=replace(_drawn(plan), n_shot=n_shot))
        report = bar and partial(_report, bar, place, len(allowed))
        results[n_shot] = evaluate_plan(films, own, **options, progress=report)
    first, told = results[allowed[0]], tuple(novel) or plan.novel
    asked = np.flatnonzero(sides["may_query"])
    return LearningCurve(
        points=tuple(_point(n_shot, result) for n_shot, result in results.items()),
        left_out=left_out,
        forecasts=tuple(_forecasts(results, _patients(films.take(asked), told), asked_ahead)),
        findings=tuple(name for name in first.findings if name in first.scores.per_class),
        novel=told,
        rule=first.rule,
        distance=first.distance or "",
        n_way=first.asked.n_way,
        n_query=n_query,
        n_episodes=n_episodes,
        n_films=len(films),
        n_support_films=int(sides["may_support"].sum()),
        n_query_films=len(asked),
        n_patients=first.n_patients,
        n_films_without_patient=first.n_films_without_patient,
        seed=seed,
        seconds=perf_counter() - start,
        data_hash=first.data_hash,
        notes=tuple(dict.fromkeys(note for result in results.values() for note in result.notes)),
        warnings=tuple(dict.fromkeys(text for result in results.values() for text in result.warnings)),
    )


def _checked_shots(shots: Sequence[int], name: str = "shots") -> list[int]:
    check_list(shots, name)
    for n_shot in shots:
        check_whole(n_shot, name, 1)
    if len(set(shots)) < len(shots) or not (shots or name == "ahead"):
        raise ValueError(f"{name} must hold distinct numbers, one at least, got {list(shots)}")
    return sorted(map(int, shots))


def _of_sides(
    films: Embeddings, may_support: np.ndarray | None, may_query: np.ndarray | None
) -> tuple[Embeddings, dict[str, np.ndarray]]:
    """Return the films of either side, and who may stand on which: patients of no side say nothing of an interval."""
    everyone = np.ones(len(films), dtype=bool)
    sides = {"may_support": may_support, "may_query": may_query}
    masks = {name: everyone if mask is None else np.asarray(mask, dtype=bool) for name, mask in sides.items()}
    for name, mask in masks.items():
        if mask.shape != (len(films),):
            raise ValueError(f"{name} must say of each of {len(films)} films whether it may, got shape {mask.shape}")
    used = np.flatnonzero(masks["may_support"] | masks["may_query"])
    return films.take(used), {name: mask[used] for name, mask in masks.items()}


def _plan(films: Embeddings, *, n_way: int | None, seen: Sequence[str] | None, **asked: Any) -> Plan:
    """Plan episodes that hold the new findings and, as far as the ways go, the old ones."""
    if films.is_multi_label:
        raise ValueError("a learning curve needs films of one finding each, and these may have several")
    present = [films.class_names[class_id] for class_id in np.unique(films.class_ids).tolist()]
    has_novel = bool(asked["novel"]) or (seen is not None and any(name not in seen for name in present))
    protocol = "novel" if has_novel else "auto"
    n_way = len(present) if n_way is None else n_way
    return plan_episodes(films, protocol=protocol, n_way=n_way, n_shot=1, seen=seen, **asked)


def _drawn(plan: Plan) -> Episodes:
    if not isinstance(plan.episodes, Episodes):
        raise TypeError(f"a learning curve draws its episodes, got {type(plan.episodes).__name__}")
    return plan.episodes


def _largest(plan: Plan, shots: Sequence[int], masks: Mapping[str, Any]) -> tuple[Plan, list[int], tuple[LeftOut, ...]]:
    """Nest the episodes in the largest number of shots that the patients allow; return what is left out, and why."""
    left_out: list[LeftOut] = []
    for number in range(len(shots), 0, -1):
        n_shot = shots[number - 1]
        try:
            nested = replace(_drawn(plan), n_shot=n_shot, nested_in=n_shot, **masks)
            nested.block(0, min(_PROBE, nested.n_episodes))
        except ValueError as error:
            left_out.insert(0, LeftOut(n_shot, str(error)))
            continue
        return replace(plan, episodes=nested), list(shots[:number]), tuple(left_out)
    raise ValueError(f"no number of shots can be measured: {left_out[0].reason}")


def _report(bar: Bar, place: int, n_places: int, done: int, total: int) -> None:
    bar(place * total + done, n_places * total)


def _point(n_shot: int, result: Result) -> CurvePoint:
    return CurvePoint(n_shot, result.accuracy, result.per_class_recall, result.asked.episodes_hash)


def _forecasts(
    results: Mapping[int, Result], patients_of: Mapping[str, int], ahead: Sequence[int] | None
) -> Iterator[Forecast]:
    """Carry accuracy on, and the recall of each finding in `patients_of`, which holds its number of patients."""
    largest = max(results)
    asked = [largest + step for step in _STEPS] if ahead is None else [n_shot for n_shot in ahead if n_shot > largest]
    estimates = {"accuracy": {n_shot: result.accuracy for n_shot, result in results.items()}}
    for name in patients_of:
        estimates[f"recall of {name}"] = {n_shot: result.per_class_recall[name] for n_shot, result in results.items()}
    for number, measured in estimates.items():
        n_own = patients_of.get(number.removeprefix("recall of "))
        growth = _growth(results, measured, number.replace("recall", "sensitivity"), n_own)
        for n_shot in asked:
            one = refused(growth) if isinstance(growth, str) else forecast(growth, n_shot)
            yield Forecast(number, n_shot, one.value, one.gain)


def _patients(films: Embeddings, findings: Sequence[str]) -> dict[str, int]:
    """Return how many patients some findings have."""
    of_finding = {name: films.class_ids == films.class_names.index(name) for name in findings}
    return {name: len(np.unique(films.patient_ids[is_own])) for name, is_own in of_finding.items()}


def _growth(
    results: Mapping[int, Result], measured: Mapping[int, Estimate], key: str, n_own: int | None
) -> Growth | str:
    """Return a number at all shots with what varies in it, or why that is not known."""
    replicates = [result.replicates for result in results.values() if result.replicates is not None]
    for one in measured.values():
        if one.mean is None or one.ci95 is None:
            return one.reason or "it is not known how sure the measured values are"
    influences = [np.array(one.influence[key]) for one in replicates]
    batches = [np.array(one.batches[key]) for one in replicates]
    return Growth(
        shots=tuple(measured),
        values=np.array([one.value for one in measured.values()]),
        covariance=curve_covariance(influences, batches, replicates[0].n_patients),
        degrees=min(replicates[0].degrees, (n_own or replicates[0].n_patients) - 1),
        n_patients=n_own or replicates[0].n_patients,
        is_rising=n_own is None,
    )

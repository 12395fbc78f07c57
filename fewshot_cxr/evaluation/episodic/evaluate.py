"""Episodes on cached embeddings: each film was embedded once, an episode is indexing and arithmetic."""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_at_least, lookup, renamed
from fewshot_cxr._progress import Auto, Bar, bar_of
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodeSource
from fewshot_cxr.evaluation.episodic.assemble import assemble
from fewshot_cxr.evaluation.episodic.calibrate import fit_on_episodes, fit_on_supports
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.evaluation.episodic.multi_label import MultiLabelScorer
from fewshot_cxr.evaluation.episodic.passes import AnyScorer, plan_patient_pass, run_episodes, run_patients
from fewshot_cxr.evaluation.episodic.patients import PatientPlan, PatientUnits
from fewshot_cxr.evaluation.episodic.plan import Plan
from fewshot_cxr.evaluation.episodic.protocols import plan_episodes
from fewshot_cxr.evaluation.episodic.scorer import Scorer
from fewshot_cxr.evaluation.episodic.summary import Summary
from fewshot_cxr.evaluation.episodic.tally import MOST_FINDINGS, Layout
from fewshot_cxr.evaluation.episodic.threads import Clock
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.evaluation.scores import EXEMPLARS, UNFITTED
from fewshot_cxr.inference.rules import RULES

N_PATIENT_EPISODES = 5000


def evaluate_episodes(
    embeddings: Embeddings,
    *,
    protocol: str = "auto",
    seen: Sequence[str] | None = None,
    novel: Sequence[str] = (),
    unknown: Sequence[str] = (),
    support_source: str | None = None,
    query_source: str | None = None,
    n_folds: int | None = None,
    n_repeats: int | None = None,
    n_way: int | None = None,
    n_shot: int | Mapping[str, int] | None = None,
    n_query: int | None = None,
    n_episodes: int | None = None,
    prevalence: str | None = None,
    if_too_small: str | None = None,
    allow_patient_overlap: bool | None = None,
    seed: int = 0,
    rule: str = "mean_distance",
    distance: str | None = None,
    rule_options: Mapping[str, Any] | None = None,
    baselines: Embeddings | Mapping[str, Embeddings] | None = None,
    calibrate: Embeddings | None = None,
    patient_interval: bool = True,
    device: str = "auto",
    progress: Bar | Auto | None = "auto",
    floor: Embeddings | Mapping[str, Embeddings] | None = None,
) -> Result:
    """Classify the queries of many few-shot episodes and average; see `evaluate_plan` for what is returned.

    Args:
        embeddings: one row per film, with findings and patients (`embed` makes them).
        protocol: which findings and films are in an episode, a name in PROTOCOLS; see `plan_episodes`.
        seen: findings that the encoder was trained on; None: not known.
        novel: findings that it was not trained on; (): all that are not in `seen`.
        unknown: findings that are in no episode, but asked as "none of these".
        support_source: source of the support films of "cross_source".
        query_source: source of its queries; None: all others.
        n_folds: parts of the support set of "fixed_support".
        n_repeats: how often it is parted.
        n_way: classes in an episode; None: all that the protocol has.
        n_shot: support films of each class, or of each class by name; None: 5.
        n_query: films to classify of each class, none of a support film's patient; None: 15.
        n_episodes: how many; None: 1000.
        prevalence: "balanced" or "natural" numbers of queries; None: balanced.
        if_too_small: what becomes of a finding with too few films; see `Episodes.draw`.
        allow_patient_overlap: let a patient be on both sides, to show what that does.
        seed: of the episodes.
        rule: how a query is classified, a name in RULES.
        distance: a name in DISTANCES; None: the one that the embeddings' encoder was trained with, else euclidean.
        rule_options: further keyword arguments of the rule, such as the weights of `template`.
        baselines: other embeddings of the same films, classified more simply; see `evaluate_plan`.
        calibrate: films outside the test that a temperature is fitted on; None: none is.
        patient_interval: whether to estimate the interval over patients.
        device: "auto", "cpu", "cuda" or "cuda:N".
        progress: called with (episodes done, in all); "auto": a bar in a terminal or a notebook; None: nothing.
        floor: the name of `baselines` before.

    Raises:
        ValueError: as for `plan_episodes` and `evaluate_plan`.

    Examples:
        >>> films = Embeddings([[n % 2, 0.01 * n] for n in range(12)], ["normal", "covid19"] * 6)
        >>> result = evaluate_episodes(films, n_shot=1, n_query=2, n_episodes=10, patient_interval=False, progress=None)
        >>> result.accuracy.mean, result.asked.n_way
        (1.0, 2)
    """
    lookup(RULES, rule, what="rule")
    baselines = renamed(floor, baselines, "floor", "baselines")
    plan = plan_episodes(
        embeddings,
        protocol=protocol,
        seen=seen,
        novel=novel,
        unknown=unknown,
        support_source=support_source,
        query_source=query_source,
        n_folds=n_folds,
        n_repeats=n_repeats,
        n_way=n_way,
        n_shot=n_shot,
        n_query=n_query,
        n_episodes=n_episodes,
        prevalence=prevalence,
        if_too_small=if_too_small,
        allow_patient_overlap=allow_patient_overlap,
        seed=seed,
    )
    return evaluate_plan(
        embeddings,
        plan,
        rule=rule,
        distance=distance,
        rule_options=rule_options,
        baselines=baselines,
        calibrate=calibrate,
        patient_interval=patient_interval,
        device=device,
        progress=bar_of(progress, "episodes"),
    )


def evaluate_plan(
    embeddings: Embeddings,
    plan: Plan,
    *,
    rule: str = "mean_distance",
    distance: str | None = None,
    rule_options: Mapping[str, Any] | None = None,
    baselines: Embeddings | Mapping[str, Embeddings] | None = None,
    calibrate: Embeddings | None = None,
    patient_interval: bool = True,
    n_patient_episodes: int | None = None,
    device: str = "auto",
    progress: Bar | None = None,
    floor: Embeddings | Mapping[str, Embeddings] | None = None,
) -> Result:
    """Evaluate one rule in planned episodes: drawn, replayed from a file, or the folds of a support set.

    Args:
        embeddings: the films that the plan was made for.
        plan: of `plan_episodes`, or one around `SavedEpisodes`.
        rule: a name in RULES.
        distance: a name in DISTANCES; None: the one that the embeddings' encoder was trained with, else euclidean.
        rule_options: further keyword arguments of the rule, such as the weights of `template`.
        baselines: other embeddings of the SAME films in the same order, by name (pixels, border, source; one without a
            name: pixels), classified by nearest centroid (the rule `prototype`, euclidean) in the same episodes.
        calibrate: films outside the test that a temperature is fitted on; None: no `calibration.after`.
        patient_interval: whether to estimate the interval over patients.
        n_patient_episodes: its own number of episodes; None: 5,000, or 1,000 where films may have several findings.
        device: "auto", "cpu", "cuda" or "cuda:N".
        progress: called with (episodes done, episodes in all).
        floor: the name of `baselines` before.

    Returns:
        All numbers of one pass, each with its interval over patients and over episodes.

    Raises:
        ValueError: unknown rule or distance; embeddings that are all the same; films that are not those they must be.
    """
    baselines = renamed(floor, baselines, "floor", "baselines")
    distance = distance or embeddings.distance or "euclidean"
    lookup(RULES, rule, what="rule")
    lookup(DISTANCES, distance, what="distance")
    if n_patient_episodes is None:
        n_patient_episodes = N_PATIENT_EPISODES // 5 if embeddings.is_multi_label else N_PATIENT_EPISODES
    check_at_least(n_patient_episodes, 100, "n_patient_episodes")
    baselines = {"pixels": baselines} if isinstance(baselines, Embeddings) else dict(baselines or {})
    _check_films(embeddings, baselines, plan)
    own = FilmRule(embeddings, rule=rule, distance=distance, options=rule_options, device=device)
    scorers = {"": _scorer(own, plan, calibrate), **_baseline_scorers(baselines, device)}
    units = PatientUnits.of(embeddings)
    patients = PatientPlan(None, reason=f"the interval {units.over} was not asked for")
    if patient_interval:
        patients = plan_patient_pass(plan.episodes, embeddings, units, n_patient_episodes)
    n_own = 0 if patients.episodes is None else patients.episodes.n_episodes
    count = _Counter(plan.episodes.n_episodes + n_own, progress)
    clock, start = Clock(), perf_counter()
    sums = run_episodes(plan.episodes, scorers, clock, count)
    seconds = _seconds(perf_counter() - start, clock, scorers)
    start = perf_counter()
    tallies = run_patients(patients, units, scorers, count)
    seconds["patients"] = perf_counter() - start
    summaries = {
        name: Summary(scorer.layout, sums[name], tallies.get(name), units, patients) for name, scorer in scorers.items()
    }
    return assemble(plan, scorers[""], summaries, patients=patients, seconds=seconds)


class _Counter:
    """Turn blocks done into calls of `progress`."""

    def __init__(self, n_all: int, progress: Bar | None) -> None:
        self._n_all, self._n_done, self._progress = n_all, 0, progress

    def __call__(self, n_more: int) -> None:
        self._n_done = min(self._n_done + n_more, self._n_all)
        if self._progress is not None:
            self._progress(self._n_done, self._n_all)


def _seconds(elapsed: float, clock: Clock, scorers: Mapping[str, AnyScorer]) -> dict[str, float]:
    """Say where the time went; the draw runs beside the rest, and baselines do not count as episodes' time."""
    on_baselines = sum(sum(scorer.clock.seconds.values()) for name, scorer in scorers.items() if name)
    return {"episodes": elapsed - on_baselines, "floors": on_baselines, **clock.seconds, **scorers[""].clock.seconds}


def _baseline_scorers(baselines: Mapping[str, Embeddings], device: str) -> dict[str, AnyScorer]:
    """Classify by nearest centroid; only accuracy is wanted, so the confusion of each episode is left out."""
    rules = {
        name: FilmRule(films, rule="prototype", distance="euclidean", device=device)
        for name, films in baselines.items()
    }
    return {name: Scorer(rule, Layout(rule.films.class_names, is_wide=True)) for name, rule in rules.items()}


def _scorer(rule: FilmRule, plan: Plan, calibrate: Embeddings | None) -> AnyScorer:
    films = rule.films
    if films.is_multi_label:
        if calibrate is not None:
            raise ValueError("calibration needs one finding per film, and these may have several; leave calibrate out")
        return MultiLabelScorer(rule)
    own = fit_on_supports(rule, plan.episodes)
    temperatures: tuple[float, ...] = (own or 1.0,)
    if calibrate is not None:
        temperatures += (fit_on_episodes(calibrate, rule, plan.episodes),)
    findings = films.class_names
    probe = plan.episodes.block(0, 1)
    is_mixed = plan.protocol == "generalized"
    layout = Layout(
        findings,
        is_wide=len(findings) > MOST_FINDINGS,
        n_temperatures=len(temperatures),
        has_outside=probe.outside is not None,
        seen=tuple(findings.index(name) for name in plan.seen) if is_mixed else (),
        novel=tuple(findings.index(name) for name in plan.novel) if is_mixed else (),
    )
    return Scorer(rule, layout, temperatures, UNFITTED if own is None else EXEMPLARS)


def _check_films(embeddings: Embeddings, baselines: Mapping[str, Embeddings], plan: Plan) -> None:
    if not isinstance(plan, Plan):
        raise TypeError(f"plan must be a Plan of plan_episodes, got {type(plan).__name__}")
    if plan.episodes.class_names != embeddings.class_names:
        raise ValueError(
            f"the plan is for films of {', '.join(plan.episodes.class_names)}, the embeddings have "
            f"{', '.join(embeddings.class_names)}; plan the episodes on these embeddings"
        )
    if embeddings.is_multi_label and baselines:
        raise ValueError("baselines need films of one finding each, and these may have several; leave baselines out")
    if (embeddings.vectors == embeddings.vectors[0]).all():
        named = f" ({embeddings.paths[0]})" if embeddings.paths is not None else ""
        raise ValueError(
            f"row 0{named} and every other row of the embeddings are one and the same vector: a collapsed encoder? "
            "Train with a lower learning rate or another loss"
        )
    _check_episodes(embeddings, plan.episodes)
    for name, films in baselines.items():
        if not name:
            raise ValueError("a baseline has no name; name each, such as pixels")
        if not _are_same_films(embeddings, films):
            raise ValueError(f"baseline {name!r} must hold the same films in the same order as embeddings")


def _are_same_films(first: Embeddings, second: Embeddings) -> bool:
    facts = (first.class_names, first.paths) == (second.class_names, second.paths)
    same = np.array_equal(first.class_ids, second.class_ids, equal_nan=first.is_multi_label)
    return facts and same and np.array_equal(first.patient_ids, second.patient_ids)


def _check_episodes(embeddings: Embeddings, episodes: EpisodeSource) -> None:
    """See that the first episodes ask for films that are there, and have the findings they are drawn for."""
    block = next(episodes.blocks(256))
    for side in (block.support, block.query):
        class_ids = np.broadcast_to(block.class_ids[:, :, None], side.shape)[side >= 0]
        rows = side[side >= 0]
        is_there = rows < len(embeddings)
        if is_there.all():
            found = embeddings.class_ids[rows]
            if embeddings.is_multi_label:
                found = np.where(found[np.arange(len(rows)), class_ids] == 1, class_ids, -1)
            is_there = found == class_ids
        if not is_there.all():
            raise ValueError(
                "the plan's episodes were drawn from other films than these embeddings; plan them on these"
            )

"""Put a result together: numbers with their intervals, and what a reader must know before believing them."""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation.answers import data_hash
from fewshot_cxr.evaluation.episodic.multi_label import MultiLabelScorer
from fewshot_cxr.evaluation.episodic.passes import AnyScorer
from fewshot_cxr.evaluation.episodic.patients import PatientPlan
from fewshot_cxr.evaluation.episodic.plan import Plan
from fewshot_cxr.evaluation.episodic.summary import Summary, paired_difference
from fewshot_cxr.evaluation.episodic.tally import BIN_SUMS, OF_FINDING, OPEN_SCORES, Key
from fewshot_cxr.evaluation.result import EpisodeFacts, Result
from fewshot_cxr.evaluation.scores import OTHER_FILMS, Calibration, OpenSet, Reliability, Scores, reliability_points
from fewshot_cxr.evaluation.warning_texts import OVERLAP, baseline_warning, sources_apart
from fewshot_cxr.inference.rules import EVEN, OWN_DISTANCE, TRANSDUCTIVE
from fewshot_cxr.metrics import Cells, Estimate, numbers_in
from fewshot_cxr.unknown_patients import unknown_warning

_FEW_PATIENTS = 10
_NOT_CALIBRATED = "no films outside the test were named for it (--calibrate-split, or calibrate=)"
_NOTHING_OUTSIDE = "no finding is left outside the episodes: take fewer ways (--n-way), or name one (--unknown)"


def assemble(
    plan: Plan,
    scorer: AnyScorer,
    summaries: Mapping[str, Summary],
    *,
    patients: PatientPlan,
    seconds: Mapping[str, float],
) -> Result:
    """Make the result of the scorer's summary, named "", and of the baselines' summaries, by their names."""
    summary, films, rule = summaries[""], scorer.rule.films, scorer.rule.rule.name
    baselines = {name: one for name, one in summaries.items() if name}
    episodes, shape = plan.episodes, plan.episodes.to_json()
    above = {name: paired_difference(summary, one, "accuracy") for name, one in baselines.items()}
    kept = [name for name in ("seen", "novel", "harmonic_mean") if ("seen_and_novel", name) in summary]
    notes = (*plan.notes, *episodes.notes, *([patients.note] if patients.note else []))
    return Result(
        kind="episodes",
        scores=scores_of(summary, scorer.confusion),
        episodes=EpisodeFacts(
            protocol={"name": plan.protocol, "seen": list(plan.seen), "novel": list(plan.novel), **shape},
            n_way=episodes.block(0, 1).class_ids.shape[1],
            n_shot=shape.get("n_shot"),
            n_query=shape.get("n_query"),
            n_episodes=episodes.n_episodes,
            n_patient_episodes=0 if patients.episodes is None else patients.episodes.n_episodes,
            seed=int(shape["seed"]),
            episodes_hash=episodes.hash,
            episodes_per_second=episodes.n_episodes / seconds["episodes"],
            seconds=dict(seconds),
            seen_and_novel={name: summary.estimate("seen_and_novel", name) for name in kept},
        ),
        replicates=summary.replicates(),
        calibration=_calibration(scorer, summary),
        open_set=_open_set(plan, scorer, summary),
        open_set_reason=_why_no_open_set(scorer),
        confusion=tuple(tuple(row) for row in scorer.confusion.tolist()),
        findings=scorer.layout.findings,
        rule=rule,
        distance=OWN_DISTANCE.get(rule, scorer.rule.rule.distance),
        is_transductive=rule in TRANSDUCTIVE,
        data_hash=data_hash(films),
        n_films=len(films),
        n_patients=summary.units.n_patients,
        n_films_without_patient=summary.units.n_films_without_patient,
        baselines={name: one.estimate("accuracy") for name, one in baselines.items()},
        above_baselines=above,
        notes=notes,
        warnings=tuple(_warnings(films, plan, summary, above, rule=rule)),
    )


def scores_of(summary: Summary, confusion: np.ndarray) -> Scores:
    """Take the scores out of a summary; what it does not hold comes from the confusion matrix, without intervals."""
    cells = Cells(torch.from_numpy(confusion))

    @cache
    def values(make: Callable[[Cells], Tensor]) -> Tensor:  # once, and not for each of many findings
        return make(cells)

    def score(key: Key, make: Callable[[Cells], Tensor] | None, *place: int) -> Estimate:
        if key in summary:
            return summary.estimate(*key)
        mean = float(values(make)[place]) if make is not None and confusion.size else np.nan
        return Estimate(mean if np.isfinite(mean) else None, reason=summary.layout.why_absent)

    per_class = {
        finding: {
            name: score((OF_FINDING, finding, name), number.of_finding, class_id)
            for name, number in numbers_in("finding").items()
        }
        for class_id, finding in enumerate(summary.layout.findings)
        if class_id in summary.units.patients_of_class
    }
    asked = {name: row for name, row in per_class.items() if row["sensitivity"].mean is not None}
    return Scores({name: score((name,), number.overall) for name, number in numbers_in("overall").items()}, asked)


def _calibration(scorer: AnyScorer, summary: Summary) -> Calibration | None:
    if isinstance(scorer, MultiLabelScorer):
        return None
    means = scorer.layout.split(torch.from_numpy(np.asarray(summary.means)))

    def reliability(number: int, basis: str) -> Reliability:
        return Reliability(
            ece=summary.estimate("calibration", str(number), "ece"),
            brier=summary.estimate("calibration", str(number), "brier"),
            temperature=scorer.temperatures[number],
            bins=reliability_points(*(means[f"{name}{number}"].numpy() for name in BIN_SUMS)),
            basis=basis,
        )

    if len(scorer.temperatures) == 1:
        return Calibration(reliability(0, scorer.basis), None, _NOT_CALIBRATED)
    return Calibration(reliability(0, scorer.basis), reliability(1, OTHER_FILMS))


def _open_set(plan: Plan, scorer: AnyScorer, summary: Summary) -> OpenSet | None:
    if isinstance(scorer, MultiLabelScorer) or not scorer.layout.has_outside:
        return None
    outside = plan.episodes.block(0, min(256, plan.episodes.n_episodes)).outside
    films = scorer.rule.films
    asked = [] if outside is None else np.unique(films.class_ids[np.unique(outside)]).tolist()
    return OpenSet(
        scores={
            score: {name: summary.estimate("open_set", score, name) for name in ("auroc", "fpr_at_95_tpr")}
            for score in OPEN_SCORES
        },
        risk_coverage=scorer.mean_risks(),
        area=summary.estimate("open_set", "area"),
        findings=tuple(films.class_names[index] for index in asked),
    )


def _why_no_open_set(scorer: AnyScorer) -> str | None:
    if isinstance(scorer, MultiLabelScorer):
        return scorer.layout.why_absent
    return None if scorer.layout.has_outside else _NOTHING_OUTSIDE


def _warnings(
    films: Embeddings, plan: Plan, summary: Summary, above: Mapping[str, Estimate], *, rule: str
) -> list[str]:
    unknown = unknown_warning(summary.units.n_films_without_patient, len(films))
    told = [unknown] if unknown else []
    if plan.episodes.to_json().get("allow_patient_overlap"):
        told.append(OVERLAP)
    if rule in TRANSDUCTIVE:
        told.append("transductive: the rule saw all queries of an episode at once; one film alone is scored otherwise")
    if rule in EVEN and plan.episodes.to_json().get("prevalence") == "natural":
        told.append(f"{rule} expects as many queries of each finding, which these episodes do not have")
    names = films.class_names
    few = {names[c]: n for c, n in summary.units.patients_of_class.items() if n < _FEW_PATIENTS}
    if few:
        counts = ", ".join(f"{name} {number}" for name, number in few.items())
        who = "films" if summary.units.over.startswith("over films") else "patients"
        told.append(f"few {who} ({counts}): the interval {summary.units.over} is itself uncertain")
    told += [words] if (words := sources_apart(films)) else []
    return told + [words for name, gap in above.items() if (words := baseline_warning(name, gap))]

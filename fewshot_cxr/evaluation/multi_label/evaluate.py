"""Films that may show several findings: each finding judged for itself, with intervals over patients."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.evaluation.closed_set.numbers import RANKING, jackknife_variance
from fewshot_cxr.evaluation.episodic.patients import PatientUnits
from fewshot_cxr.evaluation.multi_label.numbers import (
    FindingValues,
    answer_units,
    finding_values,
    mean_values,
)
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.evaluation.scores import OF_SEVERAL, Scores
from fewshot_cxr.metrics import Estimate, bounded_interval

_FEWEST = 2
_BOTH_SIDES = "films with {0} and films without it are needed"
_UNDEFINED = {
    "auroc": _BOTH_SIDES,
    "auprc": _BOTH_SIDES,
    "sensitivity": "no film shows {0}",
    "specificity": "no film is without {0}",
    "accuracy": "no film states {0}",
    "prevalence": "no film states {0}",
}


def evaluate_multi_label(
    findings: Sequence[str], probabilities: Any, truth: Any, patient_ids: Any, paths: Sequence[str]
) -> Result:
    """Judge a classifier that tells each finding for itself.

    A film counts for the findings that it states. The intervals say where the numbers would lie with other patients
    and the same classifier: a delete-a-group jackknife of each number, over the patients, or over 200 groups of them
    where they are more.

    Args:
        findings: names of the columns.
        probabilities: of each finding, 0..1, shape (N, n_findings).
        truth: 1 shown, 0 not shown, NaN nobody looked; shape (N, n_findings). of `findings_table`.
        patient_ids: N ids; None: each film is its own patient.
        paths: N texts, each film's own.

    Raises:
        ValueError: shapes do not fit, a finding or a film occurs twice, a table holds another value.

    Source: AUROC of each finding and their mean: Wang et al., "ChestX-ray8", 2017, arXiv:1705.02315; the jackknife:
    Kott, "The delete-a-group jackknife", 2001, Journal of Official Statistics 17:521-526.
    """
    answers = Answers(
        findings=tuple(findings),
        truth=truth,
        probabilities=probabilities,
        paths=tuple(paths),
        patient_ids=patient_ids,
        is_exclusive=False,
    )
    units = answer_units(answers)
    found = [finding_values(answers, index, units) for index in range(len(answers.findings))]
    named = dict(zip(answers.findings, found, strict=True))
    per_class = {finding: _scores(finding, one, units) for finding, one in named.items()}
    return Result(
        kind="multi_label",
        scores=Scores({name: _mean(named, name, units) for name in RANKING}, per_class),
        findings=answers.findings,
        answers=answers,
        data_hash=answers.data_hash,
        n_films=len(answers),
        n_patients=units.n_patients,
        n_units=units.n_units,
        notes=_notes(answers, named),
    )


def _scores(finding: str, found: FindingValues, units: PatientUnits) -> dict[str, Estimate]:
    estimates = {}
    for name in OF_SEVERAL:
        values, n_patients = found.values[name], found.n_patients[name]
        # A ranking rests on the films without the finding too.
        n_bearing = found.n_patients["accuracy"] if name in RANKING else n_patients
        reason = _UNDEFINED[name].format(finding)
        estimates[name] = _estimate(values, reason, min(units.n_units, n_patients), n_bearing)
    return estimates


def _mean(named: dict[str, FindingValues], name: str, units: PatientUnits) -> Estimate:
    values = mean_values(list(named.values()), name)
    lone = [finding for finding, one in named.items() if one.n_patients[name] == 1]
    if lone and np.isfinite(values[0]):
        reason = f"one patient only has, or has not, {', '.join(lone)}: no interval of a mean over findings"
        return Estimate(float(values[0]), reason=reason)
    return _estimate(values, "no finding has films with it and without it", units.n_units, units.n_patients)


def _estimate(values: np.ndarray, undefined: str, n_units: int, n_patients: int) -> Estimate:
    """Return a number with its interval, or why there is none; its degrees of freedom are `n_units` less one."""
    mean = float(values[0])
    if not np.isfinite(mean):
        return Estimate(None, reason=undefined)
    if n_units < _FEWEST:
        return Estimate(mean, reason="it rests on one patient: no interval")
    if not np.isfinite(values).all():
        return Estimate(mean, reason="without some patients it is undefined: no interval")
    interval = bounded_interval(mean, jackknife_variance(values), degrees=n_units - 1, n_patients=n_patients)
    return Estimate(mean, ci95_patients=interval)


def _notes(answers: Answers, named: dict[str, FindingValues]) -> tuple[str, ...]:
    notes = []
    if absent := [finding for finding, one in named.items() if not np.isfinite(one.values["auroc"][0])]:
        notes.append(f"means over findings leave out {', '.join(absent)}: no film shows it, or every film does")
    if n_unstated := int(np.isnan(answers.truth).sum()):
        share = n_unstated / answers.truth.size
        notes.append(f"{100 * share:.1f} % of the films' findings are not stated and count for nothing")
    return tuple(notes)

"""The numbers of each finding of multi-label answers, with everybody and without each unit of patients."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.evaluation.closed_set.numbers import RANKING, grouped_units, ranking_without
from fewshot_cxr.evaluation.episodic.patients import PatientUnits
from fewshot_cxr.evaluation.scores import OF_SEVERAL
from fewshot_cxr.metrics import confusion_scores

_THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class FindingValues:
    """One finding over the films that state it: name of each number -> float64 (1 + n_units,), NaN where undefined.

    With everybody, then without each unit. `n_patients` says how many patients each number rests on; of two sides the
    smaller one.
    """

    values: dict[str, np.ndarray]
    n_patients: dict[str, int]
    n_films: int
    n_positive: int


def answer_units(answers: Answers) -> PatientUnits:
    """Return the patients, each a unit; of more than 200, as many groups of patients, joined by chance."""
    # Not finding by finding: how often a finding occurs is a number here, and groups alike in it would hide its spread.
    no_findings = np.zeros_like(answers.truth)
    return grouped_units(
        Embeddings(answers.probabilities, no_findings, answers.patient_ids, answers.findings, paths=answers.paths)
    )


def finding_values(answers: Answers, index: int, units: PatientUnits) -> FindingValues:
    """Return the numbers of one finding.

    Args:
        answers: what was said.
        index: of the finding.
        units: `answer_units`.
    """
    rows = np.flatnonzero(~np.isnan(answers.truth[:, index]))
    shows, scores = answers.truth[rows, index] == 1, answers.probabilities[rows, index]
    own = replace(units, unit_of_row=units.unit_of_row[rows])
    values: dict[str, np.ndarray] = {}
    if len(rows):
        values = dict(zip(RANKING, ranking_without(scores, shows, own), strict=True))
    else:
        values = {name: np.full(1 + units.n_units, np.nan) for name in RANKING}
    values |= _counted(shows, scores >= _THRESHOLD, own)
    patients = answers.patient_ids[rows]
    with_it, without_it, stated = (len(np.unique(side)) for side in (patients[shows], patients[~shows], patients))
    fewer = min(with_it, without_it)
    counts = dict(zip(OF_SEVERAL, (fewer, fewer, with_it, without_it, stated, stated), strict=True))
    return FindingValues(values, counts, len(rows), int(shows.sum()))


def mean_values(found: list[FindingValues], name: str) -> np.ndarray:
    """Return the mean of a number over the findings that have it with everybody; NaN where one of these has not."""
    defined = [one.values[name] for one in found if np.isfinite(one.values[name][0])]
    if not defined:
        return np.full_like(found[0].values[name], np.nan)
    return np.asarray(np.mean(defined, axis=0))


def _counted(shows: np.ndarray, taken: np.ndarray, units: PatientUnits) -> dict[str, np.ndarray]:
    cells = (units.unit_of_row * 2 + shows) * 2 + taken
    own = np.bincount(cells, minlength=4 * units.n_units).reshape(units.n_units, 2, 2)
    total = own.sum(axis=0, keepdims=True)
    counts = torch.from_numpy(np.concatenate([total, total - own]))
    scores = confusion_scores(counts)
    n_films = counts.sum((-1, -2)).double()
    prevalence = torch.where(n_films > 0, counts[:, 1].sum(-1) / n_films, torch.nan)
    # Of the two classes of the table, absent and present, the second is the finding.
    return {
        "sensitivity": scores["sensitivity"][:, 1].numpy(),
        "specificity": scores["specificity"][:, 1].numpy(),
        "accuracy": scores["accuracy"].numpy(),
        "prevalence": prevalence.numpy(),
    }

"""The numbers of closed-set decisions, with everybody and without each unit of patients: a delete-a-group jackknife.

Source: Quenouille, 1956; Tukey, 1958; with groups: Kott, "The delete-a-group jackknife", 2001, Journal of Official
Statistics 17:521-526.
"""

from dataclasses import replace

import numpy as np
import torch

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.evaluation.episodic.patients import PatientUnits
from fewshot_cxr.metrics import confusion_scores, expected_calibration_error, reliability_bins

Key = tuple[str, ...]
Numbers = dict[Key, np.ndarray]
"""(name,) or (finding, name) -> float64 (1 + n_units,): with everybody, then without each unit. NaN: undefined."""
_SPREAD_ROUNDING = 1e-12  # of the largest of the values of a jackknife
_COUNT_ROUNDING = 1e-9  # of counts of films, with thirds of a decision

FROM_CONFUSION = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "kappa")
OF_FINDING = ("sensitivity", "specificity", "ppv", "npv", "f1")
RANKING = ("auroc", "auprc")
_MOST_UNITS = 200
_CELLS = 1 << 22


def closed_units(decisions: Answers) -> PatientUnits:
    """Return the patients, each a unit; of more than 200, as many groups of patients, with all findings in each."""
    films = Embeddings(
        decisions.probabilities,
        decisions.true_ids,
        decisions.patient_ids,
        decisions.findings,
        paths=[f"{path}\0{true}" for path, true in zip(decisions.paths, decisions.true_ids.tolist(), strict=True)],
    )
    return grouped_units(films)


def grouped_units(films: Embeddings) -> PatientUnits:
    """Return the patients of films, of several findings or of one, as `closed_units` does."""
    units = PatientUnits.of(films, n_most=len(films))
    if units.n_units <= _MOST_UNITS:
        return units
    # Numbered finding by finding, so that every group gets its part of each: groups of one finding would differ by it.
    return replace(units, unit_of_row=units.unit_of_row % _MOST_UNITS, n_units=_MOST_UNITS)


def count_confusion(decisions: Answers, units: PatientUnits) -> np.ndarray:
    """Return the confusion matrix with everybody and without each unit, float64, (1 + n_units, n, n); rows are true."""
    n = len(decisions.findings)
    cells = (units.unit_of_row * n + decisions.true_ids)[:, None] * n + np.arange(n)
    size = units.n_units * n * n
    own = np.bincount(cells.ravel(), decisions.credits.ravel(), size).reshape(units.n_units, n, n)
    return sums_without(own)


def closed_numbers(decisions: Answers, units: PatientUnits) -> Numbers:
    """Return every number but those of calibration; AUROC and AUPRC only where there are probabilities."""
    scores = confusion_scores(torch.from_numpy(count_confusion(decisions, units)))
    numbers: Numbers = {(name,): scores[name].numpy() for name in FROM_CONFUSION}
    for index, finding in enumerate(decisions.findings):
        numbers |= {(finding, name): scores[name][:, index].numpy() for name in OF_FINDING}
    if decisions.has_probabilities:
        ranking = decisions.ranking_scores
        for index, finding in enumerate(decisions.findings):
            curves = ranking_without(ranking[:, index], decisions.true_ids == index, units)
            numbers |= {(finding, name): values for name, values in zip(RANKING, curves, strict=True)}
        for name in RANKING:
            numbers[(name,)] = _mean_of_defined(np.stack([numbers[finding, name] for finding in decisions.findings]))
    return numbers


def ranking_without(scores: np.ndarray, is_positive: np.ndarray, units: PatientUnits) -> tuple[np.ndarray, np.ndarray]:
    """Return AUROC and average precision with everybody and without each unit, each float64 (1 + n_units,).

    The films are sorted once; without a unit the counts along that order are other ones, the order is the same.

    Args:
        scores: larger is more positive, shape (N,); ties count half in AUROC and as one step in average precision.
        is_positive: bool, shape (N,).
        units: of the films.

    Returns:
        NaN where a side is empty. With everybody they equal `metrics.ranking_scores`.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    positive, unit = is_positive[order], units.unit_of_row[order]
    parts = []
    left_out = np.arange(-1, units.n_units)
    for first in range(0, len(left_out), max(1, _CELLS // len(scores))):
        some = left_out[first : first + max(1, _CELLS // len(scores)), None]
        is_kept = unit[None, :] != some
        true = np.cumsum(is_kept & positive, axis=1, dtype=np.int32)[:, ends].astype(np.float64)
        false = np.cumsum(is_kept & ~positive, axis=1, dtype=np.int32)[:, ends].astype(np.float64)
        parts.append(_areas(true, false))
    auroc, auprc = np.concatenate(parts, axis=1)
    return auroc, auprc


def brier_numbers(probabilities: np.ndarray, true_ids: np.ndarray, units: PatientUnits) -> np.ndarray:
    """Return the multi-class Brier score with everybody and without each unit, float64 (1 + n_units,)."""
    truth = np.arange(probabilities.shape[1]) == true_ids[:, None]
    squares = ((probabilities - truth) ** 2).sum(axis=1)
    sums = sums_without(np.bincount(units.unit_of_row, squares, units.n_units))
    return np.asarray(sums / _films_left(units))


def calibration_bins(decisions: Answers, probabilities: np.ndarray, units: PatientUnits) -> np.ndarray:
    """Return the sums of `reliability_bins` with everybody and without each unit, float64, (3, 1 + n_units, n_bins)."""
    correct = decisions.credits[np.arange(len(decisions)), decisions.true_ids]
    confidence = torch.from_numpy(probabilities.max(axis=1))
    per_film = reliability_bins(confidence[:, None], torch.from_numpy(correct)[:, None])
    where = torch.from_numpy(units.unit_of_row)
    own = [one.new_zeros(units.n_units, one.shape[1]).index_add_(0, where, one).numpy() for one in per_film]
    return np.stack([sums_without(one) for one in own])


def ece_numbers(bins: np.ndarray) -> np.ndarray:
    """Return the expected calibration error of `calibration_bins`, float64 (1 + n_units,)."""
    error: np.ndarray = expected_calibration_error(*torch.from_numpy(bins)).numpy()
    return error


def jackknife_variance(values: np.ndarray) -> float:
    """Return (G - 1) / G times the sum of squares of the G values without each unit about their mean.

    Values that differ by rounding alone have none: an interval of no width would look like certainty.
    """
    without = values[1:]
    if np.ptp(without) <= _SPREAD_ROUNDING * np.abs(without).max(initial=0.0):
        return 0.0
    return float(((without - without.mean()) ** 2).sum()) * (len(without) - 1) / len(without)


def _areas(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Return AUROC and average precision of counts (m, n_steps) at or above each score: (2, m)."""
    n_true, n_false = true[:, -1], false[:, -1]
    new_true, new_false = np.diff(true, prepend=0.0, axis=1), np.diff(false, prepend=0.0, axis=1)
    wins = (new_false * (true - new_true / 2)).sum(axis=1)
    answered = true + false
    precision = np.divide(true, answered, out=np.zeros_like(true), where=answered > 0)
    is_defined = (n_true > 0) & (n_false > 0)
    both = np.stack([wins, (new_true * precision).sum(axis=1)])
    whole = np.where(is_defined, np.stack([n_true * n_false, n_true]), 1.0)
    return np.where(is_defined, both / whole, np.nan)


def sums_without(own: np.ndarray) -> np.ndarray:
    """Turn sums of each unit, (n_units, ...), into sums with everybody and without each, (1 + n_units, ...)."""
    total = own.sum(axis=0, keepdims=True)
    sums = np.concatenate([total, total - own])
    # Thirds of a decision leave rounding where nothing is left, and a class without a film must have 0.
    sums[np.abs(sums) < _COUNT_ROUNDING] = 0.0
    return np.asarray(sums)


def _films_left(units: PatientUnits) -> np.ndarray:
    n_left = sums_without(np.bincount(units.unit_of_row, minlength=units.n_units).astype(np.float64))
    return np.asarray(np.where(n_left > 0, n_left, np.nan))


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    n_defined = np.isfinite(values).sum(axis=0)
    return np.asarray(np.nansum(values, axis=0) / np.where(n_defined > 0, n_defined, np.nan))

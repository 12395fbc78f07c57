"""A delete-a-group jackknife: numbers with everybody, and without each unit of patients.

Source: Quenouille, 1956; Tukey, 1958; with groups: Kott, "The delete-a-group jackknife", 2001, Journal of Official
Statistics 17:521-526.
"""

import numpy as np

from fewshot_cxr.evaluation.episodic.patients import PatientUnits
from fewshot_cxr.metrics import Estimate, t_interval

_CELLS = 1 << 22
_SPREAD_ROUNDING = 1e-12  # of the largest of the values of a jackknife
_COUNT_ROUNDING = 1e-9  # of counts of films, with thirds of a decision


def jackknife_variance(values: np.ndarray) -> float:
    """Return (G - 1) / G times the sum of squares of the G values without each unit about their mean.

    Values that differ by rounding alone have none: an interval of no width would look like certainty.
    """
    without = values[1:]
    if np.ptp(without) <= _SPREAD_ROUNDING * np.abs(without).max(initial=0.0):
        return 0.0
    return float(((without - without.mean()) ** 2).sum()) * (len(without) - 1) / len(without)


def difference_estimate(values: np.ndarray, reason: str = "") -> Estimate:
    """Return a paired difference of shares with Student's t interval, within -1 and 1.

    Args:
        values: with everybody, then without each unit, shape (1 + n_units,).
        reason: why there is no interval; empty: there is one.
    """
    mean, n_units = float(values[0]), len(values) - 1
    if not np.isfinite(values).all() or n_units < 2:
        return Estimate(mean if np.isfinite(mean) else None, reason="too few patients for an interval")
    if reason:
        return Estimate(mean, reason=reason)
    low, high = t_interval(mean, jackknife_variance(values), n_units - 1)
    return Estimate(mean, ci95_patients=(max(low, -1.0), min(high, 1.0)))


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

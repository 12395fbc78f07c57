"""Intervals for numbers that cannot leave 0..1, from a variance that was estimated over patients."""

import math

import scipy

_FEW = 3.0  # fewer patients than this on the rarer side: a variance from them cannot be trusted


def bounded_interval(
    mean: float, variance: float, *, degrees: float, n_patients: int, level: float = 0.95
) -> tuple[float, float]:
    """Return Wilson's interval for as many independent patients as would give this variance.

    A plain mean +- t * error leaves 0..1 near its ends, and at 60 of 60 right it has no width at all. Here the
    effective number of patients is mean (1 - mean) / variance; where the mean lies so near an end that fewer than three
    patients are on the other side, it is at most the number of patients there are.

    Args:
        mean: the number, 0..1.
        variance: of the mean, over patients.
        degrees: of freedom of the variance; they widen the quantile as in Student's t.
        n_patients: how many patients the number rests on.
        level: of confidence.

    Source: Korn, Graubard, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", 1998, with Wilson's 1927 interval in place of the exact one.
    """
    n_effective = mean * (1 - mean) / variance if variance > 0 else math.inf
    has_few = min(mean, 1 - mean) * n_patients < _FEW
    if n_effective == math.inf or n_effective <= 0 or has_few:
        n_effective = min(n_effective, n_patients) if n_effective > 0 else n_patients
    square = float(scipy.special.stdtrit(degrees, (1 + level) / 2)) ** 2
    centre = (mean + square / (2 * n_effective)) / (1 + square / n_effective)
    half = math.sqrt(square * (mean * (1 - mean) / n_effective + square / (4 * n_effective**2)))
    half /= 1 + square / n_effective
    return max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half))

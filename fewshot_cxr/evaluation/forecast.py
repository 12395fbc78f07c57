"""What more support films would buy: a measured curve over shots, carried on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, ndtri, stdtrit

from fewshot_cxr.metrics import Estimate, Interval

MOST_AHEAD = 4  # times the largest measured shot: so far the simulation has looked
FEWEST_SHOTS = 3
_WIDEST = 0.3  # of an interval; a wider one says nothing
_UNLIKELY = 0.001
_AT_AN_END = 0.005  # an interval that comes so near to 0 or 1 holds it
_FEW = 3  # patients on the rarer side: a variance from fewer cannot be trusted
# How far a true curve lies off the law: a part of its rise, and what is left where there is none. Accuracy, then the
# recall of one finding, which other findings push about. Chosen on simulated worlds other than those of the benchmark.
_OFF_THE_LAW = {True: (0.03, 0.003), False: (0.06, 0.005)}
_EXPONENTS = (*np.arange(-0.5, -0.05, 0.1).tolist(), 1e-6, *np.arange(0.1, 1.55, 0.1).tolist())  # 1e-6: a logarithm
_N_DRAWS = 400  # for each exponent
_SEED = 0


@dataclass(frozen=True)
class Growth:
    """A number at several shots: `values` (K,) by rising `shots`, and their `covariance` over patients (K, K).

    `degrees` of freedom of the covariance; `n_patients` that the number rests on; `is_rising`: an accuracy, which does
    not fall as films are added; the recall of one finding may.
    """

    shots: tuple[int, ...]
    values: np.ndarray
    covariance: np.ndarray
    degrees: int
    n_patients: int
    is_rising: bool = True


@dataclass(frozen=True)
class Ahead:
    """A number at more shots than were measured, and how much it is above the largest that was."""

    value: Estimate
    gain: Estimate


def forecast(growth: Growth, n_shot: int) -> Ahead:
    """Carry a curve on to more shots by an inverse power law, a - b * shots^-c.

    The law's values at the first and the last measured shot are unknown, all alike likely beforehand, and so is c from
    -0.5 (growth by a root, as of few films in many dimensions) over 0 (a logarithm) to 1.5; a share stays in 0..1. What
    the measured values leave of these laws gives gain and intervals, with the patients' covariance, and with how far
    true curves lie off any such law. So they are for other patients of the same kind, the same encoder and rule. Where
    nearly all patients are decided alike, their variance is at least that of a share among as many. The forecast goes
    on from the last measured value.

    Args:
        growth: what was measured.
        n_shot: films of each finding, more than any measured.

    Returns:
        Median and shortest 95 % interval; or, where the films do not carry it, why not.

    Source of the law: Cortes, Jackel, Solla, Vapnik, Denker, "Learning Curves: Asymptotic Values and Rate of
    Convergence", 1993. Coverage: benchmarks/forecast_coverage.py.
    """
    if why := _too_little(growth, n_shot):
        return refused(why)
    weights, values, last = _laws(growth, n_shot)
    if not weights.any():
        return refused(
            f"the {len(growth.shots)} measured shots follow no law of growth; measure more shots, or ask more episodes"
        )
    gain = _estimate(values - last, weights, (-1.0, 1.0))
    shifted = values - np.average(last, weights=weights) + growth.values[-1]
    value = _estimate(np.clip(shifted, 0.0, 1.0), weights, (0.0, 1.0))
    low, high = value.ci95 or (0.0, 1.0)
    if high - low > _WIDEST:
        return refused(
            f"the 95 % interval would be {100 * (high - low):.0f} points wide: films of {growth.n_patients} patients "
            "do not carry a forecast; test on more patients, or measure larger shots"
        )
    return Ahead(value, gain)


def _too_little(growth: Growth, n_shot: int) -> str | None:
    largest = growth.shots[-1]
    if len(growth.shots) < FEWEST_SHOTS:
        return f"{len(growth.shots)} shots were measured, and {FEWEST_SHOTS} are needed"
    if n_shot > MOST_AHEAD * largest:
        return f"{n_shot} shots are more than {MOST_AHEAD} times the largest that was measured, {largest}"
    return None


def refused(why: str) -> Ahead:
    """Return what says why there is no forecast."""
    unknown = Estimate(None, reason=f"no forecast: {why}")
    return Ahead(unknown, unknown)


def _laws(growth: Growth, n_shot: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw laws; return how likely each is, its value at n_shot, and that at the largest measured shot, all (n,)."""
    shots, n_measured = np.array(growth.shots, dtype=float), len(growth.shots)
    of_rise, anyway = _OFF_THE_LAW[growth.is_rising]
    off = anyway + of_rise * np.ptp(growth.values)
    precision = np.linalg.inv(_trusted(growth) + off**2 * np.eye(n_measured))
    noise = np.random.default_rng(_SEED).standard_normal((_N_DRAWS, 2))
    found, misfits = [], []
    for exponent in _EXPONENTS:
        share = _share_of_way(shots, growth, exponent)
        design = np.stack([1 - share, share], axis=1)
        spread = np.linalg.inv(design.T @ precision @ design)
        ends = spread @ design.T @ precision @ growth.values
        rest = growth.values - design @ ends
        misfits.append(float(rest @ precision @ rest))
        first, last = (ends + noise @ np.linalg.cholesky(spread).T).T
        beyond = first + (last - first) * _share_of_way(np.array([float(n_shot)]), growth, exponent)
        limit = first + (last - first) * _share_of_way(np.array([np.inf]), growth, exponent) if exponent > 0 else beyond
        is_possible = (np.minimum(beyond, limit) >= 0) & (np.maximum(beyond, limit) <= 1)
        is_possible &= (last >= first) | (not growth.is_rising)
        likely = np.exp(-0.5 * misfits[-1]) * np.linalg.det(spread) ** 0.5
        found.append((likely * is_possible, beyond, last))
    weights, values, lasts = (np.concatenate(column) for column in zip(*found, strict=True))
    if n_measured > 2 and chdtrc(n_measured - 2, min(misfits)) < _UNLIKELY:
        weights = np.zeros_like(weights)
    return weights, values, lasts


def _trusted(growth: Growth) -> np.ndarray:
    """Return the covariance, widened for its degrees of freedom, and where few patients are on the rarer side."""
    widened = float(stdtrit(max(1, growth.degrees), 0.975) / ndtri(0.975)) ** 2
    n_patients, values = growth.n_patients, growth.values
    # Two patients more on either side: Agresti, Coull, "Approximate Is Better than 'Exact'", 1998.
    share = (values * n_patients + 2) / (n_patients + 4)
    has_few = np.minimum(values, 1 - values) * n_patients < _FEW
    least = np.where(has_few, share * (1 - share) / (n_patients + 4), 0.0)
    more = np.sqrt(np.maximum(0.0, least - growth.covariance.diagonal()))
    trusted: np.ndarray = (growth.covariance + np.outer(more, more)) * widened
    return trusted


def _share_of_way(shots: np.ndarray, growth: Growth, exponent: float) -> np.ndarray:
    """Return which share of the way from the first to the last measured shot a law has gone at some shots."""
    first, last = float(growth.shots[0]) ** -exponent, float(growth.shots[-1]) ** -exponent
    gone: np.ndarray = (first - shots**-exponent) / (first - last)
    return gone


def _estimate(values: np.ndarray, weights: np.ndarray, ends: Interval) -> Estimate:
    """Return the median of weighted values, and the shortest interval of 95 % of them within what can be."""
    order = np.argsort(values)
    values, below = values[order], np.cumsum(weights[order]) / weights.sum()
    starts = np.linspace(0, 0.05, 101)
    lows, highs = (np.interp(starts + share, below, values) for share in (0, 0.95))
    shortest = int(np.argmin(highs - lows))
    low, high = float(lows[shortest]), float(highs[shortest])
    low, high = (ends[0] if low - ends[0] < _AT_AN_END else low), (ends[1] if ends[1] - high < _AT_AN_END else high)
    return Estimate(float(np.interp(0.5, below, values)), ci95_patients=(low, high))


def curve_covariance(influences: Sequence[np.ndarray], batches: Sequence[np.ndarray], n_patients: int) -> np.ndarray:
    """Return how numbers that were measured on the same patients and episodes vary together, over both.

    Args:
        influences: of each number, its change when a unit is left out, as independent parts of the episodes see it,
            shape (n_parts, n_units), n_parts above 1.
        batches: of each number, its means in equal shares of the episodes, shape (n_batches,), n_batches above 1.
        n_patients: how many there are.

    Returns:
        Positive semi-definite, shape (K, K). Its diagonal holds the variances that the intervals over patients rest on,
        where these are above 0.
    """
    parts = np.stack(influences)  # (K, n_parts, n_units)
    n_parts = parts.shape[1]
    sums = parts.sum(axis=1)
    # Products of different parts of the episodes carry no Monte-Carlo noise; see `population_variance`.
    products = sums @ sums.T - np.einsum("kpu,lpu->kl", parts, parts)
    over_patients = products / (n_parts * (n_parts - 1)) * (n_patients - 1) / n_patients
    over_episodes = np.cov(np.stack(batches), ddof=1) / len(batches[0])
    strengths, directions = np.linalg.eigh(over_patients + over_episodes)
    covariance: np.ndarray = (directions * np.maximum(strengths, 0)) @ directions.T
    return covariance

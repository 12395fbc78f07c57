"""How frequent each finding is among unlabelled films, with an interval over patients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from fewshot_cxr.inference.bank.bias_corrected import fit_bias_corrected, fit_parameters, parameter_probabilities
from fewshot_cxr.inference.bank.score_shift import LEVEL, ShiftTest, shift_test
from fewshot_cxr.inference.bank.scored_films import ScoredFilms
from fewshot_cxr.metrics import Estimate, wilson_interval
from fewshot_cxr.seeding import generator

_LEAST_RESAMPLED = 20
_ENDED = 1e-3  # of the whole log-likelihood: a resampled estimate may lie 5 % of its standard error aside
_MOST_STEPS = 20_000
_LEAST = 1e-12  # of a share: one of 0 could never rise again


@dataclass(frozen=True)
class EstimatedPrevalence:
    """How frequent each finding is among films that are not called unknown.

    Args:
        prevalence: finding -> share of the patients, with its interval over patients; together 1.
        prior: finding -> share among the calibration patients.
        unknown: share of the patients' films that are called unknown: none of the findings, and of no prevalence above.
        n_films: not called unknown.
        n_patients: of these.
        n_unknown_films: called unknown.
        shift: whether a mixture of the findings explains the distances.

    Examples:
        >>> from fewshot_cxr.metrics import Estimate
        >>> shares, prior = {"normal": Estimate(0.8), "covid19": Estimate(0.2)}, {"normal": 0.5, "covid19": 0.5}
        >>> EstimatedPrevalence(shares, prior, Estimate(0.0), 25, 25, 0, ShiftTest(0.002, 1.0, 25, 40)).shares
        {'normal': 0.8, 'covid19': 0.2}
    """

    prevalence: Mapping[str, Estimate]
    prior: Mapping[str, float]
    unknown: Estimate
    n_films: int
    n_patients: int
    n_unknown_films: int
    shift: ShiftTest

    @property
    def shares(self) -> dict[str, float]:
        """Return finding -> share, as `reweighted` and `predictive_values` take it."""
        return {name: estimate.value for name, estimate in self.prevalence.items()}

    def to_json(self) -> dict[str, Any]:
        """Return plain values of JSON."""
        counts = {name: getattr(self, name) for name in ("n_films", "n_patients", "n_unknown_films")}
        test = {"statistic": self.shift.statistic, "p_value": self.shift.p_value, "level": LEVEL}
        return {
            "prevalence": {name: estimate.to_json() for name, estimate in self.prevalence.items()},
            "prior": dict(self.prior),
            "unknown": self.unknown.to_json(),
            **counts,
            "shift_test": test,
        }


def estimate_prevalence(
    calibration: ScoredFilms, films: ScoredFilms, *, n_resampled: int = 200, seed: int = 0
) -> EstimatedPrevalence:
    """Estimate the prevalence of each finding among unlabelled films, or refuse where their scores look shifted.

    Saerens' EM on bias-corrected, temperature-scaled probabilities; the films of a patient share one weight. The
    interval is over patients of both sides: calibration patients are resampled within their findings, and the
    temperature and biases fitted anew; patients of the films are resampled as they are. Films called unknown are
    counted apart.

    Args:
        calibration: labelled films, none of which the encoder or the bank was made from; those called unknown are left
            out here, too.
        films: unlabelled films of other patients, answered alike, with the marks of those called unknown.
        n_resampled: how often patients are resampled, 20 or more.
        seed: of the resampling.

    Raises:
        ValueError: the scores look shifted (`shift_test`, level 0.01), fewer than 10 calibration patients of a finding,
            every film is called unknown, other findings, or distances that tell nothing.

    Examples:
        >>> spread, names = np.linspace(0, 1, 20), ("normal", "covid19")
        >>> normal, covid19 = np.stack([spread, 3 - spread], axis=1), np.stack([3 - spread, spread], axis=1)
        >>> known = ScoredFilms(names, np.vstack([normal, covid19]), np.arange(40), [0] * 20 + [1] * 20)
        >>> clinic = ScoredFilms(names, np.vstack([normal, covid19[::4]]), np.arange(25))  # 20 and 5 patients
        >>> found = estimate_prevalence(known, clinic, n_resampled=20)
        >>> {name: round(share, 1) for name, share in found.shares.items()}
        {'normal': 0.8, 'covid19': 0.2}

    Source: Alexandari, Kundaje, Shrikumar, "Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label
    Shift Adaptation", 2020, arXiv:1901.06852; Saerens, Latinne, Decaestecker, "Adjusting the Outputs of a Classifier to
    New a Priori Probabilities", 2002.
    """
    if not n_resampled >= _LEAST_RESAMPLED:
        raise ValueError(f"n_resampled must be {_LEAST_RESAMPLED} or more, got {n_resampled}")
    known, calibration = films.known(), calibration.known()
    shift = shift_test(calibration, known, seed=seed)
    if shift.is_shifted:
        raise ValueError(
            f"the scores of these {shift.n_patients} patients look shifted (energy test, p = {shift.p_value:.3f}): no "
            "mixture of the findings, as the calibration films show them, explains them; calibrate with films of the "
            "same source, or state the prevalence"
        )
    fitted = fit_bias_corrected(calibration)
    ratios = fitted.probabilities(known.distances) / np.array(fitted.prior)
    shares = likeliest_mixture(ratios, known.weights, np.array(fitted.prior))
    resampled = _resampled(calibration, known, generator(seed, "prevalence"), n_resampled)
    n_way, n_calibration = len(films.findings), calibration.n_patients
    intervals = [
        _interval(float(share), every, degrees=max(1, n_calibration - n_way), n_patients=known.n_patients)
        for share, every in zip(shares, resampled.T, strict=True)
    ]
    estimates = [Estimate(float(share), ci95_patients=pair) for share, pair in zip(shares, intervals, strict=True)]
    n_unknown = int(films.is_unknown.sum())
    unknown = float(films.weights @ films.is_unknown)
    return EstimatedPrevalence(
        dict(zip(films.findings, estimates, strict=True)),
        dict(zip(films.findings, fitted.prior, strict=True)),
        Estimate(unknown / films.n_patients, ci95_patients=wilson_interval(unknown, films.n_patients)),
        n_films=len(known.distances),
        n_patients=known.n_patients,
        n_unknown_films=n_unknown,
        shift=shift,
    )


def _resampled(calibration: ScoredFilms, films: ScoredFilms, draw: np.random.Generator, n_resampled: int) -> np.ndarray:
    """Return the estimate from resampled patients of both sides, shape (n_resampled, n_way)."""
    labels = calibration.known_labels()
    spread = float(calibration.distances.std(axis=1).mean())
    known, asked = calibration.distances / spread, films.distances / spread
    # Patients are resampled within what they show, so that no finding is ever lost.
    shown = np.zeros((calibration.n_patients, len(calibration.findings)), dtype=bool)
    shown[calibration.patient_ids, labels] = True
    _, strata = np.unique(shown, axis=0, return_inverse=True)
    first = fit_parameters(known, labels, calibration.weights)
    found = []
    for _ in range(n_resampled):
        weights = calibration.weights * _times(draw, strata.ravel())[calibration.patient_ids]
        parameters = fit_parameters(known, labels, weights, first)
        prior = weights @ parameter_probabilities(parameters, known) / weights.sum()
        times = _times(draw, np.zeros(films.n_patients, dtype=np.int64))
        ratios = parameter_probabilities(parameters, asked) / prior
        votes = films.weights * times[films.patient_ids]
        found.append(likeliest_mixture(ratios, votes, prior, tolerance=_ENDED / films.n_patients))
    return np.array(found)


def _times(draw: np.random.Generator, strata: np.ndarray) -> np.ndarray:
    """Return how often each is taken when as many are taken, with replacement, within each stratum."""
    times = np.zeros(len(strata))
    for stratum in range(int(strata.max()) + 1):
        members = np.flatnonzero(strata == stratum)
        times[members] = draw.multinomial(len(members), np.full(len(members), 1 / len(members)))
    return times


def _interval(share: float, resampled: np.ndarray, *, degrees: float, n_patients: int) -> tuple[float, float]:
    """Return the middle 95 % of resampled shares, and Wilson's interval for as many patients as vary so much.

    Both, since a rare finding is often resampled as none at all, and few calibration patients vary too little. So near
    an end that the variance would be that of less than one patient, half a standard error stands for the share.
    """
    variance = max(float(resampled.var(ddof=1)), 1e-12)
    aside = variance**0.5 / 2
    inside = min(max(share, aside), 1 - aside)
    n_effective = min(float(n_patients), inside * (1 - inside) / variance)
    # By Student's quantile, as bounded_interval.
    level = 1 - 2 * float(scipy.special.ndtr(-scipy.special.stdtrit(degrees, 0.975)))
    low, high = wilson_interval(share * n_effective, n_effective, level)
    near, far = np.quantile(resampled, [0.025, 0.975])
    return min(low, float(near), share), max(high, float(far), share)


def likeliest_mixture(
    ratios: np.ndarray, weights: np.ndarray, start: np.ndarray, *, tolerance: float = 1e-6
) -> np.ndarray:
    """Return the share of each finding that makes the films likeliest, float64 (n_way,), sum 1.

    The steps are those of EM; three of them are taken as one where that goes uphill. The log-likelihood is concave, and
    no mixture's lies more than `tolerance` above the one that is returned: the largest slope says so.

    Args:
        ratios: likelihood of each film by each finding, up to a factor of the film: its probability over the prior,
            shape (n, n_way).
        weights: of each film, shape (n,).
        start: shares to begin with, above 0.
        tolerance: of the log-likelihood for each unit of weight.

    Raises:
        ValueError: there is no film, or EM has not ended after 20,000 steps.

    Examples:
        >>> ratios = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # three films are normal, one covid19
        >>> likeliest_mixture(ratios, np.ones(4), start=np.array([0.5, 0.5])).round(3).tolist()
        [0.75, 0.25]

    Source: Saerens, Latinne, Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori Probabilities", 2002,
    eq. 2.9; the end: Lindsay, "The geometry of mixture likelihoods", 1983; the longer steps: Varadhan, Roland, "Simple
    and globally convergent methods for accelerating the convergence of any EM algorithm", 2008, S3.
    """
    if not len(ratios):
        raise ValueError("a mixture is estimated from one film or more, got none")
    weights = weights / weights.sum()
    # A film that a mixture cannot make at all would end it; no factor of the film plays a part.
    ratios = ratios / ratios.max(axis=1, keepdims=True)

    def slope(shares: np.ndarray) -> np.ndarray:
        return np.asarray((weights / (ratios @ shares)) @ ratios)

    def height(shares: np.ndarray) -> float:
        return float(weights @ np.log(ratios @ shares))

    shares = _inside(start)
    for _ in range(_MOST_STEPS):
        steepness = slope(shares)
        if steepness.max() - 1 < tolerance:
            return shares
        once = _inside(shares * steepness)
        twice = _inside(once * slope(once))
        ahead = _farther(shares, once, twice)
        shares = twice if height(ahead) < height(twice) else ahead
    raise ValueError(f"EM has not ended after {_MOST_STEPS:,} steps; the findings cannot be told apart")


def _farther(shares: np.ndarray, once: np.ndarray, twice: np.ndarray) -> np.ndarray:
    """Return where the direction of two steps leads, as far as their change tells."""
    first, second = once - shares, twice - once
    change = float(np.linalg.norm(second - first))
    length = max(1.0, float(np.linalg.norm(first)) / change) if change > 0 else 1.0
    return _inside(shares + 2 * length * first + length**2 * (second - first))


def _inside(shares: np.ndarray) -> np.ndarray:
    above = np.maximum(shares, _LEAST)
    return np.asarray(above / above.sum())

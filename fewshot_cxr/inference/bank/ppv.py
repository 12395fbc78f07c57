"""PPV and NPV at a prevalence: what a call is worth in a clinic, from how often it was right in the calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from fewshot_cxr._checks import check_above, nearest
from fewshot_cxr.inference.bank.patient_shares import CalledPatients
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.seeding import generator

_N_DRAWS = 4096


@dataclass(frozen=True)
class PredictiveValues:
    """What it means to be called a finding, or not, where the finding has this prevalence.

    Args:
        finding: that is called.
        prevalence: share of the patients who have it.
        ppv: of those who are called it, the share who have it.
        npv: of those who are not, the share who do not.

    Examples:
        >>> from fewshot_cxr.metrics import Estimate
        >>> worth = PredictiveValues("covid19", 0.02, ppv=Estimate(0.155), npv=Estimate(0.998))
        >>> f"{worth.ppv.value:.1%} of those who are called {worth.finding} have it"
        '15.5% of those who are called covid19 have it'
    """

    finding: str
    prevalence: float
    ppv: Estimate
    npv: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return plain values of JSON."""
        plain = {"finding": self.finding, "prevalence": self.prevalence}
        return plain | {"ppv": self.ppv.to_json(), "npv": self.npv.to_json()}


def predictive_values(
    counts: CalledPatients, prevalence: Mapping[str, float], *, level: float = 0.95, seed: int = 0
) -> PredictiveValues:
    """Return PPV and NPV of a finding at stated prevalences of all, with intervals over the calibration's patients.

    How often patients of each finding are called it is known from so and so many of them: each of these shares varies
    as Jeffreys' posterior, independent of the others, and the interval holds the middle of what follows. Over counts of
    10 to 50 patients it covers the truth in 93 % or more, 95 to 96 % on average; the logit interval with adjusted
    counts (Mercaldo, Lau, Zhou, 2007) covers 65 to 87 %, and next to nothing where few are called falsely.

    Args:
        counts: patients of each finding that were called this one.
        prevalence: share of each finding, in any order; together 1.
        level: share of such intervals that hold the truth.
        seed: of the draws.

    Raises:
        ValueError: the prevalences name other findings or are not 1 together, or a finding has no patient.

    Examples:
        >>> counts = CalledPatients("covid19", ("normal", "covid19"), called=(2, 18), n_patients=(20, 20))
        >>> worth = predictive_values(counts, {"normal": 0.98, "covid19": 0.02})
        >>> round(worth.ppv.value, 3), round(worth.npv.value, 3)  # 0.02 x 0.9 of 0.02 x 0.9 + 0.98 x 0.1
        (0.155, 0.998)

    Source: Mossman, Berger, "Intervals for Posttest Probabilities: A Comparison of 5 Methods", 2001, the objective
    Bayesian one, there for two groups of patients.
    """
    rates, drawn = _call_rates(counts, seed)
    return _values(counts, _shares(counts, prevalence), rates, drawn, level)


def predictive_curve(
    counts: CalledPatients, prevalence: Mapping[str, float], at: Sequence[float], *, level: float = 0.95, seed: int = 0
) -> list[PredictiveValues]:
    """Return PPV and NPV of a finding over its prevalence; the other findings keep their proportions.

    Args:
        counts: patients of each finding that were called this one.
        prevalence: share of each finding, together 1: the proportions of the others.
        at: prevalences of this one, each above 0 and below 1.
        level: share of such intervals that hold the truth.
        seed: of the draws; the same for all points, so that the curve is smooth.

    Raises:
        ValueError: as `predictive_values`, or a prevalence is not between 0 and 1.

    Examples:
        >>> counts = CalledPatients("covid19", ("normal", "covid19"), called=(2, 18), n_patients=(20, 20))
        >>> curve = predictive_curve(counts, {"normal": 0.5, "covid19": 0.5}, at=[0.02, 0.1, 0.5])
        >>> [round(one.ppv.value, 3) for one in curve]
        [0.155, 0.5, 0.9]
    """
    base, column = _shares(counts, prevalence), counts.column
    rates, drawn = _call_rates(counts, seed)
    others = np.where(np.arange(len(base)) == column, 0, base)
    if not others.sum() > 0:
        raise ValueError(f"the proportions of the findings beside {counts.finding} must be stated, got 0 for all")
    curve = []
    for one in at:
        if not 0 < one < 1:
            raise ValueError(f"a prevalence must be above 0 and below 1, got {one}")
        shares = others / others.sum() * (1 - one)
        shares[column] = one
        curve.append(_values(counts, shares, rates, drawn, level))
    return curve


def _shares(counts: CalledPatients, prevalence: Mapping[str, float]) -> np.ndarray:
    for name in prevalence:
        if name not in counts.findings:
            raise ValueError(f"no finding of the bank is {name!r}{nearest(name, counts.findings)}")
    shares = np.array([prevalence.get(name, 0.0) for name in counts.findings])
    if (shares < 0).any() or not abs(shares.sum() - 1) < 1e-6:
        raise ValueError(f"the prevalences must be 0 or more and together 1, got {shares.tolist()}")
    return shares


def _call_rates(counts: CalledPatients, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often patients of each finding are called: as counted, (n_way,), and drawn, (n_draws, n_way)."""
    called, whole = np.array(counts.called, dtype=np.float64), np.array(counts.n_patients, dtype=np.float64)
    for name, n in zip(counts.findings, counts.n_patients, strict=True):
        if not n > 0:
            raise ValueError(f"no calibration patient has {name}; PPV and NPV follow from patients of every finding")
    # Evenly spread quantiles in an order of their own: much less noise than as many random draws.
    quantiles = (np.arange(_N_DRAWS) + 0.5) / _N_DRAWS
    orders = [generator(seed, "predictive values", name).permutation(_N_DRAWS) for name in counts.findings]
    drawn = [
        scipy.special.betaincinv(part + 0.5, n - part + 0.5, quantiles)[order]
        for part, n, order in zip(called, whole, orders, strict=True)
    ]
    return called / whole, np.stack(drawn, axis=1)


def _values(
    counts: CalledPatients, shares: np.ndarray, rates: np.ndarray, drawn: np.ndarray, level: float
) -> PredictiveValues:
    check_above(level, 0, "level")
    column = counts.column
    found = {}
    for name, mean, every in (("ppv", rates, drawn), ("npv", 1 - rates, 1 - drawn)):
        is_right = np.arange(len(shares)) == column
        right = shares * (is_right if name == "ppv" else ~is_right)
        if not mean @ shares > 0:
            called = "called" if name == "ppv" else "not called"
            found[name] = Estimate(None, reason=f"no calibration patient was {called} {counts.finding}")
            continue
        value = float(mean @ right / (mean @ shares))
        low, high = np.quantile(every @ right / (every @ shares), [(1 - level) / 2, (1 + level) / 2])
        found[name] = Estimate(value, ci95_patients=(min(value, float(low)), max(value, float(high))))
    return PredictiveValues(counts.finding, float(shares[column]), found["ppv"], found["npv"])

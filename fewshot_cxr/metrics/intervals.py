"""Estimates and their intervals."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import scipy

Interval = tuple[float, float]
NO_CHANCE = "the two differ, but nothing varies to measure chance by"


@dataclass(frozen=True)
class Estimate:
    """A number with its two intervals.

    `ci95_patients` is the one to quote: where the number would lie with other patients of the same kind and the same
    encoder. `ci95_episodes` says only how finely the mean over all episodes of these very films is known; it shrinks
    with more episodes and says nothing of other patients. `reason` tells why a mean or an interval is absent.
    """

    mean: float | None
    ci95_episodes: Interval | None = None
    ci95_patients: Interval | None = None
    reason: str | None = None

    @property
    def ci95(self) -> Interval | None:
        """The population's interval, over patients."""
        return self.ci95_patients

    @property
    def value(self) -> float:
        """The mean where it must be there.

        Raises:
            ValueError: the number is undefined; the text says why.
        """
        if self.mean is None:
            raise ValueError(f"the number is undefined: {self.reason}")
        return self.mean

    def to_json(self) -> dict[str, Any]:
        """Return `{mean, ci95, ci95_episodes, ci95_patients}`, and `reason` where something is absent."""
        plain: dict[str, Any] = {"mean": self.mean}
        intervals = {"ci95": self.ci95, "ci95_episodes": self.ci95_episodes, "ci95_patients": self.ci95_patients}
        plain |= {name: None if pair is None else list(pair) for name, pair in intervals.items()}
        return plain if self.reason is None else plain | {"reason": self.reason}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Estimate":
        """Rebuild from `to_json`; results of before the interval over patients have none."""
        return cls(value["mean"], _pair(value["ci95_episodes"]), _pair(value.get("ci95_patients")), value.get("reason"))


def _pair(value: Any) -> Interval | None:
    return None if value is None else (value[0], value[1])


_FEW = 3.0  # fewer patients than this on the rarer side: a variance from them cannot be trusted


def t_interval(mean: float, variance_of_mean: float, df: float, level: float = 0.95) -> tuple[float, float]:
    """Return Student's t interval: mean -+ quantile x sqrt(variance of the mean).

    Args:
        mean: the estimate.
        variance_of_mean: squared standard error, 0 or more.
        df: degrees of freedom of the variance, above 0.
        level: share of such intervals that hold the truth.

    Raises:
        ValueError: the variance is below 0, or the degrees of freedom are not above 0.

    Examples:
        >>> low, high = t_interval(0.8, 0.05**2, df=9)  # 0.8 -+ 2.262 x 0.05
        >>> round(low, 3), round(high, 3)
        (0.687, 0.913)

    Source: Student, "The probable error of a mean", 1908.
    """
    if not variance_of_mean >= 0 or not df > 0:
        raise ValueError(
            f"t_interval needs a variance of 0 or more and df above 0, got {variance_of_mean} and {df}; "
            "where nothing can be estimated, give no interval"
        )
    half = float(scipy.special.stdtrit(df, (1 + level) / 2)) * variance_of_mean**0.5
    return mean - half, mean + half


def t_test(gap: float, variance: float, df: float) -> tuple[Interval | None, float | None, str | None]:
    """Return Student's t interval of a difference, its two-sided p-value, and why both are absent.

    Args:
        gap: the difference.
        variance: squared standard error of it; 0 or less: nothing varies.
        df: degrees of freedom of the variance, above 0.

    Examples:
        >>> interval, p_value, reason = t_test(0.1, 0.05**2, df=9)  # two encoders, 0.1 apart: two standard errors
        >>> [round(end, 3) for end in interval], round(p_value, 3)
        ([-0.013, 0.213], 0.077)
        >>> t_test(0.1, 0.0, df=9)
        (None, None, 'the two differ, but nothing varies to measure chance by')
    """
    if variance <= 0:
        return ((0.0, 0.0), 1.0, None) if gap == 0 else (None, None, NO_CHANCE)
    return t_interval(gap, variance, df), float(2 * scipy.special.stdtr(df, -abs(gap) / variance**0.5)), None


def wilson_interval(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a share, without continuity correction.

    Args:
        successes: 0..n; fractions (credits of ties, effective numbers) are allowed.
        n: independent trials, above 0.
        level: share of such intervals that hold the truth.

    Raises:
        ValueError: no trial, or successes outside 0..n.

    Examples:
        >>> [round(end, 2) for end in wilson_interval(8, 10)]  # 8 of 10 patients
        [0.49, 0.94]

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not n > 0 or not 0 <= successes <= n:
        raise ValueError(f"wilson_interval needs 0 <= successes <= n and n above 0, got {successes} of {n}")
    low, high = _wilson(successes / n, n, float(scipy.special.ndtri((1 + level) / 2)) ** 2)
    # The ends are 0 and 1 themselves for none and all, which rounding would miss.
    return 0.0 if successes == 0 else low, 1.0 if successes == n else high


def _wilson(share: float, n: float, squared: float) -> tuple[float, float]:
    """Return Wilson's interval by the square of its quantile."""
    centre = (share + squared / (2 * n)) / (1 + squared / n)
    half = math.sqrt(squared * (share * (1 - share) / n + squared / (4 * n**2))) / (1 + squared / n)
    return centre - half, centre + half


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

    Examples:
        >>> low, high = bounded_interval(1.0, 0.0, degrees=59, n_patients=60)  # 60 of 60 patients right
        >>> round(low, 2), high
        (0.94, 1.0)

    Source: Korn, Graubard, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", 1998, with Wilson's 1927 interval in place of the exact one.
    """
    n_effective = mean * (1 - mean) / variance if variance > 0 else math.inf
    has_few = min(mean, 1 - mean) * n_patients < _FEW
    if n_effective == math.inf or n_effective <= 0 or has_few:
        n_effective = min(n_effective, n_patients) if n_effective > 0 else n_patients
    squared = float(scipy.special.stdtrit(degrees, (1 + level) / 2)) ** 2
    low, high = _wilson(mean, n_effective, squared)
    return max(0.0, min(mean, low)), min(1.0, max(mean, high))

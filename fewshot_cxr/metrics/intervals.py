"""Means, covariances and intervals, in constant memory."""

import numpy as np
import scipy
import torch
from torch import Tensor


class RunningMean:
    """Mean and variance of a stream of values, merged block by block: nothing grows with their number.

    Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, values: np.ndarray) -> None:
        """Merge more values, any shape."""
        n_new = values.size
        if not n_new:
            return
        mean_new = float(values.mean(dtype=np.float64))
        gap, total = mean_new - self.mean, self.count + n_new
        self._squares += float(values.var(dtype=np.float64)) * n_new + gap**2 * self.count * n_new / total
        self.mean += gap * n_new / total
        self.count = total

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Return Student's t interval of the mean for independent values; None below two values."""
        if self.count < 2:
            return None
        standard_error = (self._squares / (self.count - 1) / self.count) ** 0.5
        half = float(scipy.special.stdtrit(self.count - 1, (1 + level) / 2)) * standard_error
        return self.mean - half, self.mean + half


class RunningMoments:
    """Means and covariances of a stream of rows, merged block by block in float64: nothing grows with their number.

    Args:
        n: numbers in a row.

    Attributes:
        count: rows so far.
        mean: of each number, shape (n,); zeros while there is no row.

    Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """

    def __init__(self, n: int) -> None:
        self.count = 0
        self.mean = np.zeros(n)
        self._products = np.zeros((n, n))

    def add(self, rows: np.ndarray | Tensor) -> None:
        """Merge more rows, shape (m, n).

        Raises:
            ValueError: the rows have another length.
        """
        values = np.asarray(rows.detach().cpu() if isinstance(rows, Tensor) else rows, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.mean):
            raise ValueError(f"rows must have the shape (m, {len(self.mean)}), got {values.shape}")
        n_new = len(values)
        if not n_new:
            return
        mean_new = values.mean(axis=0)
        centred = torch.from_numpy(values - mean_new)
        gap, total = mean_new - self.mean, self.count + n_new
        self._products += (centred.T @ centred).numpy() + np.outer(gap, gap) * (self.count * n_new / total)
        self.mean = self.mean + gap * (n_new / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray | None:
        """Covariance of one row, divisor count - 1, shape (n, n); None below two rows."""
        return self._products / (self.count - 1) if self.count > 1 else None


def t_interval(mean: float, variance_of_mean: float, df: float, level: float = 0.95) -> tuple[float, float]:
    """Return Student's t interval: mean -+ quantile x sqrt(variance of the mean).

    Args:
        mean: the estimate.
        variance_of_mean: squared standard error, 0 or more.
        df: degrees of freedom of the variance, above 0.
        level: share of such intervals that hold the truth.

    Raises:
        ValueError: the variance is below 0, or the degrees of freedom are not above 0.

    Source: Student, "The probable error of a mean", 1908.
    """
    if not variance_of_mean >= 0 or not df > 0:
        raise ValueError(
            f"t_interval needs a variance of 0 or more and df above 0, got {variance_of_mean} and {df}; "
            "where nothing can be estimated, give no interval"
        )
    half = float(scipy.special.stdtrit(df, (1 + level) / 2)) * variance_of_mean**0.5
    return mean - half, mean + half


def wilson_interval(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a share, without continuity correction.

    Args:
        successes: 0..n; fractions (credits of ties, effective numbers) are allowed.
        n: independent trials, above 0.
        level: share of such intervals that hold the truth.

    Raises:
        ValueError: no trial, or successes outside 0..n.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not n > 0 or not 0 <= successes <= n:
        raise ValueError(f"wilson_interval needs 0 <= successes <= n and n above 0, got {successes} of {n}")
    share, squared = successes / n, float(scipy.special.ndtri((1 + level) / 2)) ** 2
    centre = (share + squared / (2 * n)) / (1 + squared / n)
    half = (squared * (share * (1 - share) / n + squared / (4 * n * n))) ** 0.5 / (1 + squared / n)
    # The ends are 0 and 1 themselves for none and all, which rounding would miss.
    return 0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half

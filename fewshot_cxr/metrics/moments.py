"""Mean and covariance of rows that come some at a time."""

import warnings

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.metrics.intervals import t_interval


class RunningMoments:
    """Means and covariances of a stream of rows, merged block by block in float64: nothing grows with their number.

    Args:
        n: numbers in a row.

    Attributes:
        count: rows so far.
        mean: of each number, shape (n,); zeros while there is no row.

    Examples:
        >>> accuracies = RunningMoments(1)
        >>> for block in ([[0.6], [0.8]], [[1.0]]):
        ...     accuracies.add(np.array(block))
        >>> accuracies.count, round(accuracies.mean.item(), 3), round(accuracies.covariance.item(), 3)
        (3, 0.8, 0.04)

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


class RunningMean:
    """Deprecated: `RunningMoments(1)` holds mean and variance of a stream of values, `t_interval` does the rest."""

    def __init__(self) -> None:
        warnings.warn("RunningMean goes in the next release; take RunningMoments(1)", DeprecationWarning, stacklevel=2)
        self._moments = RunningMoments(1)

    @property
    def count(self) -> int:
        """Values so far."""
        return self._moments.count

    @property
    def mean(self) -> float:
        """Their mean, 0 while there is none."""
        return float(self._moments.mean[0])

    def add(self, values: np.ndarray) -> None:
        """Merge more values, any shape."""
        self._moments.add(values.reshape(-1, 1))

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Return Student's t interval of the mean for independent values; None below two values."""
        variance = self._moments.covariance
        return None if variance is None else t_interval(self.mean, variance.item() / self.count, self.count - 1, level)

"""Means with intervals, in constant memory."""

import numpy as np
from scipy import stats


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
        half = float(stats.t.ppf((1 + level) / 2, self.count - 1)) * standard_error
        return self.mean - half, self.mean + half

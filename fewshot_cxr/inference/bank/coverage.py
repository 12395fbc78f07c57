"""What a count of patients kept apart promises of the sets: a distribution of coverage, and how many more it takes."""

import math

import numpy as np
import scipy

from fewshot_cxr.metrics import Interval

_SLACK = 1e-9  # 1 - 0.9 is a little more than 0.1, and a tenth of ten patients a little less than one


def check_level(level: float, name: str = "level") -> None:
    """Refuse a share that is not between 0 and 1.

    Args:
        level: of sets that hold the true finding.
        name: of the argument, for the message.

    Raises:
        ValueError: it is 0 or less, 1 or more, or no number.
    """
    if not 0 < level < 1:
        raise ValueError(f"{name} must be above 0 and below 1, such as 0.9, got {level}")


def fewest_patients(level: float) -> int:
    """Return how many patients it takes before a p-value can leave a finding out: 9 at 90 %."""
    check_level(level)
    return math.ceil(1 / (1 - level) - _SLACK) - 1


def allowed_misses(n_patients: int, level: float, confidence: float | None = None) -> int:
    """Return l: a finding stays in the set while more than l of the patients, with the film's own, are as strange.

    Args:
        n_patients: that the p-value is taken from, without the film's own.
        level: wanted share of sets that hold the true finding, on average over banks.
        confidence: wanted share of banks that reach the level; None: the average over banks is enough.

    Returns:
        The largest whole number up to (n_patients + 1) x (1 - level); with a confidence the largest that keeps it.
        With 0 nothing is left out.

    Source: Vovk, "Conditional validity of inductive conformal predictors", 2012, arXiv:1209.2673, proposition 2.
    """
    check_level(level)
    if confidence is None:
        return math.floor((n_patients + 1) * (1 - level) + _SLACK)
    check_level(confidence, "confidence")
    few = np.arange(1, n_patients + 1)
    return int((scipy.special.betainc(n_patients + 1 - few, few, level) <= 1 - confidence).sum())


def coverage_interval(n_patients: int, misses: int, level: float = 0.95) -> tuple[float, Interval]:
    """Return the mean coverage over banks, and between which coverages the middle share of banks lies.

    The coverage of one bank is Beta(n + 1 - l, l) distributed.

    Args:
        n_patients: kept apart, n.
        misses: l, as `allowed_misses` gives them; 0: every set holds everything.
        level: share of the banks.

    Examples:
        >>> mean, (low, high) = coverage_interval(9, misses=1)  # 9 patients at 90 %
        >>> mean, round(low, 3), round(high, 3)
        (0.9, 0.664, 0.997)

    Source: Vovk, "Conditional validity of inductive conformal predictors", 2012, arXiv:1209.2673, proposition 2.
    """
    if not misses:
        return 1.0, (1.0, 1.0)
    first, second = n_patients + 1 - misses, misses
    low, high = (float(scipy.special.betaincinv(first, second, end)) for end in ((1 - level) / 2, (1 + level) / 2))
    return first / (n_patients + 1), (low, high)


def patients_needed(level: float, confidence: float) -> int:
    """Return how many patients kept apart carry "at least `level`, with `confidence`": 22 at 90 % and 90 %.

    With as many, a finding is left out only where the film is stranger than each of them.

    Args:
        level: share of sets that hold the true finding.
        confidence: share of banks that reach it.

    Examples:
        >>> patients_needed(0.9, confidence=0.9), patients_needed(0.95, confidence=0.95)
        (22, 59)
    """
    check_level(level)
    check_level(confidence, "confidence")
    return math.ceil(math.log(1 - confidence) / math.log(level) - _SLACK)

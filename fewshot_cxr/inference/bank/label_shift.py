"""The mixture of findings that makes unlabelled films likeliest: Saerens' EM, with a proof that it has ended."""

import numpy as np

_MOST_STEPS = 20_000
_LEAST = 1e-12  # of a share: one of 0 could never rise again


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

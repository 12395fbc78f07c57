"""From distances to probabilities, and whether those keep their word."""

import math

import numpy as np
import scipy
import torch
from torch import Tensor
from torch.nn import functional

# Temperatures are looked for between the spread of the distances over this and times this.
_WIDEST = 1e4


def class_probabilities(distances: Tensor, temperature: float = 1.0) -> Tensor:
    """Return softmax(-distances / temperature) over the classes.

    Args:
        distances: smaller is closer, shape (..., n_way).
        temperature: above 0, in the unit of the distances; larger is less sure.

    Raises:
        ValueError: the temperature is not above 0.

    Examples:
        >>> import math
        >>> class_probabilities(torch.tensor([1.0, 1.0 + math.log(3)]))  # to normal, to covid19
        tensor([0.7500, 0.2500])

    Source: Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", 2017, arXiv:1703.05175, eq. 2.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}; fit_temperature finds one")
    # The softmax written out: torch's own is several times slower along an axis as short as this.
    weights = ((distances.amin(dim=-1, keepdim=True) - distances) / temperature).exp()
    return weights / weights.sum(dim=-1, keepdim=True)


def margins(distances: Tensor) -> Tensor:
    """Return how much nearer each class is than the nearest other one: what films are ranked by.

    The nearest class alone has a margin above 0, so an order by margins goes through every decision. No scale of the
    distances plays a part, and of the other classes only the nearest does.

    Args:
        distances: smaller is closer, shape (..., n_way), n_way above 1.

    Returns:
        float64, same shape: the smallest distance to another class less the distance to this one; 0 where two tie.

    Examples:
        >>> margins(torch.tensor([2.0, 5.0, 9.0]))  # normal is the nearest, by 3 before pneumonia
        tensor([ 3., -3., -7.], dtype=torch.float64)
    """
    # Class by class in memory: along an axis as short as this every operation is several times slower.
    nearer = (-distances).movedim(-1, 0).contiguous()
    first, second = _largest_two(nearer)
    return (nearer.double() - torch.where(nearer == first, second, first)).movedim(0, -1)


def distances_of_margins(margins: Tensor) -> Tensor:
    """Return how much farther each class is than the nearest one: all of the distances that decisions depend on.

    Examples:
        >>> distances_of_margins(margins(torch.tensor([2.0, 5.0, 9.0])))
        tensor([0., 3., 7.], dtype=torch.float64)
    """
    return (-margins).clamp_min(0)


def log_odds(distances: Tensor) -> Tensor:
    """Return the log-odds of each class by softmax(-distances).

    They order films as the probabilities do, but where these round to 0 or 1, and so to ties.

    Args:
        distances: smaller is closer, shape (..., n_way), n_way above 1.

    Returns:
        float64, same shape: -distance less the logarithm of the sum of exp(-distance) over the other classes.

    Examples:
        >>> import math
        >>> log_odds(torch.tensor([1.0, 1.0 + math.log(3)])).exp()  # 3 to 1 for normal, 1 to 3 for covid19
        tensor([3.0000, 0.3333], dtype=torch.float64)
    """
    nearer = (-distances.double()).movedim(-1, 0).contiguous()
    first, second = _largest_two(nearer)
    others_of_best = _others_of_best(nearer, second)
    weights = (nearer - first).exp_()
    others = torch.sub(weights.sum(dim=0), weights, out=weights).log_().add_(first)
    return nearer.sub_(torch.where(nearer == first, others_of_best, others)).movedim(0, -1)


def largest_log_odds(distances: Tensor) -> Tensor:
    """Return the log-odds of the likeliest class, `log_odds(distances).amax(dim=-1)`: float64, shape (...,).

    Examples:
        >>> import math
        >>> largest_log_odds(torch.tensor([[1.0, 1.0 + math.log(3)], [2.0, 2.0]])).exp()  # of two films: 3 to 1, 1 to 1
        tensor([3.0000, 1.0000], dtype=torch.float64)
    """
    nearer = (-distances.double()).movedim(-1, 0).contiguous()
    first, second = _largest_two(nearer)
    return first - _others_of_best(nearer, second)


def _others_of_best(nearer: Tensor, second: Tensor) -> Tensor:
    """Return the logarithm of the sum of exp(nearer) over all but the best, which is `second` at least."""
    # The best class is left out of its own sum before it is added, for beside it the others may round to 0.
    return torch.minimum(nearer, second).sub_(second).exp_().sum(dim=0).sub_(1).log_().add_(second)


def _largest_two(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest and the second largest along the first axis."""
    first, second = values[0], torch.full_like(values[0], -torch.inf)
    for one in values[1:]:
        second = torch.maximum(second, torch.minimum(first, one))
        first = torch.maximum(first, one)
    return first, second


def brier_score(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over queries of sum over classes of (probability - truth)^2: 0 is best, 2 is worst.

    For two classes it is twice the Brier score of the positive class that scikit-learn gives by default.

    Args:
        probabilities: shape (..., n_queries, n_way).
        labels: class of each query, int64, shape (n_queries,), shared by the batch.

    Returns:
        Shape (...,), dtype of `probabilities`.

    Examples:
        >>> probabilities = torch.tensor([[0.8, 0.2], [0.4, 0.6]])  # of two normal films, the second taken for covid19
        >>> round(brier_score(probabilities, torch.tensor([0, 0])).item(), 3)
        0.4

    Source: Brier, "Verification of forecasts expressed in terms of probability", 1950, eq. 2.
    """
    truth = functional.one_hot(labels, probabilities.shape[-1]).to(probabilities.dtype)
    truth = truth.T.contiguous().T  # class by class in memory, as the probabilities are
    return (probabilities - truth).square().sum(-1).mean(-1)


def reliability_bins(confidence: Tensor, correct: Tensor, n_bins: int = 15) -> tuple[Tensor, Tensor, Tensor]:
    """Count decisions by how sure they are; the counts of several batches add up.

    Args:
        confidence: probability of the decided class, 0..1, shape (..., n_queries).
        correct: credit of the decision, bool or 0..1, same shape.
        n_bins: bins of equal width: (0, 1 / n_bins], (1 / n_bins, 2 / n_bins], ...; 0 itself goes to the first.

    Returns:
        Decisions, sum of their confidence, sum of their credits; each float64, shape (..., n_bins).

    Examples:
        >>> confidence, correct = torch.tensor([0.5, 0.75, 1.0]), torch.tensor([False, True, True])
        >>> [each.tolist() for each in reliability_bins(confidence, correct, n_bins=2)]
        [[1.0, 2.0], [0.5, 1.75], [0.0, 2.0]]

    Source: Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015.
    """
    edges = torch.linspace(0, 1, n_bins + 1, dtype=confidence.dtype, device=confidence.device)[1:-1]
    *batch, n_queries = confidence.shape
    n_rows = math.prod(batch)
    rows = torch.arange(n_rows, device=confidence.device).unsqueeze(-1)
    cells = (rows * n_bins + torch.bucketize(confidence.reshape(n_rows, n_queries), edges)).flatten()

    def add_up(values: Tensor) -> Tensor:
        return cells.bincount(values.flatten().double(), minlength=n_rows * n_bins).reshape(*batch, n_bins)

    return add_up(torch.ones_like(confidence)), add_up(confidence), add_up(correct)


def expected_calibration_error(count: Tensor, confidence_sum: Tensor, correct_sum: Tensor) -> Tensor:
    """Return the mean gap between confidence and accuracy, bins weighted by their decisions.

    Args:
        count: decisions of each bin, as `reliability_bins` gives them, or their sums, shape (..., n_bins).
        confidence_sum: of each bin, the same.
        correct_sum: of each bin, the same.

    Returns:
        0..1, shape (...,); NaN where there is no decision.

    Examples:
        >>> confidence, correct = torch.tensor([0.5, 0.75, 1.0]), torch.tensor([False, True, True])
        >>> bins = reliability_bins(confidence, correct, n_bins=2)  # gaps of 0.5 (lower bin) and 0.25 (upper one)
        >>> expected_calibration_error(*bins).item()  # over three films
        0.25

    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599, eq. 3.
    """
    return (correct_sum - confidence_sum).abs().sum(-1) / count.sum(-1)


def fit_temperature(distances: Tensor, labels: Tensor, *, is_smoothed: bool = False) -> float:
    """Find the temperature at which the true classes are likeliest.

    Args:
        distances: smaller is closer, shape (..., n_queries, n_way), of films that are NOT those of the test.
        labels: class of each query, int64, shape (n_queries,), shared by the batch.
        is_smoothed: take a class of n queries for true with (n + 1) / (n + n_way) and every other with the rest, so
            that few queries without a wrong one do not make certain.

    Returns:
        Temperature, in the unit of the distances, within a factor 10,000 of their spread between the classes. It is
        near that end where no query is wrong (any smaller one is better) or where the distances tell nothing.

    Raises:
        ValueError: there is no query, or each is equally far from all classes.

    Examples:
        >>> distances = torch.tensor([[1.0, 3.0]] * 4)  # four films, each nearer to normal than to covid19
        >>> temperature = fit_temperature(distances, torch.tensor([0, 0, 0, 1]))  # three of them are normal
        >>> class_probabilities(distances[0], temperature)
        tensor([0.7500, 0.2500])

    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599, 4.2; the
    smoothing: Platt, "Probabilistic Outputs for Support Vector Machines", 1999, section 2.2, there for two classes.
    """
    distances = distances.detach().double()
    spread = float(distances.std(dim=-1, correction=0).mean())
    if not spread > 0:
        raise ValueError(f"distances must differ between the classes to fit a temperature, got a spread of {spread}")
    n_way = distances.shape[-1]
    targets = functional.one_hot(labels, n_way).double()
    if is_smoothed:
        n_own = labels.bincount(minlength=n_way)[labels].unsqueeze(-1)
        targets = (n_own * targets + 1) / (n_own + n_way)

    def cost(log_temperature: float) -> float:
        log_probabilities = functional.log_softmax(-distances / (spread * math.exp(log_temperature)), dim=-1)
        return -float((targets * log_probabilities).sum(dim=-1).mean())

    # Convex in 1 / temperature, so with one valley in its logarithm.
    reach = np.log(_WIDEST)
    found = scipy.optimize.minimize_scalar(cost, bounds=(-reach, reach), method="bounded", options={"xatol": 1e-6})
    return float(spread * math.exp(found.x))

"""Decision rules that learn from the support: a weighted template, a centred one, a classifier per episode."""

import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr._checks import check_above, check_dense_labels
from fewshot_cxr.distances import class_means, pairwise_distances
from fewshot_cxr.inference.logistic import fit_logistic, support_basis, with_one


def template(
    support: Tensor,
    labels: Tensor,
    queries: Tensor,
    *,
    distance: str = "euclidean",
    weights: Tensor | None = None,
    bias: float = 0.0,
) -> Tensor:
    """Compare with the template (mean support embedding) of each class by a learned weighted L1 distance.

    Args:
        support: labelled embeddings; see `Rule`.
        labels: class of each; see `Rule`.
        queries: embeddings to decide; see `Rule`.
        distance: not used: the weighted L1 distance is the rule's own.
        weights: of the embedding's coordinates, float, shape (dim,), of any sign; None: all 1, plain l1.
        bias: added at the end; it moves every class alike.

    Returns:
        sum_i weights_i |q_i - t_i| + bias: the logit of "another class". Its sigmoid, the probability that the
        siamese network puts out, ranks alike, but is exactly 1 from a logit of 17 on: far classes would tie.

    Raises:
        ValueError: weights are not one per coordinate.

    Source: siamese COVID-Net, KTH DD2424 project, 2020: p(different) = sigmoid of this, decision by the smallest.
    """
    templates = class_means(support, labels)
    dim = support.shape[-1]
    if weights is None:
        return pairwise_distances(queries, templates, "l1") + bias
    if weights.shape != (dim,):
        raise ValueError(
            f"weights must have shape ({dim},), one per coordinate of the embedding, got {tuple(weights.shape)}"
        )
    weights = weights.to(support)
    # |w (q - t)| = |w| |q - t|: one plain l1 for the weights above 0 and one for those below, no cube of differences.
    above, below = weights.clamp_min(0), (-weights).clamp_min(0)
    values = pairwise_distances(queries * above, templates * above, "l1")
    return values - pairwise_distances(queries * below, templates * below, "l1") + bias


def simpleshot(
    support: Tensor, labels: Tensor, queries: Tensor, *, distance: str = "euclidean", centre: Tensor | None = None
) -> Tensor:
    """Subtract a centre, scale to length 1, and take the nearest prototype.

    Args:
        support: labelled embeddings; see `Rule`.
        labels: class of each; see `Rule`.
        queries: embeddings to decide; see `Rule`.
        distance: between the centred rows of length 1 and the mean of those of a class; the paper takes euclidean,
            easyfsl cosine.
        centre: float, shape (dim,): the mean embedding of the training films, as in the paper. None: the mean of the
            class means of the episode's own support, as nothing else is at hand here (easyfsl: no centring at all).

    Raises:
        ValueError: centre is not one number per coordinate.

    Source: Wang, Chao, Weinberger, van der Maaten, "SimpleShot", 2019, arXiv:1911.04623: "CL2N".
    """
    dim = support.shape[-1]
    if centre is not None and centre.shape != (dim,):
        raise ValueError(
            f"centre must have shape ({dim},), one per coordinate of the embedding, got {tuple(centre.shape)}"
        )
    middle = class_means(support, labels).mean(dim=-2, keepdim=True) if centre is None else centre.to(support)
    support, queries = (functional.normalize(rows - middle, dim=-1) for rows in (support, queries))
    return pairwise_distances(queries, class_means(support, labels), distance)


def ridge(
    support: Tensor, labels: Tensor, queries: Tensor, *, distance: str = "euclidean", penalty: float | Tensor = 1.0
) -> Tensor:
    """Regress the one-hot labels on the embeddings, with an intercept and a penalty on squared weights.

    Args:
        support: labelled embeddings; see `Rule`.
        labels: class of each; see `Rule`.
        queries: embeddings to decide; see `Rule`.
        distance: not used: the regression is the rule's own geometry.
        penalty: weight of |W|^2 beside the sum of squared errors (scikit-learn's alpha); or one for each episode, shape
            (...), as `settled` chooses them.

    Returns:
        1 - predicted label: near 0 for a sure class; may lie outside 0..1.

    Raises:
        ValueError: penalty is not above 0.

    Source: the closed form, as for few shots in Bertinetto et al. 2019, arXiv:1805.08136 (R2-D2).
    """
    penalty = _checked(penalty, support)
    targets = one_hot(support, labels)
    centre, mean_target = support.mean(dim=-2, keepdim=True), targets.mean(dim=-2, keepdim=True)
    support, queries, targets = support - centre, queries - centre, targets - mean_target
    n_support, dim = support.shape[-2:]
    # Both give the same weights; the smaller system is the faster one.
    weights: Tensor
    if n_support < dim:
        weights = support.mT @ torch.linalg.solve(_add_to_diagonal(support @ support.mT, penalty), targets)
    else:
        weights = torch.linalg.solve(_add_to_diagonal(support.mT @ support, penalty), support.mT @ targets)
    return 1 - mean_target - queries @ weights


def fit_ridge(rows: Tensor, targets: Tensor, penalty: Tensor, *, kept: Tensor) -> Tensor:
    """Return the predictions of all rows by a ridge regression on those that are kept, (..., n, n_way).

    Args:
        rows: float, shape (..., n, r).
        targets: one-hot, shape (..., n, n_way).
        penalty: shape (...).
        kept: 1, or 0 for a row that is left out, shape (..., n, 1).
    """
    n_kept = kept.sum(dim=-2, keepdim=True)
    centre, mean = (kept * rows).sum(dim=-2, keepdim=True) / n_kept, (kept * targets).sum(dim=-2, keepdim=True) / n_kept
    rows = rows - centre
    inner = kept * rows
    weights: Tensor = torch.linalg.solve(_add_to_diagonal(inner.mT @ inner, penalty), inner.mT @ (targets - mean))
    return mean + rows @ weights


def linear_probe(
    support: Tensor, labels: Tensor, queries: Tensor, *, distance: str = "euclidean", penalty: float | Tensor = 1.0
) -> Tensor:
    """Fit a multinomial logistic regression to the support of each episode, to convergence.

    All episodes at once, by Newton steps (100 at most; 5 to 20 are usual) with preconditioned conjugate gradients and
    step halving, in float64 within.

    Args:
        support: labelled embeddings; see `Rule`.
        labels: class of each; see `Rule`.
        queries: embeddings to decide; see `Rule`.
        distance: not used: the regression is the rule's own geometry.
        penalty: weight of |W|^2 / 2 beside the sum of the support's losses (1 / C of scikit-learn); the intercepts
            have none. Or one for each episode, shape (...), as `settled` chooses them.

    Returns:
        -log of the class probabilities.

    Raises:
        ValueError: penalty is not above 0.

    Source: Chen et al., "A Closer Look at Few-shot Classification", 2019, arXiv:1904.04232 ("Baseline"); convex, so
    that any solver gives the same.
    """
    penalty = _checked(penalty, support)
    targets, basis = one_hot(support, labels).double(), support_basis(support)
    weights = fit_logistic(with_one(support.double() @ basis), targets, penalty)
    logits = with_one(queries.double() @ basis) @ weights
    return -logits.log_softmax(dim=-1).to(support.dtype)


def one_hot(support: Tensor, labels: Tensor) -> Tensor:
    """Return the labels one-hot, shape (n_support, n_way), in the dtype of `support`."""
    return functional.one_hot(labels, check_dense_labels(labels, name="labels")).to(support.dtype)


def _checked(penalty: float | Tensor, support: Tensor) -> Tensor:
    if isinstance(penalty, Tensor):
        return penalty.to(support)
    check_above(penalty, 0, "penalty")
    return torch.tensor(penalty, dtype=torch.float64, device=support.device)


def _add_to_diagonal(matrices: Tensor, value: Tensor) -> Tensor:
    return matrices + value[..., None, None].to(matrices) * torch.eye(
        matrices.shape[-1], dtype=matrices.dtype, device=matrices.device
    )

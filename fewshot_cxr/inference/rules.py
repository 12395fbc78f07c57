"""Decision rules: from support and queries to one distance per class, batched over episodes. Smaller is closer."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr._checks import check_at_least, check_dense_labels
from fewshot_cxr.distances import class_averages, mean_distances, pairwise_distances

Rule = Callable[..., Tensor]
"""rule(support, labels, queries, *, distance) -> distances

support (..., n_support, dim) and queries (..., n_queries, dim), float; labels int64 (n_support,) with every value
0..n_way-1, shots may differ by class; returns (..., n_queries, n_way).
"""


def mean_distance(support: Tensor, labels: Tensor, queries: Tensor, *, distance: str = "euclidean") -> Tensor:
    """Return the mean distance to the exemplars of each class (this library's own rule; see `mean_distances`)."""
    return mean_distances(queries, support, labels, distance)


def prototype(support: Tensor, labels: Tensor, queries: Tensor, *, distance: str = "euclidean") -> Tensor:
    """Return the distance to the mean support embedding of each class.

    Source: Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", 2017, arXiv:1703.05175, eq. 1.
    """
    prototypes = class_averages(labels, support.dtype).T @ support
    return pairwise_distances(queries, prototypes, distance)


def knn(support: Tensor, labels: Tensor, queries: Tensor, *, distance: str = "euclidean", k: int = 5) -> Tensor:
    """Let the k nearest exemplars vote; classes with equal votes are ordered by their nearest exemplar.

    Returns:
        For each class the share of the k votes that it did not get, in 0..1, plus less than 1/k for how far its
        nearest exemplar is: fewer votes are always farther.

    Raises:
        ValueError: k is below 1.
    """
    check_at_least(k, 1, "k")
    n_way = check_dense_labels(labels, name="labels")
    k = min(k, len(labels))
    distances = pairwise_distances(queries, support, distance)
    votes = functional.one_hot(labels[distances.topk(k, largest=False).indices], n_way).sum(dim=-2)
    nearest = torch.stack([distances[..., labels == label].amin(dim=-1) for label in range(n_way)], dim=-1)
    return (k - votes) / k + 0.5 / k * nearest / (1 + nearest)


RULES: dict[str, Rule] = {"mean_distance": mean_distance, "prototype": prototype, "knn": knn}

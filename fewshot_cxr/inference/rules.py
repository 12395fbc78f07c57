"""Decision rules: from support and queries to one distance per class, batched over episodes. Smaller is closer."""

from collections.abc import Callable

import torch
from torch import Tensor

from fewshot_cxr._checks import check_at_least, check_dense_labels
from fewshot_cxr.distances import class_means, mean_distances, pairwise_distances
from fewshot_cxr.inference.classifier_rules import linear_probe, ridge, simpleshot, template
from fewshot_cxr.inference.transductive import bd_cspn, laplacian_shot, pt_map, tim

Rule = Callable[..., Tensor]
"""rule(support, labels, queries, *, distance) -> distances

support (..., n_support, dim) and queries (..., n_queries, dim), float; labels int64 (n_support,) with every value
0..n_way-1, in any order, shots may differ by class; returns (..., n_queries, n_way). A rule of OWN_DISTANCE takes
`distance` and leaves it unused.
"""


def mean_distance(support: Tensor, labels: Tensor, queries: Tensor, *, distance: str = "euclidean") -> Tensor:
    """Return the mean distance to the exemplars of each class (this library's own rule; see `mean_distances`)."""
    return mean_distances(queries, support, labels, distance)


def prototype(support: Tensor, labels: Tensor, queries: Tensor, *, distance: str = "euclidean") -> Tensor:
    """Return the distance to the mean support embedding of each class.

    Source: Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", 2017, arXiv:1703.05175, eq. 1.
    """
    return pairwise_distances(queries, class_means(support, labels), distance)


def nearest(support: Tensor, labels: Tensor, queries: Tensor, *, distance: str = "euclidean") -> Tensor:
    """Return the distance to the nearest exemplar of each class."""
    return _least(pairwise_distances(queries, support, distance), labels)


def knn(support: Tensor, labels: Tensor, queries: Tensor, *, distance: str = "euclidean", k: int = 5) -> Tensor:
    """Let the k nearest exemplars vote; classes with equal votes are ordered by their nearest exemplar.

    Exemplars that tie for the last of the k places share what is left, so that the order of rows plays no part.

    Returns:
        For each class the share of the k votes that it did not get, in 0..1, plus less than 1/k for how far its
        nearest exemplar is: a whole vote fewer is always farther.

    Raises:
        ValueError: k is below 1.
    """
    return _voted(pairwise_distances(queries, support, distance), labels, k=k)


def _least(distances: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([own.amin(dim=-1) for own in _by_class(distances, labels)], dim=-1)


def _voted(distances: Tensor, labels: Tensor, *, k: int = 5) -> Tensor:
    check_at_least(k, 1, "k")
    k = min(k, len(labels))
    last = distances.topk(k, largest=False).values[..., -1:]
    is_nearer, is_last = distances < last, distances == last
    places_left = k - is_nearer.sum(dim=-1, keepdim=True)
    shares = is_nearer + is_last * (places_left / is_last.sum(dim=-1, keepdim=True))
    votes = torch.stack([own.sum(dim=-1) for own in _by_class(shares.to(distances.dtype), labels)], dim=-1)
    return knn_values(votes, _least(distances, labels), k)


def knn_values(votes: Tensor, to_nearest: Tensor, k: int) -> Tensor:
    """Return what `knn` says of votes.

    Args:
        votes: of the k, for each class, shape (..., n_way).
        to_nearest: distance to the nearest exemplar of each class, shape (..., n_way).
        k: how many vote.
    """
    # By rank: beside votes, a share of the distance itself would round away where distances are small or large.
    n_nearer = (to_nearest.unsqueeze(-2) < to_nearest.unsqueeze(-1)).sum(dim=-1)
    return (k - votes) / k + 0.5 / k * n_nearer / votes.shape[-1]


def _by_class(values: Tensor, labels: Tensor) -> list[Tensor]:
    n_way = check_dense_labels(labels, name="labels")
    return [values[..., labels == label] for label in range(n_way)]


RULES: dict[str, Rule] = {
    "mean_distance": mean_distance,
    "prototype": prototype,
    "nearest": nearest,
    "knn": knn,
    "template": template,
    "simpleshot": simpleshot,
    "linear_probe": linear_probe,
    "ridge": ridge,
    "bd_cspn": bd_cspn,
    "laplacian_shot": laplacian_shot,
    "pt_map": pt_map,
    "tim": tim,
}

OF_EXEMPLARS: dict[str, Callable[..., Tensor]] = {
    "mean_distance": lambda distances, labels: class_means(distances, labels, dim=-1),
    "nearest": _least,
    "knn": _voted,
}
"""Rule -> the same, of distances that are there already: (distances (..., n_queries, n_support), labels, **options);
labels in ascending order."""

TRANSDUCTIVE = frozenset({"bd_cspn", "laplacian_shot", "pt_map", "tim"})
"""Rules that look at all queries of an episode at once: a query's answer depends on the others."""

EVEN = frozenset({"pt_map", "tim"})
"""Rules that expect as many queries of each class."""

STEADY = frozenset({"mean_distance"})
"""Rules whose distance to a finding is the same on average however few films show it; by the others it is not."""

OWN_DISTANCE: dict[str, str] = {
    "template": "weighted l1",
    "linear_probe": "logistic regression",
    "ridge": "ridge regression",
    "bd_cspn": "cosine",
    "laplacian_shot": "squared euclidean, unit length",
    "pt_map": "squared euclidean, power transform",
    "tim": "cosine",
}
"""Rule -> its own geometry, in words, for the rules to which the `distance` argument does not apply."""

"""One arithmetic of distances for losses, decision rules and explanations: smaller is closer."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr._checks import check_dense_labels, lookup


def euclidean(rows: Tensor, columns: Tensor) -> Tensor:
    """Return sqrt(sum (r - c)^2), by subtraction: exact for near rows, where the matrix-product form loses digits."""
    return torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")


def squared_euclidean(rows: Tensor, columns: Tensor) -> Tensor:
    """Return sum (r - c)^2, as |r|^2 - 2 r.c + |c|^2 about the mean column, never below 0."""
    # Centring keeps the norms small, so that the cancellation costs few digits.
    centre = columns.mean(dim=-2, keepdim=True)
    rows, columns = rows - centre, columns - centre
    cross = rows @ columns.transpose(-1, -2)
    return (rows.square().sum(-1, keepdim=True) - 2 * cross + columns.square().sum(-1).unsqueeze(-2)).clamp_min(0)


def cosine(rows: Tensor, columns: Tensor) -> Tensor:
    """Return 1 - cos(angle), in 0..2; a zero vector has cosine 0 with everything."""
    return 1 - functional.normalize(rows, dim=-1) @ functional.normalize(columns, dim=-1).transpose(-1, -2)


def l1(rows: Tensor, columns: Tensor) -> Tensor:
    """Return sum |r - c|."""
    return torch.cdist(rows, columns, p=1.0)


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "euclidean": euclidean,
    "squared_euclidean": squared_euclidean,
    "cosine": cosine,
    "l1": l1,
}


def pairwise_distances(rows: Tensor, columns: Tensor, distance: str = "euclidean") -> Tensor:
    """Measure every row against every column.

    Args:
        rows: float, shape (..., n_rows, dim).
        columns: float, shape (..., n_columns, dim).
        distance: a name in DISTANCES.

    Returns:
        Distances, shape (..., n_rows, n_columns).

    Raises:
        ValueError: unknown distance, or the two differ in dim.
    """
    if rows.shape[-1] != columns.shape[-1]:
        raise ValueError(
            f"embeddings of dim {rows.shape[-1]} cannot be compared with dim {columns.shape[-1]}: same encoder?"
        )
    return lookup(DISTANCES, distance, what="distance")(rows, columns)


def class_averages(labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the matrix that averages rows by class: shape (n_rows, n_way), 1/n_shot of its class, else 0.

    Args:
        labels: int64, shape (n_rows,), holding every class 0..n_way-1; the number of rows per class may differ.
        dtype: of the matrix.

    Raises:
        ValueError: a class has no row.
    """
    n_way = check_dense_labels(labels, name="labels")
    membership = functional.one_hot(labels, n_way).to(dtype)
    return membership / membership.sum(dim=0, keepdim=True)


def mean_distances(queries: Tensor, support: Tensor, labels: Tensor, distance: str = "euclidean") -> Tensor:
    """Average the distances of each query to the exemplars of each class: this library's own decision value.

    Args:
        queries: float, shape (..., n_queries, dim).
        support: exemplars, float, shape (..., n_support, dim).
        labels: class of each exemplar, int64, shape (n_support,), holding every value 0..n_way-1.
        distance: a name in DISTANCES.

    Returns:
        Mean distances, shape (..., n_queries, n_way).

    Source: F. Ayik, ITU BLG561E report, 2021: mean distance to sampled exemplars (there of all classes together).
    """
    return pairwise_distances(queries, support, distance) @ class_averages(labels, queries.dtype)

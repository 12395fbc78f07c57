"""How well a score puts the films that have a finding above those that have not."""

import math

import numpy as np
import torch
from torch import Tensor


def ranking_scores(scores: Tensor, is_positive: Tensor) -> tuple[Tensor, Tensor]:
    """Return the area under the ROC curve and the average precision, exact with ties.

    Args:
        scores: larger is more positive, shape (..., n).
        is_positive: bool, shape (n,), shared by the batch.

    Returns:
        AUROC and average precision, float64, each of shape (...,); NaN where one side is empty. They equal
        scikit-learn's `roc_auc_score` and `average_precision_score` (no interpolation) of every row.

    Raises:
        ValueError: the lengths differ, or a score is NaN.

    Source: AUROC by rank sums: Mann, Whitney, 1947; Hanley, McNeil, "The meaning and use of the area under a ROC
    curve", 1982; average precision: Davis, Goadrich, "The relationship between Precision-Recall and ROC curves", 2006.
    """
    if is_positive.shape != scores.shape[-1:]:
        raise ValueError(f"is_positive must have one value per score, {scores.shape[-1]}, got {len(is_positive)}")
    scores = _comparable(scores)
    return _rank(scores, scores[..., is_positive], is_positive.sum())


def one_vs_rest(scores: Tensor, labels: Tensor, n_way: int) -> tuple[Tensor, Tensor]:
    """Return AUROC and average precision of each class against the rest.

    Args:
        scores: of each query for each class, larger is more so, shape (..., n_queries, n_way).
        labels: class of each query, int64, shape (n_queries,), values 0..n_way-1, shared by the batch.
        n_way: number of classes.

    Returns:
        AUROC and average precision, float64, each of shape (..., n_way); NaN for a class that none or all queries have.

    Raises:
        ValueError: shapes or labels do not fit, or a score is NaN.

    Source: as `ranking_scores`.
    """
    if scores.shape[-2:] != (len(labels), n_way):
        raise ValueError(f"scores must end in (n_queries, n_way) = {(len(labels), n_way)}, got {tuple(scores.shape)}")
    counts = labels.bincount(minlength=n_way)
    if len(counts) > n_way:
        raise ValueError(f"labels must be 0..{n_way - 1}, got {int(labels.max())}; Embeddings relabels for you")
    scores = _comparable(scores)
    own = scores[..., torch.arange(len(labels), device=labels.device), labels]
    # One row of positives per class, padded at the end: inf is sorted there and counts below no score.
    place = torch.arange(int(counts.max()) if len(labels) else 0, device=labels.device)
    is_real = place < counts.unsqueeze(-1)
    rows = labels.new_zeros(is_real.shape).masked_scatter(is_real, labels.argsort(stable=True))
    return _rank(scores.transpose(-1, -2).contiguous(), own[..., rows].masked_fill(~is_real, math.inf), counts)


def _rank(everyone: Tensor, positives: Tensor, n_positive: Tensor) -> tuple[Tensor, Tensor]:
    """Count what stands below each positive: everyone (..., n), positives (..., most), n_positive (...) of them."""
    n = everyone.shape[-1]
    everyone, positives = _sorted(everyone), _sorted(positives)
    if n and everyone[..., -1].isnan().any():
        raise ValueError("scores must be numbers, got NaN; look at the embeddings they come from")
    is_real = torch.arange(positives.shape[-1], device=positives.device) < n_positive.unsqueeze(-1)
    below = torch.searchsorted(everyone, positives)
    to_here = torch.searchsorted(everyone, positives, right=True)
    positives_below = torch.searchsorted(positives, positives)
    wins = torch.where(is_real, below + to_here, 0).sum(-1)  # twice: a tie counts half
    precision = (n_positive.unsqueeze(-1) - positives_below) / (n - below).clamp_min(1).double()
    n_negative = n - n_positive
    # Among themselves the positives win n_positive^2 / 2 times, ties or not.
    auroc = (wins - n_positive.square()).double() / (2 * n_positive * n_negative)
    average_precision = torch.where(is_real, precision, 0.0).sum(-1) / n_positive
    return auroc, torch.where(n_negative > 0, average_precision, torch.nan)


def _comparable(scores: Tensor) -> Tensor:
    return scores.detach() if scores.dtype in (torch.float32, torch.float64) else scores.detach().double()


def _sorted(values: Tensor) -> Tensor:
    if values.is_cuda:
        return values.sort(dim=-1).values
    # On a CPU NumPy's is several times faster, and as fast on one core as on two.
    return torch.from_numpy(np.sort(values.contiguous().numpy(), axis=-1))

"""Numbers of an order of films: AUROC, average precision, and how none of these is told."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


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

    Examples:
        >>> scores, is_covid19 = torch.tensor([0.9, 0.4, 0.6, 0.1]), torch.tensor([True, True, False, False])
        >>> auroc, average_precision = ranking_scores(scores, is_covid19)  # of 4 pairs 3 are in order
        >>> auroc.item(), round(average_precision.item(), 3)
        (0.75, 0.833)

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

    Examples:
        >>> scores = torch.tensor([[0.9, 0.1], [0.4, 0.3], [0.6, 0.7], [0.1, 0.8]])  # for normal, for covid19
        >>> auroc, average_precision = one_vs_rest(scores, torch.tensor([0, 0, 1, 1]), n_way=2)
        >>> auroc.tolist()
        [0.75, 1.0]

    Source: as `ranking_scores`.
    """
    if scores.shape[-2:] != (len(labels), n_way):
        raise ValueError(f"scores must end in (n_queries, n_way) = {(len(labels), n_way)}, got {tuple(scores.shape)}")
    counts = labels.bincount(minlength=n_way)
    if len(counts) > n_way:
        raise ValueError(f"labels must be 0..{n_way - 1}, got {int(labels.max())}; Embeddings relabels for you")
    # Class by class in memory. One row of positives per class, padded at the end: inf is sorted there and counts below
    # no score.
    by_class = _comparable(scores).movedim(-1, 0).contiguous()
    rows, sizes = labels.argsort(stable=True), counts.tolist()
    own = [some.index_select(-1, row) for some, row in zip(by_class, torch.split(rows, sizes), strict=True)]
    most = max(sizes, default=0)
    padded = [functional.pad(some, (0, most - some.shape[-1]), value=math.inf) for some in own]
    sizes_of_each = counts.reshape(-1, *(1,) * (scores.ndim - 2))
    auroc, average_precision = _rank(by_class, torch.stack(padded), sizes_of_each)
    return auroc.movedim(0, -1), average_precision.movedim(0, -1)


def _rank(everyone: Tensor, positives: Tensor, n_positive: Tensor) -> tuple[Tensor, Tensor]:
    """Count what stands below each positive: everyone (..., n), positives (..., most), n_positive (...) of them."""
    n = everyone.shape[-1]
    everyone, positives = _sorted(everyone), _sorted(positives)
    if n and everyone[..., -1].isnan().any():
        raise ValueError("scores must be numbers, got NaN; look at the embeddings they come from")
    place = torch.arange(positives.shape[-1], device=positives.device)
    is_real = place < n_positive.unsqueeze(-1)
    below = torch.searchsorted(everyone, positives)
    to_here, positives_below = below + 1, place.expand_as(below).contiguous()
    has_ties = (everyone[..., 1:] == everyone[..., :-1]).any(dim=-1)
    if bool(has_ties.any()):  # they are rare, and cost two searches more
        everyone, tied = everyone[has_ties], positives[has_ties]
        to_here[has_ties] = torch.searchsorted(everyone, tied, right=True)
        positives_below[has_ties] = torch.searchsorted(tied, tied)
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


def _in_order(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values in ascending order, and their places."""
    if values.is_cuda:
        return values.sort(dim=-1)
    order = np.argsort(values.contiguous().numpy(), axis=-1)
    places = torch.from_numpy(order)
    return values.gather(-1, places), places


def open_set_scores(known: Tensor, unknown: Tensor) -> tuple[Tensor, Tensor]:
    """Say how well a score parts films of the episode's classes from films of none of them.

    Args:
        known: scores of films of the episode's classes, larger is more known, shape (..., n_known).
        unknown: scores of films of other findings, shape (..., n_unknown), same batch.

    Returns:
        AUROC of known against unknown, and the share of unknown films that are accepted at the largest threshold that
        accepts at least 95 % of the known ones (a film AT the threshold is accepted); each float64, shape (...,), NaN
        where one side is empty.

    Raises:
        ValueError: a score is NaN.

    Examples:
        >>> known, unknown = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([0.65, 0.2])
        >>> auroc, accepted = open_set_scores(known, unknown)
        >>> auroc.item(), accepted.item()  # 7 of 8 pairs are in order; of the unknown, 0.65 passes the threshold of 0.6
        (0.875, 0.5)

    Source: Hendrycks, Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
    Networks", 2017, arXiv:1610.02136; the second: Liang, Li, Srikant, "Enhancing the Reliability of
    Out-of-distribution Image Detection in Neural Networks", 2018, arXiv:1706.02690, section 4.2.
    """
    n_known, n_unknown = known.shape[-1], unknown.shape[-1]
    known, unknown = _sorted(_comparable(known)), _comparable(unknown).contiguous()
    for side in (known[..., -1:], unknown):  # NaN is sorted to the end
        if bool(side.isnan().any()):
            raise ValueError("scores must be numbers, got NaN; look at the embeddings they come from")
    if not n_known or not n_unknown:
        nothing = torch.full(known.shape[:-1], torch.nan, dtype=torch.float64, device=known.device)
        return nothing, nothing
    # Twice how often a known film stands above an unknown one: a tie counts half.
    below, to_here = torch.searchsorted(known, unknown), torch.searchsorted(known, unknown, right=True)
    wins = 2 * n_known * n_unknown - (below + to_here).sum(-1)
    n_accepted = -(-19 * n_known // 20)  # 95 % rounded up, in whole numbers
    threshold = known[..., n_known - n_accepted, None]
    return wins.double() / (2 * n_known * n_unknown), (unknown >= threshold).double().mean(-1)


def risk_coverage(confidence: Tensor, error: Tensor, coverages: Tensor) -> Tensor:
    """Return the mean error where only the most confident share of the films is decided.

    Films of equal confidence come in no order: the value is the mean over all their orders.

    Args:
        confidence: larger is surer, shape (..., n).
        error: of each decision, bool or 0..1, same shape.
        coverages: shares of films, in (0, 1], shape (m,); rounded up to whole films.

    Returns:
        float64, shape (..., m).

    Raises:
        ValueError: a share outside (0, 1], or no film.

    Examples:
        >>> confidence, error = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([False, False, False, True])
        >>> risk_coverage(confidence, error, torch.tensor([0.75, 1.0])).tolist()  # the least sure film is the wrong one
        [0.0, 0.25]

    Source: Geifman, El-Yaniv, "Selective Classification for Deep Neural Networks", 2017, arXiv:1705.08500, eq. 2.
    """
    n = confidence.shape[-1]
    if not n or not bool(((coverages > 0) & (coverages <= 1)).all()):
        raise ValueError(f"coverages must be in (0, 1] of one film or more, got {coverages.tolist()} of {n} films")
    if bool(confidence.isnan().any()):
        raise ValueError("scores must be numbers, got NaN; look at the embeddings they come from")
    # The small step back undoes the rounding of shares such as 7 / 25 * 25.
    n_kept = (coverages.double() * n - 1e-6).ceil().long().clamp(1, n).to(confidence.device)
    return risks_by_number(confidence, error)[..., n_kept - 1]


def risks_by_number(confidence: Tensor, error: Tensor) -> Tensor:
    """Return `risk_coverage` where the one surest film, the two surest, ... and all n are decided.

    Args:
        confidence: as `risk_coverage` takes it, shape (..., n).
        error: as `risk_coverage` takes it, same shape.

    Returns:
        float64, shape (..., n).

    Examples:
        >>> risks_by_number(torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([False, True, False, False]))
        tensor([0.0000, 0.5000, 0.3333, 0.2500], dtype=torch.float64)
    """
    if not confidence.shape[-1]:
        raise ValueError("one film or more is needed for risks, got a curve of 0 films")
    doubt, order = _in_order(-confidence)
    errors = error.double().gather(-1, order).cumsum(-1)
    n_kept = torch.arange(1, errors.shape[-1] + 1, device=errors.device)
    if bool((doubt[..., 1:] == doubt[..., :-1]).any()):
        errors = functional.pad(errors, (1, 0))
        start, end = torch.searchsorted(doubt, doubt), torch.searchsorted(doubt, doubt, right=True)
        before = errors.gather(-1, start)
        share_of_tied = (n_kept - start) / (end - start).double()
        errors = before + share_of_tied * (errors.gather(-1, end) - before)
    return errors / n_kept


def area_under_risk_coverage(confidence: Tensor, error: Tensor) -> Tensor:
    """Return the mean of `risk_coverage` over every number of films, 1 to n: smaller is better.

    Args:
        confidence: as `risk_coverage` takes it, shape (..., n).
        error: as `risk_coverage` takes it, same shape.

    Returns:
        float64, shape (...,).

    Examples:
        >>> confidence, error = torch.tensor([0.9, 0.6]), torch.tensor([False, True])
        >>> area_under_risk_coverage(confidence, error).item()  # the mean of 0 of 1 film wrong and 1 of 2
        0.25

    Source: Geifman, Uziel, El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers", 2019,
    arXiv:1805.08206, section 2.
    """
    return risks_by_number(confidence, error).mean(-1)

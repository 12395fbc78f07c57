"""Knowing what one does not know: films of no known class, and the films it is better to leave undecided."""

import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr.metrics.ranking import ranking_scores


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

    Source: Hendrycks, Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
    Networks", 2017, arXiv:1610.02136; the second: Liang, Li, Srikant, "Enhancing the Reliability of
    Out-of-distribution Image Detection in Neural Networks", 2018, arXiv:1706.02690, section 4.2.
    """
    n_known, n_unknown = known.shape[-1], unknown.shape[-1]
    is_known = torch.arange(n_known + n_unknown, device=known.device) < n_known
    auroc, _ = ranking_scores(torch.cat([known, unknown], dim=-1), is_known)
    if not n_known or not n_unknown:
        return auroc, torch.full_like(auroc, torch.nan)
    n_accepted = -(-19 * n_known // 20)  # 95 % rounded up, in whole numbers
    threshold = known.kthvalue(n_known - n_accepted + 1, dim=-1, keepdim=True).values
    return auroc, (unknown >= threshold).double().mean(-1)


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

    Source: Geifman, El-Yaniv, "Selective Classification for Deep Neural Networks", 2017, arXiv:1705.08500, eq. 2.
    """
    n = confidence.shape[-1]
    if not n or not bool(((coverages > 0) & (coverages <= 1)).all()):
        raise ValueError(f"coverages must be in (0, 1] of one film or more, got {coverages.tolist()} of {n} films")
    # The small step back undoes the rounding of shares such as 7 / 25 * 25.
    n_kept = (coverages.double() * n - 1e-6).ceil().long().clamp(1, n).to(confidence.device)
    doubt, order = (-confidence).sort(dim=-1)
    errors = functional.pad(error.double().gather(-1, order).cumsum(-1), (1, 0))
    last = doubt[..., n_kept - 1].contiguous()
    start, end = torch.searchsorted(doubt, last), torch.searchsorted(doubt, last, right=True)
    before = errors.gather(-1, start)
    share_of_tied = (n_kept - start) / (end - start).double()
    return (before + share_of_tied * (errors.gather(-1, end) - before)) / n_kept


def area_under_risk_coverage(confidence: Tensor, error: Tensor) -> Tensor:
    """Return the mean of `risk_coverage` over every number of films, 1 to n: smaller is better.

    Args:
        confidence: as `risk_coverage` takes it, shape (..., n).
        error: as `risk_coverage` takes it, same shape.

    Returns:
        float64, shape (...,).

    Source: Geifman, Uziel, El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers", 2019,
    arXiv:1805.08206, section 2.
    """
    n = confidence.shape[-1]
    coverages = torch.arange(1, n + 1, dtype=torch.float64, device=confidence.device) / max(n, 1)
    return risk_coverage(confidence, error, coverages).mean(-1)

"""From distances to decisions, their counts, and every number that these hold."""

import numpy as np
import torch
from torch import Tensor


def tie_credits(distances: Tensor) -> Tensor:
    """Give each query's decision to its nearest class; k classes tied for the minimum get 1/k each.

    Args:
        distances: smaller is closer, shape (..., n_way).

    Returns:
        Credits, same shape and dtype; they sum to 1 over the classes.
    """
    is_nearest = (distances == distances.amin(dim=-1, keepdim=True)).to(distances.dtype)
    return is_nearest / is_nearest.sum(dim=-1, keepdim=True)


def confusion_counts(
    true_ids: np.ndarray, predicted_ids: np.ndarray, credits: np.ndarray, n_classes: int
) -> np.ndarray:
    """Add up credits by true and predicted class.

    Args:
        true_ids: int64, of any shape, values 0..n_classes-1.
        predicted_ids: the same, of the same shape.
        credits: of the same shape: the share of a decision (1, or less where classes tie).
        n_classes: size of the table.

    Returns:
        float64, shape (n_classes, n_classes); rows are the truth, columns the prediction.
    """
    cells = (true_ids * n_classes + predicted_ids).ravel()
    return np.bincount(cells, weights=credits.ravel(), minlength=n_classes**2).reshape(n_classes, n_classes)


def confusion_scores(confusion: Tensor) -> dict[str, Tensor]:
    """Return the usual scores of confusion matrices; what is undefined is NaN, never 0.

    Args:
        confusion: weights of 0 or more (counts, credits of ties, means over episodes), shape (..., n_way, n_way);
            rows are the truth, columns the prediction.

    Returns:
        float64. Of shape (...,): accuracy; balanced_accuracy (mean sensitivity of the classes that have a film);
        macro_f1 and weighted_f1 (over the classes that occur in truth or prediction, equally or by their films);
        mcc; kappa. Of shape (..., n_way), each class against the rest: sensitivity, specificity, ppv, npv, f1
        (2 TP / (2 TP + FP + FN)), one_vs_rest_accuracy. All are scikit-learn's, which writes 0 for some of the NaN.
        A number that is NaN adds nothing to the gradient of one that is defined.

    Raises:
        ValueError: the last two axes differ in length.

    Source: mcc: Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004,
    doi:10.1016/j.compbiolchem.2004.09.006, eq. 8; kappa: Cohen, "A coefficient of agreement for nominal scales", 1960;
    balanced accuracy: Brodersen et al., "The balanced accuracy and its posterior distribution", 2010.
    """
    if confusion.ndim < 2 or confusion.shape[-1] != confusion.shape[-2]:
        raise ValueError(
            f"confusion must be of shape (..., n_way, n_way), got {tuple(confusion.shape)}; confusion_counts makes it"
        )
    table = confusion.double()
    # Sums over the others, not "total minus own": an absent class must give 0 itself, not a rounding error.
    others = 1 - torch.eye(table.shape[-1], dtype=table.dtype, device=table.device)
    true, predicted, hits = table.sum(-1), table.sum(-2), table.diagonal(dim1=-2, dim2=-1)
    misses, false_alarms = (table * others).sum(-1), (table * others).sum(-2)
    not_true, not_predicted = true @ others, predicted @ others
    rejections = not_true - false_alarms
    total = true.sum(-1)
    sensitivity = _ratio(hits, true)
    f1 = _ratio(2 * hits, 2 * hits + false_alarms + misses)
    by_chance = (true * predicted).sum(-1)
    above_chance = total * hits.sum(-1) - by_chance
    return {
        "accuracy": _ratio(hits.sum(-1), total),
        "balanced_accuracy": _mean_of_defined(sensitivity),
        "macro_f1": _mean_of_defined(f1),
        "weighted_f1": _ratio((f1.nan_to_num() * true).sum(-1), total),
        "mcc": _ratio_to_root(above_chance, (predicted * not_predicted).sum(-1) * (true * not_true).sum(-1)),
        "kappa": _ratio(above_chance, (true * not_predicted).sum(-1)),
        "sensitivity": sensitivity,
        "specificity": _ratio(rejections, not_true),
        "ppv": _ratio(hits, predicted),
        "npv": _ratio(rejections, not_predicted),
        "f1": f1,
        "one_vs_rest_accuracy": _ratio(hits + rejections, total.unsqueeze(-1).expand_as(hits)),
    }


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    # The inner `where` keeps 0/0 out of the backward pass, where 0 times NaN would be NaN.
    is_defined = whole > 0
    return torch.where(is_defined, part / torch.where(is_defined, whole, 1.0), torch.nan)


def _ratio_to_root(part: Tensor, square: Tensor) -> Tensor:
    is_defined = square > 0
    return torch.where(is_defined, part / torch.where(is_defined, square, 1.0).sqrt(), torch.nan)


def _mean_of_defined(values: Tensor) -> Tensor:
    is_defined = ~values.isnan()
    return _ratio(torch.where(is_defined, values, 0.0).sum(-1), is_defined.sum(-1).to(values.dtype))

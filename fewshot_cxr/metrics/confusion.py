"""From distances to decisions and their counts."""

import numpy as np
from torch import Tensor


def tie_credits(distances: Tensor) -> Tensor:
    """Give each query's decision to its nearest class; k classes tied for the minimum get 1/k each.

    Args:
        distances: smaller is closer, shape (..., n_way).

    Returns:
        Credits, same shape and dtype; they sum to 1 over the classes.

    Examples:
        >>> import torch
        >>> tie_credits(torch.tensor([[0.4, 0.9, 0.8], [0.7, 0.3, 0.3]]))
        tensor([[1.0000, 0.0000, 0.0000],
                [0.0000, 0.5000, 0.5000]])
    """
    is_nearest = (distances == distances.amin(dim=-1, keepdim=True)).to(distances.dtype)
    return is_nearest / is_nearest.sum(dim=-1, keepdim=True)


def confusion_counts(
    true_ids: np.ndarray, predicted_ids: np.ndarray, credits: np.ndarray, n_classes: int
) -> np.ndarray:
    """Add up credits by true and predicted class.

    Args:
        true_ids: whole numbers, of any shape, values 0..n_classes-1.
        predicted_ids: the same, of the same shape.
        credits: of the same shape: the share of a decision (1, or less where classes tie).
        n_classes: size of the table.

    Returns:
        float64, shape (n_classes, n_classes); rows are the truth, columns the prediction.

    Examples:
        >>> true, predicted = np.array([0, 0, 1]), np.array([0, 1, 1])  # 0 normal, 1 covid19
        >>> confusion_counts(true, predicted, np.ones(3), n_classes=2).tolist()
        [[1.0, 1.0], [0.0, 1.0]]
    """
    cells = (true_ids.astype(np.int64) * n_classes + predicted_ids).ravel()  # of few bits the product would wrap
    return np.bincount(cells, weights=credits.ravel(), minlength=n_classes**2).reshape(n_classes, n_classes)

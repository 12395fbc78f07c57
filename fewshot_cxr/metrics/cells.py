"""What confusion matrices hold of each class, and shares of it that are defined or NaN."""

from functools import cached_property

import torch
from torch import Tensor


class Cells:
    """What confusion matrices hold of each class against the rest, batched and differentiable.

    Args:
        confusion: weights of 0 or more (counts, credits of ties, means over episodes), shape (..., n_way, n_way);
            rows are the truth, columns the prediction.

    Attributes:
        true: weight of the films of each class, float64, shape (..., n_way), as all but `total`.
        predicted: of those taken for it.
        hits: of those of the class and taken for it.
        misses: of those of the class and taken for another.
        false_alarms: of those of another and taken for it.
        rejections: of those of another and taken for another.
        not_true: of those of another.
        not_predicted: of those taken for another.
        total: of all films, shape (...,).

    Raises:
        ValueError: the last two axes differ in length.

    Examples:
        >>> cells = Cells(torch.tensor([[8, 2], [1, 9]]))  # of ten films of each finding eight and nine are right
        >>> cells.sensitivity.tolist(), cells.false_alarms.tolist()
        ([0.8, 0.9], [1.0, 2.0])
    """

    def __init__(self, confusion: Tensor) -> None:
        if confusion.ndim < 2 or confusion.shape[-1] != confusion.shape[-2]:
            raise ValueError(
                f"confusion must be of shape (..., n_way, n_way), got {tuple(confusion.shape)}; confusion_counts makes "
                "it"
            )
        table = confusion.double()
        wrong = table * _others(table)
        self._settle(table.diagonal(dim1=-2, dim2=-1), wrong.sum(-1), wrong.sum(-2))

    @classmethod
    def of(cls, hits: Tensor, misses: Tensor, false_alarms: Tensor) -> "Cells":
        """Make them of three sums of a confusion matrix, each float64, shape (..., n_way): all that they rest on."""
        cells = cls.__new__(cls)
        cells._settle(hits, misses, false_alarms)
        return cells

    def _settle(self, hits: Tensor, misses: Tensor, false_alarms: Tensor) -> None:
        self.hits, self.misses, self.false_alarms = hits, misses, false_alarms
        self.true, self.predicted = hits + misses, hits + false_alarms
        # Sums over the others, not "total minus own": an absent class must give 0 itself, not a rounding error.
        others = _others(hits)
        self.not_true, self.not_predicted = self.true @ others, self.predicted @ others
        self.rejections = self.not_true - self.false_alarms
        self.total = self.true.sum(-1)

    @cached_property
    def sensitivity(self) -> Tensor:
        """Share of the films of each class that were taken for it."""
        return ratio(self.hits, self.true)

    @cached_property
    def f1(self) -> Tensor:
        """2 TP / (2 TP + FP + FN)."""
        return ratio(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)

    @cached_property
    def above_chance(self) -> Tensor:
        """Weight of the hits beyond what the sums of rows and columns alone would give, times the total."""
        return self.total * self.hits.sum(-1) - (self.true * self.predicted).sum(-1)


def _others(values: Tensor) -> Tensor:
    return 1 - torch.eye(values.shape[-1], dtype=values.dtype, device=values.device)


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Divide; NaN where the whole is 0, without harm to a gradient.

    Examples:
        >>> ratio(torch.tensor([3.0, 0.0]), torch.tensor([4.0, 0.0])).tolist()
        [0.75, nan]
    """
    # The inner `where` keeps 0/0 out of the backward pass, where 0 times NaN would be NaN.
    is_defined = whole > 0
    return torch.where(is_defined, part / torch.where(is_defined, whole, 1.0), torch.nan)


def mean_of_defined(values: Tensor) -> Tensor:
    """Average over the last axis what is no NaN.

    Examples:
        >>> mean_of_defined(torch.tensor([0.5, 1.0, torch.nan])).item()
        0.75
    """
    is_defined = ~values.isnan()
    return ratio(torch.where(is_defined, values, 0.0).sum(-1), is_defined.sum(-1).to(values.dtype))

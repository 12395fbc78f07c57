"""Losses of a linear classifier on findings: one per film, or any number of them, some of which nobody looked for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewshot_cxr._checks import check_at_least, class_name, lookup

_Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""loss(logits (N, C), targets, class weights (C,)) -> scalar"""

_BETA = 0.999
_SURE = 1e-12  # below it the chance of being wrong has no slope: 0 to a power below 1 has an infinite one


CLASS_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "inverse": lambda counts: 1 / counts,
    "effective": lambda counts: (1 - _BETA) / (1 - _BETA**counts),
}


def class_weights(counts: Tensor, scheme: str) -> Tensor:
    """Weigh the findings against how often the training films show them.

    Args:
        counts: films that show each finding, shape (C,).
        scheme: in CLASS_WEIGHTS. inverse: 1 / n; effective: (1 - 0.999) / (1 - 0.999^n), which no longer falls once a
            finding has a few thousand films.

    Returns:
        float32, shape (C,), with mean 1.

    Raises:
        ValueError: unknown scheme, or a finding without a film.

    Examples:
        >>> class_weights(torch.tensor([300, 100]), "inverse").tolist()  # 300 films show normal, 100 covid19
        [0.5, 1.5]

    Source: Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", 2019, arXiv:1901.05555, eq. 2.
    """
    weigh = lookup(CLASS_WEIGHTS, scheme, what="class weights")
    if not bool((counts > 0).all()):
        raise ValueError(
            f"class weights need a film of every finding, got counts {counts.tolist()}: leave the empty findings out"
        )
    weights = weigh(counts.double())
    return (weights / weights.mean()).float()


class ClassificationLoss(nn.Module):
    """A loss on logits, always in float32, mixed precision or not.

    Attributes:
        name: in CLASSIFICATION_LOSSES, or of the loss's class.
        loss: takes (logits, targets), and the class weights where `is_weighted`.
        n_classes: findings.
        class_weights: buffer, shape (n_classes,).
        is_weighted: whether the loss takes them: one of ours does.

    Examples:
        >>> loss = build_classification_loss("bce", n_classes=2)
        >>> targets = torch.tensor([[1.0, torch.nan]])  # it shows pneumonia; nobody looked for an effusion
        >>> round(loss(torch.tensor([[0.0, 9.0]]), targets).item(), 3)  # log 2, of pneumonia alone
        0.693
    """

    class_weights: Tensor

    def __init__(
        self,
        name: str,
        loss: Callable[..., Tensor],
        *,
        n_classes: int,
        class_weights: Tensor | None,
        is_weighted: bool = True,
    ) -> None:
        super().__init__()
        weights = torch.ones(n_classes) if class_weights is None else class_weights.float()
        if weights.shape != (n_classes,):
            raise ValueError(f"class weights must be one per finding, shape ({n_classes},), got {tuple(weights.shape)}")
        self.name, self.n_classes, self.loss, self.is_weighted = name, n_classes, loss, is_weighted
        self.register_buffer("class_weights", weights)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of one batch.

        Args:
            logits: float, shape (N, n_classes).
            targets: int64, shape (N,), the finding of each film; or float, shape (N, n_classes), 1 where the film shows
                the finding, 0 where it does not, NaN where nobody looked: such an entry is left out of the mean.

        Returns:
            float32, shape (); 0 with a gradient of 0 where a batch states nothing.

        Raises:
            ValueError: the shapes do not go together, or cross_entropy meets films of several findings.
        """
        if logits.ndim != 2 or logits.shape[1] != self.n_classes:
            raise ValueError(f"logits must have shape (N, {self.n_classes}), got {tuple(logits.shape)}")
        expected = logits.shape if targets.is_floating_point() else logits.shape[:1]
        if targets.shape != expected:
            raise ValueError(f"targets must have shape {tuple(expected)}, got {tuple(targets.shape)}")
        with torch.autocast(logits.device.type, enabled=False):
            weights = (self.class_weights,) if self.is_weighted else ()
            return self.loss(logits.float(), targets, *weights)


def _cross_entropy(*, label_smoothing: float = 0.0) -> _Loss:
    def loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        if targets.is_floating_point():
            raise ValueError("loss 'cross_entropy' takes one finding per film, got several: take 'bce' or 'focal'")
        return functional.cross_entropy(logits, targets, weights, label_smoothing=label_smoothing)

    return loss


def _bce() -> _Loss:
    def loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        if not targets.is_floating_point():
            targets = functional.one_hot(targets, logits.shape[1]).float()
        return _mean_of_stated(logits, targets, weights, gamma=0.0)

    return loss


def _focal(*, gamma: float = 2.0) -> _Loss:
    check_at_least(gamma, 0, "gamma")

    def loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        if targets.is_floating_point():
            return _mean_of_stated(logits, targets, weights, gamma=gamma)
        losses, weights = functional.cross_entropy(logits, targets, reduction="none"), weights[targets]
        return (weights * _focus(losses, gamma)).sum() / weights.sum()

    return loss


def _mean_of_stated(logits: Tensor, targets: Tensor, weights: Tensor, *, gamma: float) -> Tensor:
    is_stated = ~targets.isnan()
    # By choosing entries, not by a product with 0: what is left out may be NaN and must not reach the gradient.
    weights, targets = weights.expand_as(logits)[is_stated], targets[is_stated]
    losses = functional.binary_cross_entropy_with_logits(logits[is_stated], targets, reduction="none")
    weights = targets * weights + (1 - targets)
    return (weights * _focus(losses, gamma)).sum() / max(len(losses), 1)


def _focus(losses: Tensor, gamma: float) -> Tensor:
    """Multiply each cross-entropy, -log p of what is true, by (1 - p)^gamma."""
    return losses if gamma == 0 else (-torch.expm1(-losses)).clamp_min(_SURE) ** gamma * losses


CLASSIFICATION_LOSSES: dict[str, Callable[..., _Loss]] = {"cross_entropy": _cross_entropy, "bce": _bce, "focal": _focal}


def build_classification_loss(
    loss: str | Callable[..., Tensor], *, n_classes: int, class_weights: Tensor | None = None, **options: Any
) -> ClassificationLoss:
    """Build a loss of a classifier.

    Args:
        loss: a name in CLASSIFICATION_LOSSES. cross_entropy: of the softmax, for one finding per film. bce: of a
            sigmoid per finding, for any number of them. focal (Lin et al. 2017, arXiv:1708.02002): of the softmax where
            a film has one finding, of sigmoids where it may have several; films that are right already count less. Or
            a loss of torch's, or any callable from (logits, targets) to a scalar.
        n_classes: findings.
        class_weights: shape (n_classes,). Of a softmax they weigh the films of a finding, and the mean is the weighted
            one; of sigmoids they weigh the entries that are present, not the absent ones (torch's pos_weight).
        options: label_smoothing of cross_entropy, gamma of focal; a misspelt one is Python's own TypeError.

    Raises:
        ValueError: unknown loss, class weights of another number, gamma below 0, or weights or options beside an
            object, which has its own.

    Examples:
        >>> loss = build_classification_loss("cross_entropy", n_classes=3)
        >>> round(loss(torch.zeros(2, 3), torch.tensor([0, 2])).item(), 3)  # log 3: three findings, each as likely
        1.099
    """
    if not isinstance(loss, str) and callable(loss):
        if class_weights is not None or options:
            raise ValueError(f"loss is a {class_name(loss)}, made already: leave class_weights and loss_options out")
        return ClassificationLoss(class_name(loss), loss, n_classes=n_classes, class_weights=None, is_weighted=False)
    made = lookup(CLASSIFICATION_LOSSES, loss, what="classification loss")(**options)
    return ClassificationLoss(loss, made, n_classes=n_classes, class_weights=class_weights)

"""Multinomial logistic regressions, one for each of many episodes, fitted at once and to convergence."""

import torch
from torch import Tensor
from torch.nn import functional

_MAX_NEWTON_STEPS = 100
_MAX_HALVINGS = 40
_SMALL_GAIN = 1e-14  # of the loss by one more step, as a share of the loss


def support_basis(support: Tensor) -> Tensor:
    """Return an orthonormal basis of the span of a support, in which the weights lie: it is far smaller, and exact.

    Its axes are the support's principal ones, along which the curvature of a fit is nearly diagonal.
    """
    support = support.double()
    basis: Tensor = torch.linalg.qr(support.mT).Q
    rows = (support - support.mean(dim=-2, keepdim=True)) @ basis
    turned: Tensor = torch.linalg.eigh(rows.mT @ rows).eigenvectors
    return basis @ turned


def with_one(rows: Tensor) -> Tensor:
    """Append a column of ones."""
    return functional.pad(rows, (0, 1), value=1.0)


def fit_logistic(
    rows: Tensor, targets: Tensor, penalty: Tensor, *, kept: Tensor | None = None, small_gain: float = _SMALL_GAIN
) -> Tensor:
    """Minimise sum of losses + penalty/2 |W|^2.

    Args:
        rows: float64, shape (..., n, r), with a last column of ones.
        targets: one-hot, shape (..., n, n_way).
        penalty: shape () or (...).
        kept: 1, or 0 for a row that is left out, shape (..., n, 1); None keeps all.
        small_gain: of the loss by one more step, as a share of the loss, at which it ends.

    Returns:
        W, shape (..., r, n_way).
    """
    counts = rows.new_ones(rows.shape[-2], 1) if kept is None else kept
    # About their mean the rows say nothing of the intercept, which is what it was once they are moved back.
    centre = functional.pad(rows[..., :-1].mean(dim=-2, keepdim=True), (0, 1))
    rows = rows - centre
    penalties = penalty.to(rows)[..., None, None].repeat(*(1,) * penalty.ndim, rows.shape[-1], 1)
    penalties[..., -1, :] = 0  # the intercept
    weights = rows.new_zeros(*rows.shape[:-2], rows.shape[-1], targets.shape[-1])

    def loss(weights: Tensor) -> Tensor:
        losses = -(counts * targets * (rows @ weights).log_softmax(dim=-1)).sum(dim=(-1, -2))
        return losses + (penalties * weights.square()).sum(dim=(-1, -2)) / 2

    value = loss(weights)
    for number in range(_MAX_NEWTON_STEPS):
        shares = (rows @ weights).softmax(dim=-1)
        gradient = _across_classes(rows.mT @ (counts * (shares - targets)) + penalties * weights)
        step = _newton_step(rows, shares, penalties, gradient, counts, tolerance=max(1e-6, 0.1 ** (number + 1)))
        slope = (gradient * step).sum(dim=(-1, -2))
        length = torch.ones_like(value)
        for _ in range(_MAX_HALVINGS):
            tried = loss(weights + length[..., None, None] * step)
            is_too_far = tried > value + 1e-4 * length * slope + 1e-12 * value.abs()
            if not bool(is_too_far.any()):
                break
            length = torch.where(is_too_far, length / 2, length)
        weights, value = weights + length[..., None, None] * step, tried
        if bool((-slope <= small_gain * value).all()):
            break
    return torch.cat([weights[..., :-1, :], weights[..., -1:, :] - centre @ weights], dim=-2)


def _newton_step(
    rows: Tensor, shares: Tensor, penalties: Tensor, gradient: Tensor, counts: Tensor, *, tolerance: float
) -> Tensor:
    """Solve H step = -gradient by conjugate gradients, each episode with its own numbers.

    `tolerance` is the share of the squared error that may stay: far from the end a rough step does as well.
    """
    weights = counts * shares
    # Preconditioned by the diagonal of H, which is most of it (`support_basis`): half the steps.
    diagonal = rows.square().mT @ (weights * (1 - shares)) + penalties
    diagonal = diagonal.clamp_min(torch.finfo(rows.dtype).tiny)

    def curve(direction: Tensor) -> Tensor:
        change = rows @ direction
        return rows.mT @ (weights * (change - (shares * change).sum(dim=-1, keepdim=True))) + penalties * direction

    def inner(left: Tensor, right: Tensor) -> Tensor:
        return (left * right).flatten(-2).sum(dim=-1)[..., None, None]

    step, residual = torch.zeros_like(gradient), -gradient
    direction = eased = _across_classes(residual / diagonal)
    size = inner(residual, eased)
    enough = size * tolerance
    for _ in range(2 * gradient.shape[-1] * gradient.shape[-2]):
        is_open = size > enough
        if not bool(is_open.any()):
            break
        curved = curve(direction)
        curvature = inner(direction, curved)
        is_open = is_open & (curvature > 0)
        length = torch.where(is_open, size / curvature, 0.0)
        step, residual = step + length * direction, residual - length * curved
        eased = _across_classes(residual / diagonal)
        left = torch.where(is_open, inner(residual, eased), 0.0)
        direction = torch.where(is_open, eased + left / size * direction, 0.0)
        size = left
    return step


def _across_classes(values: Tensor) -> Tensor:
    # A change of all classes alike changes no answer: rounding must not send the solver that way.
    return values - values.mean(dim=-1, keepdim=True)

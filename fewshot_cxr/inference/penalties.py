"""The penalty of rules that fit a classifier to each support, chosen inside the support: each patient is left out."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.inference.classifier_rules import fit_ridge, one_hot
from fewshot_cxr.inference.logistic import fit_logistic, support_basis, with_one

AUTO = "auto"
FACTORS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Of the mean squared distance of the support from its centre: embeddings of any length are tried alike."""
_USUAL = 1.0
_MOST_FOLDS = 20
_SMALL_GAIN = 1e-8  # of the loss by one more step: to compare penalties, no more is needed


def probe_penalty(support: Tensor, labels: Tensor, patients: Tensor) -> Tensor:
    """Choose the penalty of `linear_probe`: that with the smallest loss on films of patients left out.

    Args:
        support: labelled embeddings, float, shape (..., n_support, dim).
        labels: class of each, int64, shape (n_support,).
        patients: int64, shape (..., n_support), equal for films of one patient.

    Returns:
        Shape (...), float64. Where each patient left out would take a whole class away it is 1, as usual.
    """

    def losses(rows: Tensor, targets: Tensor, kept: Tensor, penalty: Tensor) -> Tensor:
        logits = with_one(rows) @ fit_logistic(with_one(rows), targets, penalty, kept=kept, small_gain=_SMALL_GAIN)
        return -(targets * logits.log_softmax(dim=-1)).sum(dim=-1)

    return _choose(support, labels, patients, losses)


def ridge_penalty(support: Tensor, labels: Tensor, patients: Tensor) -> Tensor:
    """Choose the penalty of `ridge`: that with the smallest squared error; see `probe_penalty`."""

    def losses(rows: Tensor, targets: Tensor, kept: Tensor, penalty: Tensor) -> Tensor:
        return (targets - fit_ridge(rows, targets, penalty, kept=kept)).square().sum(dim=-1)

    return _choose(support, labels, patients, losses)


PENALTIES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "linear_probe": probe_penalty,
    "ridge": ridge_penalty,
}
"""rule -> what chooses its penalty, of (support, labels, patients)"""


def settled(
    rule: str, options: Mapping[str, Any] | None, support: Tensor, labels: Tensor, patients: np.ndarray | Tensor
) -> dict[str, Any]:
    """Return the options of a rule, with a penalty that is to be chosen ("auto") chosen on this support.

    Args:
        rule: a name in RULES.
        options: its keyword arguments.
        support: as for `probe_penalty`, which the others are, too.
        labels: class of each.
        patients: of each.

    Raises:
        ValueError: "auto" for a rule that has no penalty.
    """
    options = dict(options or {})
    if options.get("penalty") == AUTO:
        if rule not in PENALTIES:
            raise ValueError(f"rule {rule!r} has no penalty to choose: {', '.join(PENALTIES)} have one")
        with torch.inference_mode():
            options["penalty"] = PENALTIES[rule](support, labels, torch.as_tensor(patients, device=support.device))
    return options


def _choose(
    support: Tensor, labels: Tensor, patients: Tensor, losses: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
) -> Tensor:
    rows = (support.double() - support.double().mean(dim=-2, keepdim=True)) @ support_basis(support)
    scale = rows.square().sum(dim=-1).mean(dim=-1)
    targets = one_hot(rows, labels)
    folds = _folds(patients)  # (..., n)
    n_folds = min(len(labels), _MOST_FOLDS)
    is_left = folds.unsqueeze(-2) == torch.arange(n_folds, device=folds.device).unsqueeze(-1)  # (..., n_folds, n)
    kept = (~is_left).double()
    is_fit = ((kept @ targets).amin(dim=-1) > 0).unsqueeze(-1) & is_left  # a fold that keeps no film of a class is none
    rows, targets = rows.unsqueeze(-3).expand(*kept.shape, -1), targets.expand(*kept.shape, -1)
    found = []
    for factor in FACTORS:
        penalty = torch.where(scale > 0, factor * scale, _USUAL).unsqueeze(-1).expand(kept.shape[:-1])
        lost = losses(rows, targets, kept.unsqueeze(-1), penalty)
        found.append(torch.where(is_fit, lost, 0.0).sum(dim=(-1, -2)))
    best = torch.stack(found, dim=-1).argmin(dim=-1)
    chosen = scale * torch.tensor(FACTORS, dtype=torch.float64, device=scale.device)[best]
    has_any = is_fit.any(dim=-1).any(dim=-1) & (scale > 0)
    return torch.where(has_any, chosen, _USUAL)


def _folds(patients: Tensor) -> Tensor:
    """Return the fold of each film: that of its patient's first film, of which there are as many as films, or 20."""
    is_same = patients.unsqueeze(-1) == patients.unsqueeze(-2)
    return is_same.int().argmax(dim=-1) % _MOST_FOLDS

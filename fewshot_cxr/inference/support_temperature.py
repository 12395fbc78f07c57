"""A temperature for the probabilities, fitted on the exemplars alone: each decided by those of other patients."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.inference.rules import STEADY
from fewshot_cxr.metrics import fit_temperature
from fewshot_cxr.patient_ids import patient_codes

_MOST_GROUPS = 20
_MOST_ASKED = 1000


def fit_on_exemplars(
    decide: Callable[[Tensor, Tensor, Tensor], Tensor],
    vectors: Tensor,
    labels: Tensor,
    patient_ids: np.ndarray,
    *,
    rule: str,
) -> float | None:
    """Leave each patient out, or each of 20 groups of them where they are more, and fit on how they are decided.

    Args:
        decide: (support, labels, queries) -> distances, as a `Rule`.
        vectors: of the exemplars, float, shape (n, dim).
        labels: class of each, int64, shape (n,), holding every value 0..n_way-1.
        patient_ids: int64, shape (n,).
        rule: a name in RULES; see `kept_beside`.

    Returns:
        The temperature; None where some finding has one patient only, or the distances tell nothing.
    """
    step, classes = -(-len(labels) // _MOST_ASKED), labels.numpy()
    # Numbered finding by finding, so that no group holds all patients of one.
    order = np.argsort(classes, kind="stable")
    groups = np.empty(len(classes), dtype=np.int64)
    groups[order] = patient_codes(patient_ids[order]) % _MOST_GROUPS
    found, true = [], []
    for group in range(int(groups.max()) + 1):
        is_out = groups == group
        asked, kept = np.flatnonzero(is_out)[::step], kept_beside(classes, is_out, rule=rule, turn=group)
        if len(set(classes[kept])) == len(set(classes)):
            found.append(decide(vectors[kept], labels[kept], vectors[asked]).double())
            true.append(labels[asked])
    return temperature_of(found, true)


def kept_beside(labels: np.ndarray, is_left_out: np.ndarray, *, rule: str, turn: int = 0) -> np.ndarray:
    """Return the rows that decide films which are left out: of every finding about the same share.

    A mean of fewer films lies farther from a film of its finding, by their scatter alone: were the film's own finding
    the only one that loses films, it would seem the farthest where each has two or three. By a rule of STEADY it does
    not, and all that is left decides.

    Args:
        labels: class of each film, int64, shape (n,).
        is_left_out: bool, shape (n,).
        rule: a name in RULES.
        turn: of the other findings other films stay with each turn.

    Returns:
        Rows, ascending; one of each finding at least that has a film left.
    """
    if rule in STEADY:
        return np.flatnonzero(~is_left_out)
    n_films = np.bincount(labels)
    n_kept = np.bincount(labels[~is_left_out], minlength=len(n_films))
    share = (n_kept / n_films).min()
    rows = []
    for label, n_all in enumerate(n_films):
        own = np.flatnonzero((labels == label) & ~is_left_out)
        rows.append(np.roll(own, -turn)[: max(1, round(share * n_all))])
    return np.sort(np.concatenate(rows))


def temperature_of(distances: list[Tensor], labels: list[Tensor]) -> float | None:
    """Fit a temperature on films that were decided some at a time; None: there are none, or the distances tell nothing.

    Args:
        distances: to each class, float, shape (n, n_way) each.
        labels: the true class of these films, int64, shape (n,) each.
    """
    if not distances or not float(torch.cat(distances).std(dim=-1, correction=0).mean()) > 0:
        return None
    return fit_temperature(torch.cat(distances), torch.cat(labels), is_smoothed=True)

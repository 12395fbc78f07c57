"""A temperature for the probabilities, fitted on the exemplars alone: each decided by those of other patients."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.metrics import fit_temperature
from fewshot_cxr.patient_ids import patient_codes

_MOST_GROUPS = 20
_MOST_ASKED = 1000


def fit_on_exemplars(
    decide: Callable[[Tensor, Tensor, Tensor], Tensor], vectors: Tensor, labels: Tensor, patient_ids: np.ndarray
) -> float | None:
    """Leave each patient out, or each of 20 groups of them where they are more, and fit on how they are decided.

    Args:
        decide: (support, labels, queries) -> distances, as a `Rule`.
        vectors: of the exemplars, float, shape (n, dim).
        labels: class of each, int64, shape (n,), holding every value 0..n_way-1.
        patient_ids: int64, shape (n,).

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
        kept, asked = np.flatnonzero(groups != group), np.flatnonzero(groups == group)[::step]
        if len(set(classes[kept])) == len(set(classes)):
            found.append(decide(vectors[kept], labels[kept], vectors[asked]).double())
            true.append(labels[asked])
    return temperature_of(found, true)


def temperature_of(distances: list[Tensor], labels: list[Tensor]) -> float | None:
    """Fit a temperature on films that were decided some at a time; None: there are none, or the distances tell nothing.

    Args:
        distances: to each class, float, shape (n, n_way) each.
        labels: the true class of these films, int64, shape (n,) each.
    """
    if not distances or not float(torch.cat(distances).std(dim=-1, correction=0).mean()) > 0:
        return None
    return fit_temperature(torch.cat(distances), torch.cat(labels), is_smoothed=True)

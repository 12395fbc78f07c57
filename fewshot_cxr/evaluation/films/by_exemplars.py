"""Answers by exemplars: each film by its distance to labelled ones."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr._checks import lookup
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.inference.penalties import settled
from fewshot_cxr.inference.rules import OWN_DISTANCE, RULES, TRANSDUCTIVE
from fewshot_cxr.metrics import class_probabilities, fit_temperature, log_odds, margins
from fewshot_cxr.patient_ids import patient_codes

Progress = Callable[[int, int], None]

_AT_ONCE = 1024
_MOST_GROUPS = 20
_MOST_ASKED = 1000


def decide_by_exemplars(
    queries: Embeddings,
    support: Embeddings,
    *,
    rule: str = "mean_distance",
    distance: str | None = None,
    options: Mapping[str, Any] | None = None,
    fits_temperature: bool = True,
    progress: Progress | None = None,
) -> Answers:
    """Classify films by their distance to labelled ones.

    Films are ranked for a finding by its margin: the distance to the nearest other finding less that to it. The
    probabilities are a softmax over minus the distances, at a temperature that is fitted on the support, each film
    decided by those of other patients (`fit_on_exemplars`).

    Args:
        queries: the films to answer, one finding each.
        support: labelled films of the same encoder, one finding each; none of them may be asked. Whether the two share
            a patient cannot be seen here: their patients are numbered apart.
        rule: a name in RULES; one of TRANSDUCTIVE looks at all queries at once.
        distance: a name in DISTANCES; None: the one that the support's encoder was trained with, else euclidean.
        options: further keyword arguments of the rule.
        fits_temperature: else it is 1, as it is for a rule of TRANSDUCTIVE, to which the films left out would not be
            those asked, and where some finding has one patient only.
        progress: called with (films done, films in all).

    Raises:
        ValueError: unknown rule or distance, films of several findings, a film on both sides, other dims, fewer than
            two findings in the support, or a finding of the queries that the support lacks.
    """
    decide = lookup(RULES, rule, what="rule")
    held, labels = _check_sides(queries, support)
    distance = distance or support.distance or "euclidean"
    lookup(DISTANCES, distance, what="distance")
    names = support.class_names
    findings = tuple(names[index] for index in held)
    true_ids = [findings.index(queries.class_names[index]) for index in queries.class_ids.tolist()]
    vectors, known = torch.from_numpy(queries.vectors), torch.from_numpy(support.vectors)
    decide = partial(decide, distance=distance, **settled(rule, options, known, labels, support.patient_ids))
    size = len(queries) if rule in TRANSDUCTIVE else _AT_ONCE
    parts: list[Tensor] = []
    for first in range(0, len(queries), size):
        with torch.inference_mode():
            parts.append(decide(known, labels, vectors[first : first + size]).double())
        if progress is not None:
            progress(min(first + size, len(queries)), len(queries))
    distances, temperature = torch.cat(parts), None
    if fits_temperature and rule not in TRANSDUCTIVE:
        temperature = fit_on_exemplars(decide, known, labels, support.patient_ids)
    return Answers(
        findings=findings,
        truth=true_ids,
        probabilities=class_probabilities(distances, temperature or 1.0).numpy(),
        paths=queries.film_names,
        patient_ids=queries.patient_ids,
        has_patient=queries.has_patient,
        rule=rule,
        distance=OWN_DISTANCE.get(rule, distance),
        is_transductive=rule in TRANSDUCTIVE,
        log_odds=log_odds(distances / (temperature or 1.0)).numpy(),
        margins=margins(distances).numpy(),
        temperature=temperature,
        notes=("the films have no paths and are known by their row",) if queries.paths is None else (),
    )


def _check_sides(queries: Embeddings, support: Embeddings) -> tuple[list[int], Tensor]:
    """Return the class ids of the support's findings, and the place of each exemplar's among them."""
    for films, what in ((queries, "queries"), (support, "support")):
        if not isinstance(films, Embeddings):
            raise TypeError(f"{what} must be Embeddings, got {type(films).__name__}")
    if queries.is_multi_label or support.is_multi_label:
        raise ValueError("closed-set evaluation needs films of one finding each; choose findings (--findings)")
    if shared := set(queries.paths or ()) & set(support.paths or ()):
        raise ValueError(f"film {min(shared)} is support and is asked too; take films of another split as support")
    dims = queries.vectors.shape[1], support.vectors.shape[1]
    if dims[0] != dims[1]:
        raise ValueError(f"embeddings of dim {dims[0]} cannot be compared with dim {dims[1]}: same encoder?")
    if queries.paths is None or support.paths is None:
        known = {row.tobytes() for row in support.vectors}
        if all(row.tobytes() in known for row in queries.vectors):
            raise ValueError("queries and support are the same films; take films of another split as support")
    held, labels = np.unique(support.class_ids, return_inverse=True)
    names = [support.class_names[index] for index in held.tolist()]
    if len(names) < 2:
        raise ValueError(f"the support holds one finding only ({', '.join(names)}); two are needed")
    asked = [queries.class_names[index] for index in np.unique(queries.class_ids).tolist()]
    if lacking := [name for name in asked if name not in names]:
        raise ValueError(
            f"the support has no film of {', '.join(lacking)}, which the films to judge show; "
            "add exemplars or choose findings (--findings)"
        )
    return held.tolist(), torch.from_numpy(labels)


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
    if not found or not float(torch.cat(found).std(dim=-1, correction=0).mean()) > 0:
        return None
    return fit_temperature(torch.cat(found), torch.cat(true), is_smoothed=True)

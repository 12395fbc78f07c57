"""What films are decided to be: by their distance to labelled ones, or by the logits of a classifier."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr._checks import lookup, nearest
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.data import patient_ids
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.inference.rules import OWN_DISTANCE
from fewshot_cxr.metrics import class_probabilities, log_odds, margins
from fewshot_cxr.records import Records

_AT_ONCE = 1024
# Minus the logarithm of a score for each finding; the probabilities are a softmax over minus these.
_COSTS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": torch.neg,
    "sigmoid": lambda logits: functional.softplus(-logits),
}


def decide_by_exemplars(
    queries: Embeddings,
    support: Embeddings,
    *,
    rule: str = "mean_distance",
    distance: str | None = None,
    options: Mapping[str, Any] | None = None,
    fits_temperature: bool = True,
    progress: Bar | None = None,
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

    Examples:
        >>> support = Embeddings([[0.0], [1.0], [8.0], [9.0]], ["normal", "normal", "covid19", "covid19"])
        >>> queries = Embeddings([[2.0], [7.0]], ["normal", "covid19"], paths=["5.png", "6.png"])
        >>> answers = decide_by_exemplars(queries, support)
        >>> answers.findings, answers.credits.tolist()
        (('covid19', 'normal'), [[0.0, 1.0], [1.0, 0.0]])
    """
    _check_sides(queries, support)
    decider = Decider(support, rule=rule, distance=distance, options=options)
    true_ids = _columns(queries, decider.findings)
    size = len(queries) if decider.is_transductive else _AT_ONCE
    parts = []
    for first in range(0, len(queries), size):
        parts.append(decider.distances(queries.vectors[first : first + size]))
        tell(progress, min(first + size, len(queries)), len(queries))
    distances, temperature = torch.cat(parts), decider.temperature() if fits_temperature else None
    return Answers(
        findings=decider.findings,
        truth=true_ids,
        probabilities=class_probabilities(distances, temperature or 1.0).numpy(),
        paths=queries.film_names,
        patient_ids=queries.patient_ids,
        has_patient=queries.has_patient,
        rule=rule,
        distance=OWN_DISTANCE.get(rule, decider.distance),
        is_transductive=decider.is_transductive,
        log_odds=log_odds(distances / (temperature or 1.0)).numpy(),
        margins=margins(distances).numpy(),
        temperature=temperature,
        notes=("the films have no paths and are known by their row",) if queries.paths is None else (),
    )


def _check_sides(queries: Embeddings, support: Embeddings) -> None:
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
        if n_same := sum(row.tobytes() in known for row in queries.vectors):
            raise ValueError(
                f"{n_same} of {len(queries)} queries have the very embedding of a support film, as the same film has; "
                "take films of another split as support, or give both paths"
            )


def _columns(queries: Embeddings, findings: Sequence[str]) -> list[int]:
    """Return the column of each film's finding."""
    asked = [queries.class_names[index] for index in np.unique(queries.class_ids).tolist()]
    if lacking := [name for name in asked if name not in findings]:
        raise ValueError(
            f"the support has no film of {', '.join(lacking)}, which the films to judge show; "
            "add exemplars or choose findings (--findings)"
        )
    return [findings.index(queries.class_names[index]) for index in queries.class_ids.tolist()]


def decide_by_classifier(
    classifier_findings: Sequence[str], logits: Any, films: Records, *, activation: str = "softmax"
) -> Answers:
    """Classify films of one finding each by the logits of a classifier.

    Args:
        classifier_findings: those that the classifier tells, two or more.
        logits: finite, shape (N, n_findings), of `classify_films`; larger is more so.
        films: the N films, in the order of the rows.
        activation: "softmax", or "sigmoid": each finding's own probability, divided by their sum over the findings.

    Raises:
        ValueError: shapes do not fit, a logit is not finite, the classifier tells one finding only, or a film shows
            several, or one that the classifier does not know.

    Examples:
        >>> from fewshot_cxr import Record
        >>> films = Records((Record("1.png", ("normal",)), Record("2.png", ("covid19",))), ".")
        >>> answers = decide_by_classifier(["normal", "covid19"], [[3.0, 3.0], [-1.0, 4.0]], films)
        >>> answers.findings, answers.probabilities[0].tolist()  # equal logits
        (('covid19', 'normal'), [0.5, 0.5])
    """
    cost = lookup(_COSTS, activation, what="activation")
    findings = tuple(classifier_findings)
    values = np.asarray(logits, dtype=np.float64)
    if len(findings) < 2:
        raise ValueError(f"a classifier of two findings or more is needed, this one tells {', '.join(findings)}")
    if values.shape != (len(films), len(findings)):
        raise ValueError(f"logits of {len(films)} films and {len(findings)} findings expected, got {values.shape}")
    if not np.isfinite(values).all():
        film = films[int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])]
        raise ValueError(f"film {film.path} has a logit that is not finite; a diverged run? Lower the learning rate")
    refuse_unknown_findings(findings, films)
    place = {name: index for index, name in enumerate(findings)}
    costs = cost(torch.from_numpy(values))
    return Answers(
        findings=findings,
        truth=[place[film.finding] for film in films],
        probabilities=class_probabilities(costs).numpy(),
        paths=tuple(film.path for film in films),
        patient_ids=patient_ids(films),
        log_odds=log_odds(costs).numpy(),
    )


def refuse_unknown_findings(classifier_findings: Sequence[str], films: Records) -> None:
    """Refuse films of several findings, or of one that a classifier does not know; no logits are needed for that."""
    unknown = sorted({film.finding for film in films} - set(classifier_findings))
    if unknown:
        raise ValueError(
            f"the classifier does not know {', '.join(unknown)}{nearest(unknown[0], classifier_findings)}, which films "
            f"to judge show; it tells {', '.join(classifier_findings)}: choose findings (--findings)"
        )

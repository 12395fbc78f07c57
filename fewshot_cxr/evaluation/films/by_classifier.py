"""Answers of a classifier with a head of its own: its logits, film by film."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr._checks import lookup, nearest
from fewshot_cxr.data import patient_ids
from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.metrics import class_probabilities, log_odds
from fewshot_cxr.records import Records

# Minus the logarithm of a score for each finding; the probabilities are a softmax over minus these.
_COSTS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": torch.neg,
    "sigmoid": lambda logits: functional.softplus(-logits),
}


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

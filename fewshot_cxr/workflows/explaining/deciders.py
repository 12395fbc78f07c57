"""The two ways to decide on a finding, by exemplars and by a classifier: their values, and the targets of heat maps."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from fewshot_cxr._checks import lookup
from fewshot_cxr.distances import DISTANCES, class_means, pairwise_distances
from fewshot_cxr.explain import ClassScore, ExemplarSimilarity, LearnedSimilarity, Similarity, Target
from fewshot_cxr.inference import RULES, Classifier
from fewshot_cxr.inference.applied_rule import AppliedRule
from fewshot_cxr.inference.deciding import exemplar_distances, plain_distance
from fewshot_cxr.objectives import WeightedL1Head
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.judging import Exemplars


@dataclass(frozen=True, eq=False)
class ByExemplars:
    """Decide by the distance to labelled films.

    Args:
        exemplars: films of two findings or more, one finding each; their rule is one of EXPLAINED_RULES.
        device: to decide on.

    Raises:
        ValueError: an unknown rule or distance, or a rule without a target; fewer than two findings.
    """

    exemplars: Exemplars
    device: torch.device

    value_name: ClassVar[str] = "distance"

    def __post_init__(self) -> None:
        lookup(RULES, self.rule.name, what="rule")
        lookup(DISTANCES, self.rule.distance, what="distance")
        if self.rule.name not in EXPLAINED_RULES:
            raise ValueError(
                f"rule {self.rule.name!r} has no value whose gradient a heat map could show; explain by one of "
                f"{', '.join(EXPLAINED_RULES)} (--rule)"
            )
        if len(self.findings) < 2:
            raise ValueError(f"the exemplars show one finding only ({', '.join(self.findings)}); two are needed")

    @property
    def rule(self) -> ExemplarRule:
        """The rule of the exemplars."""
        return self.exemplars.rule

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings of the exemplars."""
        return self.exemplars.embeddings.class_names

    @cached_property
    def vectors(self) -> Tensor:
        """Embeddings of the exemplars, float, shape (n, dim)."""
        return torch.from_numpy(self.exemplars.embeddings.vectors).to(self.device)

    @cached_property
    def labels(self) -> Tensor:
        """Class of each exemplar, int64, shape (n,)."""
        return torch.from_numpy(self.exemplars.embeddings.class_ids).to(self.device)

    @property
    def is_learned(self) -> bool:
        """Whether the distance is one that the run has learned."""
        return "weights" in self.rule.options

    @property
    def plain_distance(self) -> str:
        """The name of the distance, where none is learned."""
        return plain_distance(self.rule.name, self.rule.distance)

    def values(self, embeddings: Tensor) -> Tensor:
        """Return the distance to each finding, shape (N, n_findings), of embeddings (N, dim)."""
        by = AppliedRule(self.rule.name, self.rule.distance, self.rule.options)
        return by(self.vectors, self.labels, embeddings)

    def settings(self) -> dict[str, Any]:
        """Return what decides, as plain JSON values."""
        counts = dict(zip(self.findings, self.labels.bincount().tolist(), strict=True))
        return {"by": "exemplars", "rule": self.rule.name, "distance": self.rule.distance, "n_exemplars": counts}

    def target(self, class_ids: Tensor, embeddings: Tensor) -> Target:
        """Return what speaks for one finding of each film: minus the rule's distance to it.

        Args:
            class_ids: int64, shape (N,).
            embeddings: of the same N films, shape (N, dim), without gradient.
        """
        return EXPLAINED_RULES[self.rule.name](self, class_ids, embeddings)

    def nearest(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Return the row of the nearest exemplar of each film, int64 (N,), and its distance, float (N,)."""
        rule = self.rule
        how = {"rule": rule.name, "distance": rule.distance, "options": rule.options}
        found = exemplar_distances(self.vectors, embeddings, **how)  # type: ignore[arg-type]  # of their own types
        smallest = found.min(dim=1)
        return smallest.indices, smallest.values

    def likeness(self, others: Tensor) -> Target:
        """Return the similarity of film i to the film whose embedding is row i of `others`, shape (N, dim)."""
        if not self.is_learned:
            return Similarity(others, self.plain_distance)
        head = WeightedL1Head(self.vectors.shape[1])
        weights, bias = self.rule.options["weights"], torch.tensor(float(self.rule.options["bias"]))
        head.load_state_dict({"alpha": weights, "bias": bias})
        return LearnedSimilarity(head.to(self.device).requires_grad_(False), others)


def _to_mean_distance(decider: ByExemplars, class_ids: Tensor, embeddings: Tensor) -> Target:
    return ExemplarSimilarity(decider.vectors, decider.labels, class_ids, decider.rule.distance)


def _to_prototype(decider: ByExemplars, class_ids: Tensor, embeddings: Tensor) -> Target:
    # Also for the rule template, which compares with the same mean by a distance of its own.
    return decider.likeness(class_means(decider.vectors, decider.labels)[class_ids])


def _to_nearest(decider: ByExemplars, class_ids: Tensor, embeddings: Tensor) -> Target:
    distances = pairwise_distances(embeddings, decider.vectors, decider.rule.distance)
    is_other = decider.labels != class_ids.unsqueeze(1)
    rows = distances.masked_fill(is_other, torch.inf).argmin(dim=1)
    return decider.likeness(decider.vectors[rows])


EXPLAINED_RULES: dict[str, Callable[[ByExemplars, Tensor, Tensor], Target]] = {
    "mean_distance": _to_mean_distance,
    "prototype": _to_prototype,
    "nearest": _to_nearest,
    "template": _to_prototype,
}


@dataclass(frozen=True, eq=False)
class ByClassifier:
    """Decide by the largest logit of a classifier."""

    classifier: Classifier

    value_name: ClassVar[str] = "logit"

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that it tells."""
        return self.classifier.findings

    def values(self, embeddings: Tensor) -> Tensor:
        """Return the logit of each finding, shape (N, n_findings), of embeddings (N, dim)."""
        logits: Tensor = self.classifier.head(embeddings)
        return logits

    def settings(self) -> dict[str, Any]:
        """Return what decides, as plain JSON values."""
        return {"by": "classifier"}

    def target(self, class_ids: Tensor, embeddings: Tensor) -> Target:
        """Return the logit of one finding of each film; `embeddings` play no part in it."""
        return ClassScore(self.classifier.head, class_ids)

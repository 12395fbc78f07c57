"""Labelled embeddings and a rule: the one place where exemplars decide what other films show."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr._checks import lookup
from fewshot_cxr.distances import DISTANCES, pairwise_distances
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.inference.applied_rule import AppliedRule
from fewshot_cxr.inference.bank.index import KINDS, NearestIndex, knn_by_index, nearest_by_index
from fewshot_cxr.inference.classifier import template_options
from fewshot_cxr.inference.rules import RULES
from fewshot_cxr.inference.same_films import SameFilms
from fewshot_cxr.inference.support_temperature import fit_on_exemplars
from fewshot_cxr.patient_ids import patient_codes

INDEXED_FROM = 10_000
"""Exemplars from which an index finds the nearest; of fewer all are measured, as fast."""

_TEMPLATE = "template"
_AT_ONCE = 1024
_BY_INDEX: dict[str, Callable[..., Tensor]] = {"nearest": nearest_by_index, "knn": knn_by_index}


def exemplar_distances(
    exemplars: Tensor, films: Tensor, *, rule: str, distance: str, options: Mapping[str, Any]
) -> Tensor:
    """Return the distance of films to each exemplar by the geometry of a rule, shape (n_films, n).

    Args:
        exemplars: float, shape (n, dim).
        films: float, shape (n_films, dim).
        rule: a name in RULES.
        distance: a name in DISTANCES, which `template` does not heed.
        options: of the rule: a learned distance, where it has one.
    """
    if rule != _TEMPLATE:
        return pairwise_distances(films, exemplars, distance)
    # Of one exemplar each, a template is that exemplar.
    alone = torch.arange(len(exemplars), device=exemplars.device)
    return RULES[_TEMPLATE](exemplars, alone, films, **options)


def plain_distance(rule: str, distance: str) -> str:
    """Return the name of the distance that a rule without a learned one measures by."""
    return "l1" if rule == _TEMPLATE else distance


def learned_options(rule: str, encoder: Encoder, path: str | Path) -> dict[str, Any]:
    """Return the distance that a run has learned, for the rule that asks for it; see `template_options`."""
    return template_options(encoder, path) if rule == _TEMPLATE else {}


class Decider:
    """Labelled embeddings and a rule: the distance of other films to each finding.

    Args:
        support: the labelled films, one finding each, of two findings or more.
        rule: a name in RULES.
        distance: a name in DISTANCES; None: the one that the support's encoder was trained with, else euclidean.
        options: further keyword arguments of the rule; a penalty "auto" is chosen on the whole support.
        index: how the nearest are found, a name in KINDS; see `NearestIndex`. "auto": by none below INDEXED_FROM.

    Attributes:
        findings: names of those that the support shows, in the order of the columns.
        labels: column of each exemplar, int64, shape (n,).

    Raises:
        ValueError: unknown rule or distance, films of several findings, or of one finding only; an index that is asked
            for beside a learned distance.
    """

    def __init__(
        self,
        support: Embeddings,
        *,
        rule: str = "mean_distance",
        distance: str | None = None,
        options: Mapping[str, Any] | None = None,
        index: str = "auto",
    ) -> None:
        applied = AppliedRule(rule, distance or support.distance or "euclidean", options or {})
        self.rule, self.distance = applied.name, applied.distance
        lookup(DISTANCES, self.distance, what="distance")
        if support.is_multi_label:
            raise ValueError("exemplars show one finding each; choose findings (--findings)")
        held, labels = np.unique(support.class_ids, return_inverse=True)
        self.findings = tuple(support.class_names[index] for index in held.tolist())
        if len(self.findings) < 2:
            raise ValueError(f"the support holds one finding only ({', '.join(self.findings)}); two are needed")
        lookup(dict.fromkeys(KINDS), index, what="index")
        if index != "auto" and rule == _TEMPLATE:
            raise ValueError(f"rule {rule!r} has a learned distance, which no index knows: leave index out (--index)")
        self.support, self.labels, self._kind = support, torch.from_numpy(labels), index
        self._vectors = torch.from_numpy(support.vectors)
        self._applied = applied.settled_on(self._vectors, self.labels, support.patient_ids)
        self.options = self._applied.options

    @property
    def is_transductive(self) -> bool:
        """Whether a film's answer depends on the others that are asked with it."""
        return self._applied.is_transductive

    @cached_property
    def index(self) -> NearestIndex | None:
        """What finds the nearest exemplars; None: they are few, or their distance is a learned one."""
        if self.rule == _TEMPLATE or (self._kind == "auto" and len(self.support) < INDEXED_FROM):
            return None
        return NearestIndex(self.support.vectors, distance=self.distance, kind=self._kind)

    @torch.inference_mode()
    def distances(self, queries: np.ndarray) -> Tensor:
        """Return the rule's distance of films, float (n_queries, dim), to each finding: float64 (n_queries, n_way)."""
        if self.rule in _BY_INDEX and self.index is not None:
            return _BY_INDEX[self.rule](self.index, self.labels, queries, **self.options)
        return self._of(self._vectors, self.labels, torch.from_numpy(np.ascontiguousarray(queries, dtype=np.float32)))

    @torch.inference_mode()
    def to_exemplars(self, queries: np.ndarray) -> Tensor:
        """Return the distance of films to each exemplar, shape (n_queries, n): the learned one, where the rule has one.

        Args:
            queries: float, shape (n_queries, dim).
        """
        films = torch.from_numpy(np.ascontiguousarray(queries, dtype=np.float32))
        how = {"rule": self.rule, "distance": self.distance, "options": self.options}
        return exemplar_distances(self._vectors, films, **how)  # type: ignore[arg-type]  # of their own types

    def same_film(self, query: np.ndarray) -> np.ndarray:
        """Return which exemplars are the film itself, bool (n,).

        Args:
            query: its embedding, (dim,).
        """
        return self._same_films.of(query)

    @cached_property
    def _same_films(self) -> SameFilms:
        return SameFilms(self.support.vectors)

    def without(self, is_left_out: np.ndarray) -> "Decider":
        """Return one with some exemplars fewer, by the same options.

        Args:
            is_left_out: bool, shape (n,).

        Raises:
            ValueError: fewer than two findings are left.
        """
        rows = np.flatnonzero(~is_left_out)
        how = {"distance": self.distance, "options": self.options, "index": self._kind}
        return Decider(self.support.take(rows), rule=self.rule, **how)  # type: ignore[arg-type]  # of their own types

    @torch.inference_mode()
    def left_out(self) -> tuple[np.ndarray, Tensor]:
        """Decide each exemplar by those of other patients.

        A patient who has all films of a finding cannot be left out, and is not asked.

        Returns:
            The rows that are asked, int64 (m,), and their distances to all findings, float64 (m, n_way).
        """
        codes, n_way = patient_codes(self.support.patient_ids), len(self.findings)
        rows, found = [np.empty(0, dtype=np.int64)], [torch.empty(0, n_way, dtype=torch.float64)]
        for code in range(int(codes.max()) + 1):
            asked, kept = np.flatnonzero(codes == code), np.flatnonzero(codes != code)
            if len(torch.unique(self.labels[kept])) == n_way:
                rows.append(asked)
                found.append(self._of(self._vectors[kept], self.labels[kept], self._vectors[asked]))
        return np.concatenate(rows), torch.cat(found)

    def temperature(self) -> float | None:
        """Return what makes probabilities of the distances, fitted on the exemplars; see `fit_on_exemplars`."""
        if self.is_transductive:
            return None
        return fit_on_exemplars(self._of, self._vectors, self.labels, self.support.patient_ids, rule=self.rule)

    def _of(self, support: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
        size = len(queries) if self.is_transductive else _AT_ONCE
        parts = torch.split(queries, max(1, size))
        return torch.cat([self._applied(support, labels, part).double() for part in parts])

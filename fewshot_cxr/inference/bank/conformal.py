"""Conformal p-values of "this film has this finding", one score for each patient: from films kept apart, or exemplars.

A p-value is the share of patients, the film's own among them, whose score is at least the film's. Its score says how
much farther the film lies from the finding than from the nearest other one; a patient's is that of its worst film.
Where patients of a finding, and the one to come, are exchangeable, and each has one film, a finding that is left out
where its p-value is alpha or less is the true one at most in a share alpha of patients. A patient with several films
has a worst one, and the share is smaller.

Three scores were tried: the distance to the finding, its difference from that to the nearest other, and their ratio.
All keep the level. On real films (cxr3 by EfficientNet-Lite0, 5 to 20 patients a finding, both rules, euclidean and
cosine) the difference gave the smallest sets: up to 3 % below the ratio, 15 to 34 % below the distance; in simulated
worlds difference and ratio were within 8 % of each other, either way.

Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005, chapter 2, and Mondrian predictors in
4.5; several films of one patient: Dunn, Wasserman, Ramdas, "Distribution-free prediction sets for two-layer
hierarchical models", 2022, arXiv:1809.07441.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fewshot_cxr._checks import check_dense_labels, lookup
from fewshot_cxr.distances import class_means, mean_distances, pairwise_distances
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.metrics import margins

_MOST_AT_ONCE, _MOST_QUERIES = 1 << 22, 1 << 11  # numbers, and films, of a block
_ROUNDING = 1e-9  # of the largest score: patients as strange as the film but for their last digits are as strange


def strangeness(distances: Tensor) -> Tensor:
    """Return the score of each film for each finding: how much farther it is than the nearest other one.

    Args:
        distances: smaller is closer, shape (..., n_way), n_way above 1.
    """
    return -margins(distances)


def worst_of_patients(scores: Tensor, patients: Tensor) -> Tensor:
    """Return the largest score among the films of each patient, in the order of patients' numbers.

    Args:
        scores: of films, shape (n_films, ...).
        patients: of each film, int64, shape (n_films,), any numbers.
    """
    numbers, index = torch.unique(patients, return_inverse=True)
    worst = scores.new_full((len(numbers), *scores.shape[1:]), -torch.inf)
    return worst.scatter_reduce_(0, index.view(-1, *[1] * (scores.ndim - 1)).expand_as(scores), scores, "amax")


def share_as_strange(worst: Tensor, scores: Tensor) -> Tensor:
    """Return the share of patients, each film's own among them, whose score is at least the film's: above 0, up to 1.

    Args:
        worst: score of each other patient, shape (n_patients,), or (n_patients, n_films) where it depends on the film.
        scores: of the films, shape (n_films,).
    """
    finite = worst[worst.isfinite()].abs()
    slack = _ROUNDING * float(finite.max()) if len(finite) else 0.0
    others = worst if worst.ndim == 2 else worst.unsqueeze(1)
    return (1 + (others >= scores - slack).sum(dim=0)).double() / (1 + len(worst))


class SupportConformal:
    """Full conformal p-values from the exemplars alone, each patient's films scored by exemplars of other patients.

    For each film and finding the exemplars are taken with the film as one more of that finding, of a patient of its
    own. Nothing is fitted anew: means and mean distances with one film more and one patient less follow from sums.

    Args:
        vectors: of the exemplars, float, shape (n, dim).
        labels: finding of each, int64, shape (n,), holding every value 0..n_way-1.
        patients: of each, int64, shape (n,), any numbers.
        rule: a name in SUPPORT_RULES.
        distance: a name in DISTANCES.
    """

    def __init__(self, vectors: Tensor, labels: Tensor, patients: Tensor, *, rule: str, distance: str) -> None:
        self._n_way = check_dense_labels(labels, name="labels")
        self._labels, self._patients, self._vectors = labels, patients, vectors.double()
        self._distances = lookup(SUPPORT_RULES, rule, what="rule")(self._vectors, labels, patients, distance)
        self._without = self._distances.by_others()

    @staticmethod
    def check(decider: Decider) -> None:
        """Refuse exemplars and a rule that have no p-values by themselves.

        Args:
            decider: with both.

        Raises:
            ValueError: the rule would have to be fitted anew for each film, finding and patient.
        """
        if decider.rule not in SUPPORT_RULES:
            raise ValueError(
                f"by {decider.rule} exemplars cannot calibrate themselves: take {' or '.join(sorted(SUPPORT_RULES))}, "
                "or calibrate on films kept apart"
            )

    @classmethod
    def of(cls, decider: Decider) -> "SupportConformal":
        """Return that of a decider's exemplars, rule and distance.

        Args:
            decider: of a rule in SUPPORT_RULES.

        Raises:
            ValueError: as `check`.
        """
        cls.check(decider)
        vectors, patients = torch.from_numpy(decider.support.vectors), torch.from_numpy(decider.support.patient_ids)
        return cls(vectors, decider.labels, patients, rule=decider.rule, distance=decider.distance)

    def p_values(self, queries: Tensor, fewest: int) -> Tensor:
        """Return the p-value of each finding for each film.

        Args:
            queries: embeddings of films, float, shape (n_queries, dim).
            fewest: patients of a finding from which it has p-values of its own; below, the patients of all findings
                are taken together.

        Returns:
            float64, shape (n_queries, n_way), above 0 and up to 1.
        """
        step = min(_MOST_QUERIES, max(1, _MOST_AT_ONCE // max(self._vectors.shape)))
        return torch.cat([self._p_values(block.double(), fewest) for block in torch.split(queries, step)])

    def _p_values(self, queries: Tensor, fewest: int) -> Tensor:
        scores = strangeness(self._distances.of_queries(queries))
        columns = []
        for finding in range(self._n_way):
            rows = torch.nonzero(self._labels == finding).squeeze(1)
            if len(torch.unique(self._patients[rows])) < fewest:
                rows = torch.arange(len(self._labels))
            worst = worst_of_patients(self._scores(queries, finding, rows), self._patients[rows])
            columns.append(share_as_strange(worst, scores[:, finding]))
        return torch.stack(columns, dim=1)

    def _scores(self, queries: Tensor, finding: int, rows: Tensor) -> Tensor:
        """Return the scores of some exemplars where each film is one more of a finding, (n_rows, n_queries)."""
        labels, without = self._labels[rows].unsqueeze(1), self._without[rows]
        to_finding = self._distances.with_queries(queries, finding, rows)
        own = torch.where(labels == finding, to_finding, without.gather(1, labels))
        without[:, finding] = torch.inf
        others = without.scatter(1, labels, torch.inf).amin(dim=1, keepdim=True)
        others = torch.where(labels == finding, others, torch.minimum(others, to_finding))
        # Where nobody else has one of the findings nothing is known: as strange as can be, which leaves nothing out.
        return torch.where(own.isfinite() & others.isfinite(), own - others, torch.inf)


class _ToExemplars:
    """The mean distance to the exemplars of each finding."""

    def __init__(self, vectors: Tensor, labels: Tensor, patients: Tensor, distance: str) -> None:
        self._vectors, self._labels, self._distance = vectors, labels, distance
        findings = torch.nn.functional.one_hot(labels).double()
        sums, counts = [], []
        for block, own in zip(torch.split(vectors, 1024), torch.split(patients, 1024), strict=True):
            is_other = (own.unsqueeze(1) != patients).double()
            sums.append((pairwise_distances(block, vectors, distance) * is_other) @ findings)
            counts.append(is_other @ findings)
        self._sums, self._counts = torch.cat(sums), torch.cat(counts)

    def of_queries(self, queries: Tensor) -> Tensor:
        return mean_distances(queries, self._vectors, self._labels, self._distance)

    def by_others(self) -> Tensor:
        """Return the distances of the exemplars by those of other patients, inf where there are none, (n, n_way)."""
        return torch.where(self._counts > 0, self._sums / self._counts, torch.inf)

    def with_queries(self, queries: Tensor, finding: int, rows: Tensor) -> Tensor:
        """Return the same for some exemplars and a finding that has one film more, (n_rows, n_queries)."""
        further = pairwise_distances(queries, self._vectors[rows], self._distance).T
        return (self._sums[rows, finding, None] + further) / (self._counts[rows, finding, None] + 1)


class _ToMeans:
    """The distance to the mean exemplar of each finding."""

    def __init__(self, vectors: Tensor, labels: Tensor, patients: Tensor, distance: str) -> None:
        self._vectors, self._distance = vectors, distance
        self._means = class_means(vectors, labels)
        numbers, self._places = torch.unique(patients, return_inverse=True)
        n_way, dim = self._means.shape
        cells = self._places * n_way + labels
        own = vectors.new_zeros(len(numbers) * n_way, dim).index_add_(0, cells, vectors).view(-1, n_way, dim)
        n_own = cells.bincount(minlength=len(numbers) * n_way).view(-1, n_way)
        # Of other patients, by the patient who is left out.
        self._sums, self._counts = own.sum(dim=0) - own, n_own.sum(dim=0) - n_own

    def of_queries(self, queries: Tensor) -> Tensor:
        return pairwise_distances(queries, self._means, self._distance)

    def by_others(self) -> Tensor:
        """Return the distances of the exemplars by those of other patients, inf where there are none, (n, n_way)."""
        counts = self._counts[self._places]
        means = self._sums / self._counts.clamp_min(1).unsqueeze(2)
        found = [self._to(rows, means[self._places[rows]]) for rows in _blocks(len(counts), means.shape[1:])]
        return torch.where(counts > 0, torch.cat(found), torch.inf)

    def with_queries(self, queries: Tensor, finding: int, rows: Tensor) -> Tensor:
        """Return the same for some exemplars and a finding that has one film more, (n_rows, n_queries)."""
        found = []
        for block in _blocks(len(rows), (len(queries), max(queries.shape))):
            places = self._places[rows[block]]
            sums, counts = self._sums[places, finding].unsqueeze(1), self._counts[places, finding]
            found.append(self._to(rows[block], (sums + queries) / (counts + 1)[:, None, None]))
        return torch.cat(found)

    def _to(self, rows: Tensor, means: Tensor) -> Tensor:
        """Return the distances of some exemplars, each to means of its own, shape (n_rows, n_means, dim)."""
        return pairwise_distances(self._vectors[rows].unsqueeze(1), means, self._distance).squeeze(1)


def _blocks(n_rows: int, shape: Sequence[int]) -> Sequence[Tensor]:
    """Return row numbers in parts, for each of which so many numbers a row are not too many."""
    return torch.split(torch.arange(n_rows), max(1, _MOST_AT_ONCE // max(1, math.prod(shape))))


SUPPORT_RULES: dict[str, Callable[[Tensor, Tensor, Tensor, str], _ToExemplars | _ToMeans]] = {
    "mean_distance": _ToExemplars,
    "prototype": _ToMeans,
}
"""Rules whose distances with one film more and one patient less need no fitting anew."""

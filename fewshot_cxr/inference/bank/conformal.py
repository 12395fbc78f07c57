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

import numpy as np

from fewshot_cxr.inference.bank.exact_distances import exact_distances

_MOST_AT_ONCE, _MOST_QUERIES = 1 << 22, 1 << 11  # numbers, and films, of a block
_ROUNDING = 1e-9  # of the largest score: patients as strange as the film but for their last digits are as strange


def strangeness(distances: np.ndarray) -> np.ndarray:
    """Return the score of each film for each finding: how much farther it is than the nearest other one.

    Args:
        distances: smaller is closer, shape (n, n_way), n_way above 1.

    Returns:
        float64, same shape.
    """
    values = np.asarray(distances, dtype=np.float64)
    two = np.partition(values, 1, axis=1)
    return values - np.where(values == two[:, :1], two[:, 1:2], two[:, :1])


def worst_of_patients(scores: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Return the largest score among the films of each patient, in the order of patients' numbers.

    Args:
        scores: of films, shape (n_films, ...).
        patients: of each film, int64, shape (n_films,), any numbers.
    """
    order = np.argsort(patients, kind="stable")
    starts = np.flatnonzero(np.diff(patients[order], prepend=patients[order[:1]] - 1))
    return np.maximum.reduceat(scores[order], starts, axis=0) if len(starts) else scores[:0]


def share_as_strange(worst: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the share of patients, each film's own among them, whose score is at least the film's: above 0, up to 1.

    Args:
        worst: score of each other patient, shape (n_patients,), or (n_patients, n_films) where it depends on the film.
        scores: of the films, shape (n_films,).
    """
    slack = _ROUNDING * np.abs(worst[np.isfinite(worst)]).max(initial=0.0)
    others = worst if worst.ndim == 2 else worst[:, None]
    return np.asarray((1 + (others >= scores - slack).sum(axis=0)) / (1 + len(worst)))


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

    def __init__(
        self, vectors: np.ndarray, labels: np.ndarray, patients: np.ndarray, *, rule: str, distance: str
    ) -> None:
        check_rule(rule)
        self._n_way, self._labels, self._patients = int(labels.max()) + 1, labels, patients
        self._vectors = vectors.astype(np.float64)
        self._distances = SUPPORT_RULES[rule](self._vectors, labels, patients, distance)
        self._without = self._distances.by_others()

    def p_values(self, queries: np.ndarray, fewest: int) -> np.ndarray:
        """Return the p-value of each finding for each film.

        Args:
            queries: embeddings of films, float, shape (n_queries, dim).
            fewest: patients of a finding from which it has p-values of its own; below, the patients of all findings
                are taken together.

        Returns:
            float64, shape (n_queries, n_way), above 0 and up to 1.
        """
        step = min(_MOST_QUERIES, max(1, _MOST_AT_ONCE // max(self._vectors.shape)))
        blocks = [queries[first : first + step].astype(np.float64) for first in range(0, len(queries), step)]
        return np.concatenate([np.empty((0, self._n_way)), *(self._p_values(block, fewest) for block in blocks)])

    def _p_values(self, queries: np.ndarray, fewest: int) -> np.ndarray:
        scores = strangeness(self._distances.of_queries(queries))
        columns = []
        for finding in range(self._n_way):
            rows = np.flatnonzero(self._labels == finding)
            if len(np.unique(self._patients[rows])) < fewest:
                rows = np.arange(len(self._labels))
            worst = worst_of_patients(self._scores(queries, finding, rows), self._patients[rows])
            columns.append(share_as_strange(worst, scores[:, finding]))
        return np.stack(columns, axis=1)

    def _scores(self, queries: np.ndarray, finding: int, rows: np.ndarray) -> np.ndarray:
        """Return the scores of some exemplars where each film is one more of a finding, (n_rows, n_queries)."""
        labels, without, places = self._labels[rows], self._without[rows], np.arange(len(rows))
        is_own, to_finding = (labels == finding)[:, None], self._distances.with_queries(queries, finding, rows)
        own = np.where(is_own, to_finding, without[places, labels][:, None])
        without[:, finding] = without[places, labels] = np.inf
        others = without.min(axis=1, keepdims=True)
        others = np.where(is_own, others, np.minimum(others, to_finding))
        # Where nobody else has one of the findings nothing is known: as strange as can be, which leaves nothing out.
        is_known = np.isfinite(own) & np.isfinite(others)
        return np.asarray(np.subtract(own, others, out=np.full(is_known.shape, np.inf), where=is_known))


class _ToExemplars:
    """The mean distance to the exemplars of each finding."""

    def __init__(self, vectors: np.ndarray, labels: np.ndarray, patients: np.ndarray, distance: str) -> None:
        self._vectors, self._distance = vectors, distance
        self._findings = np.eye(int(labels.max()) + 1)[labels]
        sums, counts = [], []
        for rows in _blocks(len(vectors), (len(vectors),)):
            is_other = (patients[rows, None] != patients).astype(np.float64)
            sums.append((exact_distances(vectors[rows], vectors, distance) * is_other) @ self._findings)
            counts.append(is_other @ self._findings)
        self._sums, self._counts = np.concatenate(sums), np.concatenate(counts)

    def of_queries(self, queries: np.ndarray) -> np.ndarray:
        found = exact_distances(queries, self._vectors, self._distance) @ self._findings
        return np.asarray(found / self._findings.sum(axis=0))

    def by_others(self) -> np.ndarray:
        """Return the distances of the exemplars by those of other patients, inf where there are none, (n, n_way)."""
        found = np.full_like(self._sums, np.inf)
        return np.asarray(np.divide(self._sums, self._counts, out=found, where=self._counts > 0))

    def with_queries(self, queries: np.ndarray, finding: int, rows: np.ndarray) -> np.ndarray:
        """Return the same for some exemplars and a finding that has one film more, (n_rows, n_queries)."""
        further = exact_distances(self._vectors[rows], queries, self._distance)
        return np.asarray((self._sums[rows, finding, None] + further) / (self._counts[rows, finding, None] + 1))


class _ToMeans:
    """The distance to the mean exemplar of each finding."""

    def __init__(self, vectors: np.ndarray, labels: np.ndarray, patients: np.ndarray, distance: str) -> None:
        self._vectors, self._distance = vectors, distance
        _, self._places = np.unique(patients, return_inverse=True)
        n_way, n_patients = int(labels.max()) + 1, int(self._places.max()) + 1
        own, n_own = np.zeros((n_patients, n_way, vectors.shape[1])), np.zeros((n_patients, n_way))
        np.add.at(own, (self._places, labels), vectors)
        np.add.at(n_own, (self._places, labels), 1)
        self._means = own.sum(axis=0) / n_own.sum(axis=0)[:, None]
        # Of other patients, by the patient who is left out.
        self._sums, self._counts = own.sum(axis=0) - own, n_own.sum(axis=0) - n_own

    def of_queries(self, queries: np.ndarray) -> np.ndarray:
        return exact_distances(queries, self._means, self._distance)

    def by_others(self) -> np.ndarray:
        """Return the distances of the exemplars by those of other patients, inf where there are none, (n, n_way)."""
        means = self._sums / np.maximum(self._counts, 1)[:, :, None]
        found = [self._to(rows, means[self._places[rows]]) for rows in _blocks(len(self._places), means.shape[1:])]
        return np.asarray(np.where(self._counts[self._places] > 0, np.concatenate(found), np.inf))

    def with_queries(self, queries: np.ndarray, finding: int, rows: np.ndarray) -> np.ndarray:
        """Return the same for some exemplars and a finding that has one film more, (n_rows, n_queries)."""
        found = [np.empty((0, len(queries)))]
        for block in _blocks(len(rows), (len(queries), max(queries.shape))):
            places = self._places[rows[block]]
            sums, counts = self._sums[places, finding][:, None], self._counts[places, finding]
            found.append(self._to(rows[block], (sums + queries) / (counts + 1)[:, None, None]))
        return np.concatenate(found)

    def _to(self, rows: np.ndarray, means: np.ndarray) -> np.ndarray:
        """Return the distances of some exemplars, each to means of its own, shape (n_rows, n_means, dim)."""
        return exact_distances(self._vectors[rows], means, self._distance)


def _blocks(n_rows: int, shape: Sequence[int]) -> Sequence[np.ndarray]:
    """Return row numbers in parts, for each of which so many numbers a row are not too many."""
    step = max(1, _MOST_AT_ONCE // max(1, math.prod(shape)))
    return [np.arange(first, min(first + step, n_rows)) for first in range(0, n_rows, step)]


SUPPORT_RULES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, str], _ToExemplars | _ToMeans]] = {
    "mean_distance": _ToExemplars,
    "prototype": _ToMeans,
}
"""Rules whose distances with one film more and one patient less need no fitting anew."""


def check_rule(rule: str) -> None:
    """Refuse a rule by which exemplars have no p-values by themselves.

    Args:
        rule: a name in RULES.

    Raises:
        ValueError: it would have to be fitted anew for each film, finding and patient.
    """
    if rule not in SUPPORT_RULES:
        raise ValueError(
            f"by {rule} exemplars cannot calibrate themselves: take {' or '.join(sorted(SUPPORT_RULES))}, "
            "or calibrate on films kept apart"
        )

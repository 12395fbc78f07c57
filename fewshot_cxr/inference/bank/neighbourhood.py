"""How far a film lies from exemplars, as a multiple of how far they lie from each other.

Distance is measured among the pooled features of the encoder, before its head. A head that gives vectors of unit length
takes from a film what tells that it is strange: among embeddings of the joined head, photographs and side views lie
hardly farther from films of the chest than other films do (docs/bank.md).
"""

from typing import Any

import numpy as np

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.inference.bank.exact_distances import exact_distances
from fewshot_cxr.patient_ids import patient_codes
from fewshot_cxr.seeding import text_key

USUAL_K = 5
_MOST_EXEMPLARS = 2_000  # each is compared with each; a few hundred patients state a rate as well as thousands do
_AT_ONCE = 512


class Neighbourhood:
    """Exemplars and how close they lie to each other: the measure of how far another film lies from them.

    A film's relative distance is the distance to its k-th nearest exemplar, divided by the mean distance of its k
    nearest exemplars to their own k-th nearest one of another patient. Among films such as the exemplars it is about 1,
    whatever the encoder and wherever the exemplars are dense or sparse.

    Of more than 2,000 exemplars, those of some patients are taken, the same whatever the order of rows.

    Args:
        features: of the exemplars, float, shape (n, dim): pooled features, before a head.
        patient_ids: of the exemplars, n hashable values.
        k: which neighbour; None: 5, or fewer where the exemplars are few.

    Attributes:
        k: which neighbour it is.
        patients: of the exemplars that are taken, numbered, int64, shape (n,).
        spacings: distance of each to its k-th nearest one of another patient, float64, shape (n,).

    Raises:
        ValueError: there are exemplars of fewer than three patients, or of too few for `k`.

    Examples:
        >>> exemplars = np.array([[0.0], [1.0], [2.0], [3.0]])  # of four patients, each 1 from the next
        >>> near = Neighbourhood(exemplars, ["P1", "P2", "P3", "P4"], k=1)
        >>> near.spacings.tolist(), near.distances(np.array([[1.0], [8.0]])).tolist()
        ([1.0, 1.0, 1.0, 1.0], [0.0, 5.0])

    Source: after Breunig, Kriegel, Ng, Sander, "LOF: Identifying Density-Based Local Outliers", 2000, definition 7,
    with the k-distance in place of the reachability distance, and patients in place of points.
    """

    def __init__(self, features: np.ndarray, patient_ids: Any, *, k: int | None = None) -> None:
        taken = _some_patients(features, patient_codes(patient_ids))
        self._features = features[taken].astype(np.float64)
        self.patients = patient_codes(patient_codes(patient_ids)[taken])
        sizes = np.sort(np.bincount(self.patients))[::-1]
        most = len(self.patients) - int(sizes[:2].sum())  # with two patients left out, one asked and one his neighbour
        if most < 1:
            raise ValueError(f"exemplars of three patients or more are needed to abstain, got {len(sizes)}")
        self.k = min(USUAL_K, most) if k is None else k
        check_at_least(self.k, 1, "k")
        if self.k > most:
            raise ValueError(f"k must be at most {most} with these {len(self.patients)} exemplars, got {self.k}")
        self._apart = np.concatenate([self._to(self._features[part]) for part in _parts(len(self.patients))])
        self.spacings = self._nearest(self._apart, self.patients)[0][:, -1]

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return the relative distance of other films, float64, shape (n_films,).

        Args:
            features: of the films, float, shape (n_films, dim).
        """
        found = [np.empty(0)]
        for part in _parts(len(features)):
            nearest, rows = self._nearest(self._to(features[part]), None)
            found.append(_relative(nearest[:, -1], self.spacings[rows].mean(axis=1)))
        return np.concatenate(found)

    def left_out(self) -> np.ndarray:
        """Return the relative distance of each exemplar, all those of its patient being left out: float64, (n,)."""
        found = np.empty(len(self.patients))
        for patient in range(int(self.patients.max()) + 1):
            own = np.flatnonzero(self.patients == patient)
            nearest, rows = self._nearest(self._apart[own], self.patients[own])
            around, place = np.unique(rows, return_inverse=True)
            apart = self._apart[around]
            apart[:, own] = np.inf
            spacings = self._nearest(apart, self.patients[around])[0][:, -1]
            found[own] = _relative(nearest[:, -1], spacings[place.reshape(rows.shape)].mean(axis=1))
        return found

    def _to(self, films: np.ndarray) -> np.ndarray:
        return exact_distances(films, self._features, "euclidean")

    def _nearest(self, distances: np.ndarray, patients: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the k smallest of each row and their columns, without those of the row's own patient."""
        if patients is not None:
            distances = np.where(patients[:, None] == self.patients, np.inf, distances)
        rows = np.argpartition(distances, self.k - 1, axis=1)[:, : self.k]
        nearest = np.take_along_axis(distances, rows, axis=1)
        order = nearest.argsort(axis=1)
        return np.take_along_axis(nearest, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _relative(distances: np.ndarray, spacings: np.ndarray) -> np.ndarray:
    """Divide; where exemplars are copies of each other, what is no copy of them is infinitely far."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = distances / spacings
    return np.where(np.isnan(found), 1.0, found)


def _some_patients(features: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Return the rows that are taken, in their order: all films of patients by chance, who follow from the films."""
    if len(patients) <= _MOST_EXEMPLARS:
        return np.arange(len(patients))
    keys = np.array([text_key(np.asarray(row, np.float32).tobytes().hex()) for row in features], dtype=np.uint64)
    first = np.full(int(patients.max()) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(first, patients, keys)
    order = np.lexsort((keys, patients, first[patients]))  # patient by patient
    return np.sort(order[:_MOST_EXEMPLARS])


def _parts(n: int) -> list[slice]:
    return [slice(first, first + _AT_ONCE) for first in range(0, n, _AT_ONCE)]

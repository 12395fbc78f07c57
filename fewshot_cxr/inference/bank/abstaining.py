"""When a bank gives no answer: how far a film lies from the exemplars, from where on that is too far, and the reason.

Distance is measured among the pooled features of the encoder, before its head. A head that gives vectors of unit length
takes from a film what tells that it is strange: among embeddings of the joined head, photographs and side views lie
hardly farther from films of the chest than other films do (docs/bank.md).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fewshot_cxr._checks import check_at_least, check_form
from fewshot_cxr.data.film_marks import FilmMarks
from fewshot_cxr.distances import pairwise_distances
from fewshot_cxr.metrics import Estimate, wilson_interval
from fewshot_cxr.patient_ids import patient_codes
from fewshot_cxr.seeding import text_key

UNREADABLE, NEGATIVE_SPACE, INVERTED = "unreadable", "negative space", "inverted"
NOT_A_FILM, UNKNOWN, AMBIGUOUS = "not_a_frontal_chest_film", "unknown", "ambiguous"
REASONS = (UNREADABLE, NEGATIVE_SPACE, INVERTED, NOT_A_FILM, UNKNOWN, AMBIGUOUS)  # the first that holds is given
USUAL_K = 5
USUAL_RATE = 0.05
_MOST_EXEMPLARS = 2_000  # each is compared with each; a few hundred patients state a rate as well as thousands do
_AT_ONCE = 512
_FORM: dict[str, Any] = {
    "unknown_above": float,
    "false_reject_rate": float,
    "achieved": {"mean": float, "ci95": [float]},
    "n_patients": int,
    "k": int,
}


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

    Source: after Breunig, Kriegel, Ng, Sander, "LOF: Identifying Density-Based Local Outliers", 2000, definition 7,
    with the k-distance in place of the reachability distance, and patients in place of points.
    """

    def __init__(self, features: np.ndarray, patient_ids: Any, *, k: int | None = None) -> None:
        taken = _some_patients(features, patient_codes(patient_ids))
        self._features = torch.from_numpy(np.ascontiguousarray(features[taken], dtype=np.float64))
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
        films = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float64))
        found = [np.empty(0)]
        for part in _parts(len(films)):
            nearest, rows = self._nearest(self._to(films[part]), None)
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

    def _to(self, films: torch.Tensor) -> np.ndarray:
        return pairwise_distances(films, self._features, "squared_euclidean").sqrt().numpy()

    def _nearest(self, distances: np.ndarray, patients: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the k smallest of each row and their columns, without those of the row's own patient."""
        if patients is not None:
            distances = np.where(patients[:, None] == self.patients, np.inf, distances)
        rows = np.argpartition(distances, self.k - 1, axis=1)[:, : self.k]
        nearest = np.take_along_axis(distances, rows, axis=1)
        order = nearest.argsort(axis=1)
        return np.take_along_axis(nearest, order, axis=1), np.take_along_axis(rows, order, axis=1)


@dataclass(frozen=True)
class Thresholds:
    """From where on a film is too far, how that was found, and the reason that is given.

    Args:
        unknown_above: relative distance (see `Neighbourhood`) above which a film is none of the findings.
        false_reject_rate: share of patients with a known finding who may be turned away, as it was asked for.
        achieved: the share that was turned away among patients whose films set no threshold, with Wilson's interval.
        n_patients: whose films set the threshold.
        k: which neighbour the distance is taken to.
    """

    unknown_above: float
    false_reject_rate: float
    achieved: Estimate
    n_patients: int
    k: int

    @classmethod
    def fit(cls, neighbourhood: Neighbourhood, *, false_reject_rate: float = USUAL_RATE) -> "Thresholds":
        """Set the threshold by the exemplars themselves, each patient asked of the others.

        A patient counts by the film that lies farthest away. Where patients are too few for the rate, the largest
        distance is taken, and `caution` says so. What is achieved is counted with a threshold that the others set.

        Args:
            neighbourhood: of the exemplars.
            false_reject_rate: share of patients with a known finding who may be turned away, above 0 and below 1.

        Raises:
            ValueError: the rate is out of its range, or the exemplars are copies of each other.

        Source: the quantile is that of split conformal prediction: Vovk, Gammerman, Shafer, "Algorithmic Learning in a
        Random World", 2005, section 2.2, with patients in place of films.
        """
        found = neighbourhood.left_out(), neighbourhood.patients
        return cls.of(*found, k=neighbourhood.k, false_reject_rate=false_reject_rate)

    @classmethod
    def of(
        cls, distances: np.ndarray, patient_ids: Any, *, k: int, false_reject_rate: float = USUAL_RATE
    ) -> "Thresholds":
        """Set the threshold by films whose relative distances are known, such as films kept apart.

        Args:
            distances: relative ones, of films of known findings, shape (n_films,).
            patient_ids: of the films.
            k: which neighbour they were taken to.
            false_reject_rate: see `fit`.

        Raises:
            ValueError: the rate is out of its range, or a distance is not finite.
        """
        if not 0 < false_reject_rate < 1:
            raise ValueError(f"false_reject_rate must be above 0 and below 1, got {false_reject_rate}")
        worst = worst_of_patients(distances, patient_codes(patient_ids))
        if not np.isfinite(worst).all():
            raise ValueError("the exemplars are copies of each other: no distance can be called far")
        others = (np.delete(worst, row) for row in range(len(worst)))
        is_rejected = [own > _quantile(rest, false_reject_rate) for own, rest in zip(worst, others, strict=True)]
        return cls(
            _quantile(worst, false_reject_rate),
            false_reject_rate,
            _share(np.array(is_rejected)),
            len(worst),
            k,
        )

    def measured(self, distances: np.ndarray, patient_ids: Any) -> "Thresholds":
        """Return the same thresholds, with what they achieve on films of known findings that were kept apart.

        Args:
            distances: relative ones, of such films, shape (n_films,).
            patient_ids: of the films.
        """
        worst = worst_of_patients(distances, patient_codes(patient_ids))
        return replace(self, achieved=_share(worst > self.unknown_above))

    @property
    def caution(self) -> str | None:
        """What must be said of the rate; None where there were patients enough to state it."""
        if _rank(self.n_patients, self.false_reject_rate) <= self.n_patients:
            return None
        n_needed = math.ceil(1 / self.false_reject_rate - 1e-9) - 1
        return (
            f"{self.n_patients} patients carry a false-reject rate of {100 / (self.n_patients + 1):.1f} % at best, not "
            f"{100 * self.false_reject_rate:g} %: the largest distance is taken; {n_needed - self.n_patients} patients "
            "more are needed"
        )

    def reason(self, distance: float, marks: FilmMarks) -> str | None:
        """Say why a film gets no answer; None: it is near enough to the exemplars.

        The first that holds, in the order of REASONS. What lies too far is no frontal film of the chest where its
        pixels do not look like one, and `unknown` where they do; pixels alone turn away only what looks very strange.

        Args:
            distance: relative distance of the film.
            marks: of its pixels.
        """
        return reason_of(marks, is_far=distance > self.unknown_above)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the bank's file."""
        return {
            "unknown_above": self.unknown_above,
            "false_reject_rate": self.false_reject_rate,
            "achieved": self.achieved.to_json(),
            "n_patients": self.n_patients,
            "k": self.k,
        }

    @classmethod
    def from_json(cls, value: Any) -> "Thresholds":
        """Rebuild from `to_json`.

        Raises:
            ValueError: the values are not those; the text names the key.
        """
        check_form(value, _FORM, "thresholds")
        if len(value["achieved"]["ci95"]) != 2:
            raise ValueError(f"thresholds.achieved.ci95 must be two numbers, got {value['achieved']['ci95']}")
        known: Mapping[str, Any] = {name: value[name] for name in _FORM if name != "achieved"}
        low, high = value["achieved"]["ci95"]
        return cls(achieved=Estimate(value["achieved"]["mean"], ci95_patients=(low, high)), **known)


def reason_of(marks: FilmMarks, *, is_far: bool) -> str | None:
    """Say why a film gets no answer; see `Thresholds.reason`.

    Args:
        marks: of its pixels.
        is_far: whether it lies too far from the exemplars.
    """
    if marks.is_nearly_empty:
        return NEGATIVE_SPACE
    if marks.is_frontal_negative:
        return INVERTED
    if marks.is_strange or (is_far and not marks.is_frontal):
        return NOT_A_FILM
    return UNKNOWN if is_far else None


def worst_of_patients(distances: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Return the largest distance of each patient, float64, shape (n_patients,).

    Args:
        distances: of films, shape (n,).
        patients: of the films, as `patient_codes` numbers them.
    """
    worst = np.full(int(patients.max()) + 1, -np.inf)
    np.maximum.at(worst, patients, distances)
    return worst


def _rank(n: int, rate: float) -> int:
    return n + 1 - math.floor(rate * (n + 1) + 1e-9)


def _quantile(worst: np.ndarray, rate: float) -> float:
    """Return the distance that no more than the share `rate` of other patients exceed, on the mean."""
    return float(np.sort(worst)[min(_rank(len(worst), rate), len(worst)) - 1])


def _share(is_rejected: np.ndarray) -> Estimate:
    n_rejected, n = int(is_rejected.sum()), len(is_rejected)
    return Estimate(n_rejected / n, ci95_patients=wilson_interval(n_rejected, n))


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

"""When a bank gives no answer: from which distance on a film is too far, and the reason that is given."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_form
from fewshot_cxr.data.film_marks import FilmMarks
from fewshot_cxr.inference.bank.conformal import worst_of_patients
from fewshot_cxr.inference.bank.neighbourhood import Neighbourhood
from fewshot_cxr.metrics import Estimate, wilson_interval
from fewshot_cxr.patient_ids import patient_codes

UNREADABLE, NEGATIVE_SPACE, INVERTED = "unreadable", "negative space", "inverted"
NOT_A_FILM, UNKNOWN, AMBIGUOUS = "not_a_frontal_chest_film", "unknown", "ambiguous"
REASONS = (UNREADABLE, NEGATIVE_SPACE, INVERTED, NOT_A_FILM, UNKNOWN, AMBIGUOUS)  # the first that holds is given
USUAL_RATE = 0.05
_FORM: dict[str, Any] = {
    "unknown_above": float,
    "false_reject_rate": float,
    "achieved": {"mean": float, "ci95": [float]},
    "n_patients": int,
    "k": int,
}


@dataclass(frozen=True)
class Thresholds:
    """From where on a film is too far, how that was found, and the reason that is given.

    Args:
        unknown_above: relative distance (see `Neighbourhood`) above which a film is none of the findings.
        false_reject_rate: share of patients with a known finding who may be turned away, as it was asked for.
        achieved: the share that was turned away among patients whose films set no threshold, with Wilson's interval.
        n_patients: whose films set the threshold.
        k: which neighbour the distance is taken to.

    Examples:
        >>> distances = np.arange(1, 40)  # of the films of 39 patients, who all have a known finding
        >>> limits = Thresholds.of(distances, patient_ids=np.arange(39), k=5, false_reject_rate=0.05)
        >>> limits.unknown_above, limits.n_patients  # the 38th of 39: a 40th patient passes it once in 20
        (38.0, 39)
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
        return cls(_quantile(worst, false_reject_rate), false_reject_rate, _share(np.array(is_rejected)), len(worst), k)

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
        n_more = math.ceil(1 / self.false_reject_rate - 1e-9) - 1 - self.n_patients
        return (
            f"{self.n_patients} patients carry a false-reject rate of {100 / (self.n_patients + 1):.1f} % at best, not "
            f"{100 * self.false_reject_rate:g} %: the largest distance is taken; "
            + ("1 patient more is needed" if n_more == 1 else f"{n_more} patients more are needed")
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


def _rank(n: int, rate: float) -> int:
    return n + 1 - math.floor(rate * (n + 1) + 1e-9)


def _quantile(worst: np.ndarray, rate: float) -> float:
    """Return the distance that no more than the share `rate` of other patients exceed, on the mean."""
    return float(np.sort(worst)[min(_rank(len(worst), rate), len(worst)) - 1])


def _share(is_rejected: np.ndarray) -> Estimate:
    n_rejected, n = int(is_rejected.sum()), len(is_rejected)
    return Estimate(n_rejected / n, ci95_patients=wilson_interval(n_rejected, n))

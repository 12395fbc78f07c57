"""A threshold on a finding's score for a stated sensitivity or specificity, from calibration patients."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from fewshot_cxr._checks import check_form, lookup
from fewshot_cxr.inference.bank.coverage import fewest_patients
from fewshot_cxr.inference.bank.patient_shares import (
    CalledPatients,
    PatientShares,
    count_called,
    finding_column,
    patient_shares,
)
from fewshot_cxr.metrics import Estimate

_TARGETS = {"sensitivity": "with", "specificity": "without"}
_UNITS = {"patient": "patients", "film": "films"}


@dataclass(frozen=True)
class OperatingPoint:
    """From which score on a film is called a finding.

    Args:
        target: what was stated, "sensitivity" or "specificity".
        value: of it, 0..1.
        score: name of the score, such as "margin" or "probability".
        per: "patient": a patient is scored by its largest film. "film": every film by itself.
        threshold: a score at or above it is called.
        counts: the calibration patients of each finding that it calls.

    Examples:
        >>> counts = CalledPatients("covid19", ("normal", "covid19"), called=(2, 19), n_patients=(20, 20))
        >>> point = OperatingPoint("sensitivity", 0.95, "margin", "patient", threshold=0.5, counts=counts)
        >>> point.apply(0.7), point.sensitivity.mean, point.specificity.mean
        (True, 0.95, 0.9)
    """

    target: str
    value: float
    score: str
    per: str
    threshold: float
    counts: CalledPatients

    def __post_init__(self) -> None:
        lookup(_TARGETS, self.target, what="target")
        lookup(_UNITS, self.per, what="unit")
        if not 0 < self.value < 1 or not math.isfinite(self.threshold):
            raise ValueError(
                f"an operating point needs a {self.target} between 0 and 1 and a finite threshold, got {self.value} "
                f"and {self.threshold}"
            )

    @property
    def finding(self) -> str:
        """What is called."""
        return self.counts.finding

    @property
    def sensitivity(self) -> Estimate:
        """What the calibration patients achieve, with Wilson's interval over those with the finding."""
        return self.counts.sensitivity

    @property
    def specificity(self) -> Estimate:
        """What the calibration patients achieve, with Wilson's interval over those without the finding."""
        return self.counts.specificity

    @overload
    def apply(self, score: float) -> bool: ...
    @overload
    def apply(self, score: np.ndarray) -> np.ndarray: ...
    def apply(self, score: float | np.ndarray) -> bool | np.ndarray:
        """Return whether a score calls the finding; of an array, for each.

        Args:
            score: as the threshold was chosen on; NaN calls nothing.
        """
        if isinstance(score, np.ndarray):
            return np.asarray(score.astype(np.float64) >= self.threshold)
        return bool(float(score) >= self.threshold)  # a scalar of float32 would round the threshold

    def to_json(self) -> dict[str, Any]:
        """Return plain values of JSON; the two achieved shares are told, too."""
        plain = {name: getattr(self, name) for name in ("target", "value", "score", "per", "threshold")}
        achieved = {name: getattr(self, name).to_json() for name in _TARGETS}
        return plain | {"counts": self.counts.to_json()} | achieved

    @classmethod
    def from_json(cls, value: Any) -> "OperatingPoint":
        """Rebuild from `to_json`; what is achieved follows from the counts.

        Raises:
            ValueError: the values have another form, or no operating point could be so.
        """
        form = {"target": str, "value": float, "score": str, "per": str, "threshold": float, "counts": dict}
        check_form(value, form, "operating point")
        plain = {name: value[name] for name in form if name != "counts"}
        return cls(**plain, counts=CalledPatients.from_json(value["counts"]))


def operating_point(
    scores: ArrayLike,
    labels: ArrayLike,
    patient_ids: ArrayLike,
    *,
    finding: str,
    findings: Sequence[str],
    sensitivity: float | None = None,
    specificity: float | None = None,
    score: str = "margin",
    per: str = "patient",
) -> OperatingPoint:
    """Choose the threshold that a new patient passes as often as is stated, and that is best for the other side.

    Of n calibration patients with the finding, the threshold is the score of the k-th lowest,
    k = floor((n + 1) (1 - sensitivity)): a new patient lies below it with a chance of k / (n + 1), whatever the law of
    the scores. So 95 % needs 19 patients, 90 % needs 9. For a specificity it lies just above the k-th highest of the
    patients without the finding. Films of one patient together count as much as one patient.

    Args:
        scores: of each calibration film for the finding, larger is more so, finite, shape (n,).
        labels: column of the finding that each film shows, shape (n,).
        patient_ids: of each film, shape (n,); a film of an unknown patient has an id of its own.
        finding: that is called.
        findings: names of the columns.
        sensitivity: that is stated, between 0 and 1; or
        specificity: that is stated, between 0 and 1.
        score: name of the score.
        per: "patient": one score a patient, the largest of its films, so that one film calls it. "film": every film.

    Raises:
        ValueError: both or none is stated, a share or a score that cannot be, an unknown finding, or too few patients
            for it; the text says how many more.

    Examples:
        >>> scores, labels = [*range(-5, 4), *range(1, 10)], [0] * 9 + [1] * 9  # nine normal patients, nine of covid19
        >>> names = ("normal", "covid19")
        >>> point = operating_point(scores, labels, range(18), finding="covid19", findings=names, sensitivity=0.9)
        >>> point.threshold, point.sensitivity.mean, round(point.specificity.mean, 3)
        (1.0, 1.0, 0.667)

    Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005, chapter 2; the films of a patient:
    Lee, Barber, Willett, "Distribution-free inference with hierarchical data", 2023, arXiv:2306.06342.
    """
    target, value = _stated(sensitivity, specificity)
    values = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite; leave out films that could not be read")
    column = finding_column(finding, findings)
    units = patient_shares(values, labels, patient_ids, column=column, n_way=len(findings), per=per)
    threshold = _threshold(units, target, value, finding)
    counts = count_called(units, units.scores >= threshold, findings)
    return OperatingPoint(target, value, score, per, threshold, counts)


def _stated(sensitivity: float | None, specificity: float | None) -> tuple[str, float]:
    stated = [(name, one) for name, one in zip(_TARGETS, (sensitivity, specificity), strict=True) if one is not None]
    if len(stated) != 1:
        raise ValueError("state a sensitivity or a specificity, one of them: the other follows")
    target, value = stated[0]
    if not 0 < value < 1:
        raise ValueError(f"{target} must be above 0 and below 1, got {value}")
    return target, float(value)


def _threshold(units: PatientShares, target: str, value: float, finding: str) -> float:
    is_sensitivity = target == "sensitivity"
    shares = units.with_finding if is_sensitivity else units.without_finding
    n_patients = round(float(shares.sum()))
    carried = n_patients / (n_patients + 1)
    if (needed := fewest_patients(value)) > n_patients:
        raise ValueError(
            f"a {target} of {value:g} needs {needed} calibration patients {_TARGETS[target]} {finding}, there are "
            f"{n_patients}: add {needed - n_patients}, or state {math.floor(1000 * carried) / 1000} or less"
        )
    # By falling rank from the side that is lost: the lowest with the finding, the highest without it.
    is_asked = shares > 0
    sign = 1 if is_sensitivity else -1
    ranked, votes = sign * units.scores[is_asked], shares[is_asked]
    order = np.argsort(ranked, kind="stable")
    ranked, votes = ranked[order], votes[order]
    lost_before = np.concatenate([[0.0], np.cumsum(votes)[:-1]])[np.searchsorted(ranked, ranked)]
    may_lose = (n_patients + 1) * (1 - value) - 1 + 1e-9
    last = float(sign * ranked[lost_before <= may_lose][-1])
    return last if is_sensitivity else math.nextafter(last, math.inf)

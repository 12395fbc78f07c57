"""One vote a patient: which patients have a finding, and how many of them are called it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fewshot_cxr._checks import check_form, lookup
from fewshot_cxr.metrics import Estimate, wilson_interval
from fewshot_cxr.patient_ids import patient_codes

_PER = {"patient": "one score a patient, its largest", "film": "every film, those of a patient together one vote"}


@dataclass(frozen=True, eq=False)
class PatientShares:
    """What is called or not called, and what it counts for.

    Args:
        scores: of each patient (its largest film) or film; larger is more of the finding, float64 (n,).
        shares: what each counts for among the patients of each finding, float64 (n, n_way). A patient counts 1 among
            those with the finding, and 1 among those without, which it divides among the findings that its films show.
        column: of the finding.
    """

    scores: np.ndarray
    shares: np.ndarray
    column: int

    @property
    def with_finding(self) -> np.ndarray:
        """Return what each counts for among the patients with the finding."""
        return np.asarray(self.shares[:, self.column])

    @property
    def without_finding(self) -> np.ndarray:
        """Return what each counts for among the patients without it."""
        return np.asarray(self.shares.sum(axis=1) - self.with_finding)


def patient_shares(
    scores: ArrayLike, labels: ArrayLike, patient_ids: ArrayLike, *, column: int, n_way: int, per: str = "patient"
) -> PatientShares:
    """Count patients, not films.

    Args:
        scores: of each film, larger is more of the finding, shape (n,).
        labels: column of the finding that each film shows, shape (n,).
        patient_ids: of each film, shape (n,); each None, NaN or empty text is a patient of its own.
        column: of the finding that is scored.
        n_way: number of columns.
        per: "patient": one score a patient, the largest of its films; who has a film of the finding has the finding.
            "film": every film, the films of a patient together one vote on either side.

    Raises:
        ValueError: unknown `per`, lengths that differ, no film, a label that is no column, or a score that is NaN.
        TypeError: labels that are no whole numbers.
    """
    lookup(_PER, per, what="unit")
    values, found, patients = np.asarray(scores, dtype=np.float64), np.asarray(labels), patient_codes(patient_ids)
    if values.ndim != 1 or not len(values) or not values.shape == found.shape == patients.shape:
        shapes = f"{values.shape}, {found.shape}, {patients.shape}"
        raise ValueError(f"scores, labels and patient_ids must be of the same films, got {shapes}")
    if found.dtype.kind not in "iu":
        raise TypeError(f"labels must be columns, whole numbers, got {found.dtype}")
    if not (found.min() >= 0 and found.max() < n_way) or np.isnan(values).any():
        raise ValueError(f"labels must be columns 0..{n_way - 1}, and no score NaN")
    films = np.eye(n_way)[found]
    # Films with the finding and films without it share a vote each.
    side = 2 * patients + (found == column)
    if per == "film":
        return PatientShares(values, films / np.bincount(side)[side, None], column)
    largest = np.full(patients.max() + 1, -np.inf)
    np.maximum.at(largest, patients, values)
    counts = np.zeros((len(largest), n_way))
    np.add.at(counts, patients, films)
    counts[counts[:, column] > 0] = np.eye(n_way)[column]
    return PatientShares(largest, counts / counts.sum(axis=1, keepdims=True), column)


@dataclass(frozen=True)
class CalledPatients:
    """How many patients of each finding are called one of them.

    Args:
        finding: that they are called.
        findings: names, in the order of the counts.
        called: patients of each finding that are called it; parts of a patient are possible.
        n_patients: patients of each finding.

    Examples:
        >>> counts = CalledPatients("covid19", ("normal", "covid19"), called=(2, 18), n_patients=(20, 20))
        >>> counts.sensitivity.mean, counts.specificity.mean
        (0.9, 0.9)
    """

    finding: str
    findings: tuple[str, ...]
    called: tuple[float, ...]
    n_patients: tuple[float, ...]

    def __post_init__(self) -> None:
        is_sound = len(self.findings) == len(self.called) == len(self.n_patients) and self.finding in self.findings
        if not is_sound or not all(0 <= part <= n for part, n in zip(self.called, self.n_patients, strict=True)):
            raise ValueError(
                f"called patients of {self.finding} must be 0..n_patients for each finding, got {self.called} of "
                f"{self.n_patients}"
            )

    @property
    def column(self) -> int:
        """Place of the finding."""
        return self.findings.index(self.finding)

    @property
    def sensitivity(self) -> Estimate:
        """Share of the patients with the finding that are called it, with Wilson's interval over them."""
        return _share(self.called[self.column], self.n_patients[self.column], f"no patient has {self.finding}")

    @property
    def specificity(self) -> Estimate:
        """Share of the patients without it that are not called it, as the calibration mixes their findings."""
        others = [place for place in range(len(self.findings)) if place != self.column]
        n_without = sum(self.n_patients[place] for place in others)
        not_called = n_without - sum(self.called[place] for place in others)
        return _share(not_called, n_without, f"no patient is without {self.finding}")

    def to_json(self) -> dict[str, Any]:
        """Return plain values of JSON."""
        counts = zip(self.findings, self.called, self.n_patients, strict=True)
        return {
            "finding": self.finding,
            "patients": [{"finding": name, "called": part, "n": n} for name, part, n in counts],
        }

    @classmethod
    def from_json(cls, value: Any) -> "CalledPatients":
        """Rebuild from `to_json`.

        Raises:
            ValueError: the values have another form, or no counts could be so.
        """
        form = {"finding": str, "patients": [{"finding": str, "called": float, "n": float}]}
        check_form(value, form, "called patients")
        rows = value["patients"]
        return cls(
            value["finding"],
            tuple(row["finding"] for row in rows),
            tuple(row["called"] for row in rows),
            tuple(row["n"] for row in rows),
        )


def called_patients(
    is_called: ArrayLike,
    labels: ArrayLike,
    patient_ids: ArrayLike,
    *,
    finding: str,
    findings: Sequence[str],
    per: str = "patient",
) -> CalledPatients:
    """Count the patients of each finding that answers call one of them.

    Args:
        is_called: whether each film is called the finding, bool, shape (n,).
        labels: column of the finding that each film shows, shape (n,).
        patient_ids: of each film, shape (n,).
        finding: that they are called.
        findings: names of the columns.
        per: "patient": a patient is called it if one of its films is. "film": the films of a patient share a vote.

    Raises:
        ValueError: as `patient_shares`, or the finding is none of the findings.

    Examples:
        >>> is_called, labels, patients = [True, False, False], [1, 1, 0], ["P1", "P1", "P2"]  # two films of P1
        >>> counts = called_patients(is_called, labels, patients, finding="covid19", findings=("normal", "covid19"))
        >>> counts.called, counts.n_patients
        ((0, 1), (1, 1))
    """
    column = finding_column(finding, findings)
    units = patient_shares(is_called, labels, patient_ids, column=column, n_way=len(findings), per=per)
    return count_called(units, units.scores > 0, findings)


def count_called(units: PatientShares, is_called: np.ndarray, findings: Sequence[str]) -> CalledPatients:
    """Sum up what is called.

    Args:
        units: that are called or not.
        is_called: bool, one a unit.
        findings: names of the columns.
    """
    called, whole = units.shares[is_called].sum(axis=0), units.shares.sum(axis=0)
    # Sums of thirds may pass the whole by a rounding error.
    called = np.minimum(called, whole)
    return CalledPatients(
        findings[units.column], tuple(findings), tuple(map(_plain, called.tolist())), tuple(map(_plain, whole.tolist()))
    )


def finding_column(finding: str, findings: Sequence[str]) -> int:
    """Return the place of a finding.

    Raises:
        ValueError: it is none of them.
    """
    return lookup({name: place for place, name in enumerate(findings)}, finding, what="finding")


def _plain(count: float) -> float:
    """Return a count without the rounding errors of thirds and the like."""
    return round(count) if abs(count - round(count)) < 1e-9 else count


def _share(part: float, whole: float, reason: str) -> Estimate:
    if not whole > 0:
        return Estimate(None, reason=reason)
    return Estimate(part / whole, ci95_patients=wilson_interval(min(part, whole), whole))

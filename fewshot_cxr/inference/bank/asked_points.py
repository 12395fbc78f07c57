"""Operating points that somebody asks of a bank, and those that its calibration patients allow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fewshot_cxr._checks import nearest
from fewshot_cxr.inference.bank.operating_points import OperatingPoint, operating_point
from fewshot_cxr.metrics import Estimate


@dataclass(frozen=True)
class AskedPoint:
    """A sensitivity or specificity that a finding is to be called with.

    Args:
        finding: that is called.
        target: "sensitivity" or "specificity".
        value: of it, 0..1.
        per: as of `operating_point`.
    """

    finding: str
    target: str
    value: float
    per: str = "patient"

    @classmethod
    def of(cls, point: OperatingPoint) -> "AskedPoint":
        """Return what was asked for when a point was made."""
        return cls(point.finding, point.target, point.value, point.per)


def asked_points(
    findings: Sequence[str], sensitivity: Mapping[str, float] | None, specificity: Mapping[str, float] | None
) -> tuple[AskedPoint, ...] | None:
    """Return what is asked, by name of the finding; None: neither is stated.

    Args:
        findings: of the bank.
        sensitivity: finding -> the sensitivity that it is to be called with.
        specificity: likewise.

    Raises:
        ValueError: the bank lacks a finding, or both are stated of one.
    """
    if sensitivity is None and specificity is None:
        return None
    both = {"sensitivity": sensitivity or {}, "specificity": specificity or {}}
    asked = [AskedPoint(name, target, float(value)) for target, of in both.items() for name, value in of.items()]
    for one in asked:
        if one.finding not in findings:
            hint, known = nearest(one.finding, findings), ", ".join(findings)
            raise ValueError(f"no finding of the bank is {one.finding!r}{hint}; it has {known}")
        if one.target == "specificity" and one.finding in both["sensitivity"]:
            raise ValueError(f"state the sensitivity of {one.finding} or its specificity: the other follows")
    return tuple(sorted(asked, key=lambda one: one.finding))


def made_points(
    asked: Sequence[AskedPoint],
    scores: np.ndarray,
    labels: ArrayLike,
    patient_ids: ArrayLike,
    *,
    findings: Sequence[str],
) -> tuple[OperatingPoint, ...]:
    """Return operating points from calibration films.

    Args:
        asked: what is asked for, of findings that the bank has.
        scores: margin of each film for each finding, shape (n, n_way).
        labels: column of the finding of each film, shape (n,).
        patient_ids: of each film, shape (n,).
        findings: names of the columns.

    Raises:
        ValueError: too few patients for one.
    """
    made = []
    for one in asked:
        column = scores[:, list(findings).index(one.finding)]
        how: dict[str, Any] = {one.target: one.value, "per": one.per}
        made.append(operating_point(column, labels, patient_ids, finding=one.finding, findings=findings, **how))
    return tuple(made)


def carried_points(
    points: Sequence[OperatingPoint],
    scores: np.ndarray,
    labels: ArrayLike,
    patient_ids: ArrayLike,
    *,
    findings: Sequence[str],
) -> tuple[tuple[OperatingPoint, ...], tuple[str, ...]]:
    """Make operating points anew after a change; return those that are left, and a line on each that is not.

    Args:
        points: of before.
        scores: as of `made_points`.
        labels: likewise.
        patient_ids: likewise.
        findings: likewise.
    """
    left: list[OperatingPoint] = []
    lines = []
    for one in map(AskedPoint.of, points):
        if one.finding not in findings:
            lines.append(gone_words(one, "the bank no longer has that finding"))
            continue
        try:
            left += made_points([one], scores, labels, patient_ids, findings=findings)
        except ValueError as error:
            lines.append(gone_words(one, str(error)))
    return tuple(left), tuple(lines)


def gone_words(point: AskedPoint | OperatingPoint, reason: str) -> str:
    """Return in one line that an operating point is gone.

    Args:
        point: of before.
        reason: why.
    """
    return f"the operating point of {point.finding}, a {point.target} of {point.value:g}, is gone: {reason}"


def point_words(points: Sequence[OperatingPoint]) -> list[tuple[str, str]]:
    """Return what was asked for, and what calibration patients achieve, in words."""
    lines = [
        f"{one.finding} at a {one.target} of {one.value:g}: from a margin of {one.threshold:.3g} on; calibration "
        f"patients: sensitivity {_share(one.sensitivity)}, specificity {_share(one.specificity)}"
        for one in points
    ]
    return [("operating points", "\n".join(lines))] if lines else []


def _share(estimate: Estimate) -> str:
    if estimate.mean is None or estimate.ci95_patients is None:
        return f"unknown ({estimate.reason})"
    low, high = estimate.ci95_patients
    return f"{100 * estimate.mean:.0f} % ({100 * low:.0f} to {100 * high:.0f})"

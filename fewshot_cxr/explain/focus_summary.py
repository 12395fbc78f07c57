"""Shares of the heat of many films, averaged by finding and source, and two runs compared; intervals over patients."""

import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from fewshot_cxr.metrics import Estimate, Interval, t_interval, t_test
from fewshot_cxr.patient_ids import known_patients

_NOT_STATED = "not stated"
ONE_PATIENT = "it rests on one patient: no interval"
_ROUNDING = 1e-12


@dataclass(frozen=True)
class FocusRow:
    """The mean share of the heat in one region, over the films of one group.

    Args:
        measure: "lungs", "border" or "corners".
        group_kind: "all", "finding" or "source".
        group: its name; "all" for all films.
        n_films: films with a value.
        n_patients: patients with a value.
        share: the mean over films, 0..1, with its interval over patients.
        area: the same mean of a flat map, which is what chance would give.
        n_films_without_patient: of the films; each counts as a patient of its own.

    Examples:
        >>> shares, areas = {"lungs": np.array([0.5, 0.75])}, {"lungs": np.array([0.25, 0.25])}
        >>> films = {"findings": ["covid19", "normal"], "sources": ["", ""], "patients": ["ann", "ben"]}
        >>> row, *_ = summarise_focus(shares, areas, **films)
        >>> type(row).__name__, row.share.mean, row.area  # they look at the lungs more than chance would
        ('FocusRow', 0.625, 0.25)
    """

    measure: str
    group_kind: str
    group: str
    n_films: int
    n_patients: int
    share: Estimate
    area: float | None
    n_films_without_patient: int = 0

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Find what was here before `share`, for one minor release more."""
            if name not in ("mean", "ci95", "reason"):
                raise AttributeError(f"FocusRow has no {name!r}")
            warnings.warn(f"FocusRow.{name} is now FocusRow.share.{name}", DeprecationWarning, stacklevel=2)
            return getattr(self.share, name)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        counts = {name: value for name, value in vars(self).items() if name not in ("share", "area")}
        found = {"mean": self.share.mean, "ci95": self.share.ci95, "area": self.area, "reason": self.share.reason}
        return counts | found


@dataclass(frozen=True)
class FocusDifference:
    """A share of the heat in two runs on the same films: second minus first, with its interval over patients.

    Args:
        measure: "lungs", "border" or "corners".
        n_films: films with a value in both runs.
        n_patients: patients with a value in both runs.
        mean_first: over these films, in the first run.
        mean_second: over these films, in the second run.
        difference: mean_second - mean_first.
        ci95: of the difference.
        p_value: of the difference, two-sided.
        reason: why one of these is absent.
        n_left_out: films without a value in one of the runs, or in both.
        n_films_without_patient: of the films; each counts as a patient of its own.

    Examples:
        >>> (row,) = compare_focus({"lungs": np.array([0.25])}, {"lungs": np.array([0.5])}, patients=["ann"])
        >>> type(row).__name__, row.difference, row.reason
        ('FocusDifference', 0.25, 'it rests on one patient: no interval')
    """

    measure: str
    n_films: int
    n_patients: int
    mean_first: float | None
    mean_second: float | None
    difference: float | None
    ci95: Interval | None
    p_value: float | None
    reason: str | None
    n_left_out: int = 0
    n_films_without_patient: int = 0


def summarise_focus(
    shares: Mapping[str, np.ndarray],
    areas: Mapping[str, np.ndarray],
    *,
    findings: Sequence[str],
    sources: Sequence[str],
    patients: Sequence[Hashable],
) -> tuple[FocusRow, ...]:
    """Average shares over all films, over those of each finding and of each source.

    Args:
        shares: of `focus_shares`, each shape (N,).
        areas: of `area_shares`, each shape (N,), with the same names.
        findings: of the N films.
        sources: of the N films; "" is called "not stated".
        patients: of the N films; None, NaN or "" is unknown.

    Returns:
        Rows by measure, then all films, findings and sources by name. Films without a value are left out. The
        interval is over patients, since films of one patient are not independent: Student's t of the log odds of the
        mean, by the delta method. On shares near 0 or 1 that errs less than t of the mean itself, which leaves 0..1.

    Raises:
        ValueError: the lengths differ, or `areas` has other names than `shares`.

    Examples:
        >>> shares, areas = {"lungs": np.array([0.5, 0.75, 1.0])}, {"lungs": np.array([0.25, 0.25, 0.25])}
        >>> films = {"findings": ["covid19", "covid19", "normal"], "sources": ["", "", ""], "patients": [1, 2, 3]}
        >>> for row in summarise_focus(shares, areas, **films):
        ...     print(row.group_kind, row.group, row.n_films, row.share.mean)
        all all 3 0.75
        finding covid19 2 0.625
        finding normal 1 1.0
        source not stated 3 0.75
    """
    if set(areas) != set(shares):
        raise ValueError(f"areas must have the names of shares, {sorted(shares)}, got {sorted(areas)}")
    _check_lengths(findings=findings, sources=sources, patients=patients, **shares)
    _check_lengths(findings=findings, **areas)
    own, is_known = known_patients(len(patients), patients)
    return tuple(
        _row((measure, kind, group), values[rows], np.asarray(areas[measure])[rows], own[rows], is_known[rows])
        for measure, values in shares.items()
        for kind, group, rows in _groups(findings, sources)
    )


def compare_focus(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], *, patients: Sequence[Hashable]
) -> tuple[FocusDifference, ...]:
    """Test whether two runs look at the same places: each film's shares in both, paired.

    The test is Student's t of the mean difference over films, with the variance between patients (films of one patient
    count as one cluster) and one degree of freedom less than there are patients; where each patient has one film it is
    the paired t-test. Measure both runs in one frame: see `in_film_frame`.

    Args:
        first: shares of N films, as `focus_shares` gives them.
        second: shares of the same films in the other run, in the same order.
        patients: of the N films; None, NaN or "" is unknown.

    Returns:
        A row for each measure. Films without a value in either run are left out, and counted.

    Raises:
        ValueError: the lengths or the measures differ.

    Examples:
        >>> first, second = {"lungs": np.array([0.25, 0.5, 0.25])}, {"lungs": np.array([0.5, 1.0, np.nan])}
        >>> (row,) = compare_focus(first, second, patients=["ann", "ben", "ben"])
        >>> row.difference, row.n_films, row.n_left_out  # mean of 0.25 and 0.5
        (0.375, 2, 1)

    Source: the linearised variance of a mean of clusters: Cochran, "Sampling techniques", 1977, chapter 9A.
    """
    if set(first) != set(second):
        raise ValueError(
            f"both runs must have the same measures, got {sorted(first)} and {sorted(second)}; "
            "give both masks (--masks) or none"
        )
    _check_lengths(patients=patients, **first)
    _check_lengths(patients=patients, **second)
    own = known_patients(len(patients), patients)
    return tuple(
        _difference(measure, np.asarray(first[measure]), np.asarray(second[measure]), *own) for measure in first
    )


def variance_of_mean(values: np.ndarray, patients: np.ndarray) -> float:
    """Return the variance of a mean over films, with the films of one patient as one cluster.

    G / (G - 1) times the sum over the G patients of their squared excess over the mean, over N^2.

    Args:
        values: of N films, float, shape (N,), finite.
        patients: a number for the patient of each, int64, shape (N,), of two patients or more.

    Source: the linearised variance of a mean of clusters: Cochran, "Sampling techniques", 1977, chapter 9A.
    """
    excess = np.bincount(np.unique(patients, return_inverse=True)[1], weights=values - values.mean())
    # Values that differ by rounding alone vary not at all: a p-value of 0 would look like certainty.
    if np.abs(excess).max() <= _ROUNDING * len(values):
        return 0.0
    return float((excess**2).sum()) / len(values) ** 2 * len(excess) / (len(excess) - 1)


def mean_over_patients(
    values: np.ndarray, patients: np.ndarray, interval: Callable[[float, float, int], Interval | None], *, nothing: str
) -> Estimate:
    """Return the mean over films with its interval over patients, or why there is none.

    Args:
        values: of N films, float, shape (N,), finite.
        patients: a number for the patient of each, int64, shape (N,).
        interval: (mean, its variance, degrees of freedom) -> the ends, or None where nothing varies.
        nothing: the reason where there is no film.
    """
    if not len(values):
        return Estimate(None, reason=nothing)
    mean, n_patients = float(values.mean()), len(np.unique(patients))
    if n_patients < 2:
        return Estimate(mean, reason=ONE_PATIENT)
    ends = interval(mean, variance_of_mean(values, patients), n_patients - 1)
    return Estimate(mean, ci95_patients=ends, reason=None if ends else "nothing varies to measure chance by")


def _row(
    name: tuple[str, str, str], values: np.ndarray, areas: np.ndarray, patients: np.ndarray, is_known: np.ndarray
) -> FocusRow:
    has_value = np.isfinite(values)
    values, areas, patients = values[has_value], areas[has_value], patients[has_value]
    share = mean_over_patients(values, patients, _share_interval, nothing="no film has a value")
    area = float(areas.mean()) if len(areas) else None
    n_unknown = int((~is_known[has_value]).sum())
    return FocusRow(*name, len(values), len(np.unique(patients)), share, area, n_unknown)


def _difference(
    measure: str, first: np.ndarray, second: np.ndarray, patients: np.ndarray, is_known: np.ndarray
) -> FocusDifference:
    both = np.isfinite(first) & np.isfinite(second)
    first, second, patients = first[both], second[both], patients[both]
    n_films, n_patients = len(first), len(np.unique(patients))
    left = int((~both).sum()), int((~is_known[both]).sum())
    counts = measure, n_films, n_patients
    if not n_films:
        return FocusDifference(*counts, None, None, None, None, None, "no film has a value in both runs", *left)
    gap = float((second - first).mean())
    means = float(first.mean()), float(second.mean()), gap
    if n_patients < 2:
        return FocusDifference(*counts, *means, None, None, ONE_PATIENT, *left)
    interval, p_value, reason = t_test(gap, variance_of_mean(second - first, patients), n_patients - 1)
    ends = None if interval is None else (max(interval[0], -1.0), min(interval[1], 1.0))
    return FocusDifference(*counts, *means, ends, p_value, reason, *left)


def _share_interval(mean: float, variance: float, degrees: int) -> Interval:
    """Return the interval of a mean share, 0..1, by its log odds; without variance it has no width.

    `bounded_interval` is for shares of yes and no: where few patients say no it must assume the worst, and on shares
    that vary little it is many times too wide.
    """
    if variance == 0 or not 0 < mean < 1:
        return mean, mean
    slope = mean * (1 - mean)
    low, high = scipy.special.expit(t_interval(float(scipy.special.logit(mean)), variance / slope**2, degrees))
    return float(low), float(high)


def _groups(findings: Sequence[str], sources: Sequence[str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the kind and the name of each group, and which films it has, bool (N,)."""
    yield "all", "all", np.ones(len(findings), dtype=bool)
    for kind, names in (("finding", list(findings)), ("source", [source or _NOT_STATED for source in sources])):
        for name in sorted(set(names)):
            yield kind, name, np.array([one == name for one in names], dtype=bool)


def _check_lengths(**columns: Sequence[object] | np.ndarray) -> None:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"each column must have one value for each film, got {lengths}")

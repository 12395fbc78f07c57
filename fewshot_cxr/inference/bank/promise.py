"""What sets promise, in plain words: an interval for films kept apart, the average alone for the exemplars."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from fewshot_cxr.inference.bank.coverage import coverage_interval, patients_needed

_CONFIDENCE = 0.9
_SIMULATED_AT = 0.9
SIMULATED: dict[int, tuple[float, float]] = {10: (0.691, 0.998), 20: (0.746, 0.989), 50: (0.806, 0.968)}
"""Patients of a finding -> between which coverages 95 of 100 simulated banks lay whose exemplars calibrate themselves.

At 90 %, one film a patient, the wider of `mean_distance` and `prototype`: benchmarks/bank_coverage.py, 2,000 worlds,
seed 0; docs/bank.md.
"""
Counts = Mapping[str, tuple[int, int, int]]
"""Finding -> patients that its p-values are taken from, l of `allowed_misses`, and patients of its own."""


def promise_of_films(counts: Counts, fewest: int, level: float, confidence: float | None) -> str:
    """Return what sets from films kept apart promise of each finding, and how many patients more it takes.

    Args:
        counts: of each finding.
        fewest: patients from which a finding has a threshold of its own.
        level: wanted share of sets that hold the true finding.
        confidence: wanted share of banks that reach the level; None: the average over banks is enough.
    """

    def share(n_compared: int, misses: int) -> str:
        mean, (low, high) = coverage_interval(n_compared, misses)
        between = f"between {low * 100:.3g} and {_percent(high)} (95 %)"
        return f"{_percent(mean)} on average; with {_patients(n_compared)} {between}"

    lines = _of_findings(counts, fewest, share)
    return "\n".join([*lines, _more(counts, level, confidence)])


def _of_findings(
    counts: Counts, fewest: int, share: Callable[[int, int], str], beside: Callable[[int], str] = lambda n_own: ""
) -> Iterator[str]:
    """Yield what is promised of findings, once where it is the same of several.

    Args:
        counts: of each finding.
        fewest: patients from which a finding has a threshold of its own.
        share: (patients compared with, l of `allowed_misses`) -> the coverage, in words.
        beside: patients of a finding with its own threshold -> what is added to that.
    """
    alike: dict[str, list[str]] = {}
    for name, (n_compared, misses, n_own) in counts.items():
        if not misses:
            told = f"in every set, for {_patients(n_compared)} can leave nothing out."
        elif n_own >= fewest:
            told = f"{share(n_compared, misses)}{beside(n_own)}."
        else:
            told = (
                f"no promise of its own, for it has {_patients(n_own)} and needs {fewest}; it shares the threshold of "
                f"all findings together: {share(n_compared, misses)}."
            )
        alike.setdefault(told, []).append(name)
    return (f"{', '.join(names)}: {told}" for told, names in alike.items())


def _more(counts: Counts, level: float, confidence: float | None) -> str:
    asked = confidence or _CONFIDENCE
    needed = patients_needed(level, asked)
    said = f'"at least {_percent(level)}, with {_percent(asked)} confidence"'
    lacking = {name: needed - n_own for name, (_, _, n_own) in counts.items() if n_own < needed}
    if lacking:
        listed = ", ".join(f"{n} more of {name}" for name, n in lacking.items())
        return f"To say {said} it takes {needed} patients of a finding: {listed}."
    if confidence is None:
        return f"There are patients enough to say {said}: calibrate with confidence={asked:g}; the sets grow."
    return f"Of every finding it holds: {said}."


def promise_of_support(counts: Counts, fewest: int, level: float, confidence: float | None) -> str:
    """Return what sets from the exemplars themselves promise of each finding, and what keeping films apart brings.

    Args:
        counts: of each finding.
        fewest: patients from which a finding has a threshold of its own.
        level: wanted share of sets that hold the true finding.
        confidence: wanted share of banks that reach the level; the exemplars promise none.
    """

    def share(n_compared: int, misses: int) -> str:
        return f"{_percent(1 - misses / (n_compared + 1))} on average over banks"

    lines = _of_findings(counts, fewest, share, partial(_simulated, level=level))
    needed = patients_needed(level, confidence or _CONFIDENCE)
    said = f'"at least {_percent(level)}, with {_percent(confidence or _CONFIDENCE)} confidence"'
    return "\n".join([*lines, f"To say {said}, calibrate on films kept apart, of {needed} patients of a finding."])


def _simulated(n_patients: int, level: float) -> str:
    fewer = [n for n in SIMULATED if n <= n_patients]
    if level != _SIMULATED_AT or not fewer:
        return "; how far this one lies from it no theorem tells"
    low, high = SIMULATED[fewer[-1]]
    return (
        f"; how far this one lies from it no theorem tells, but of simulated banks with {fewer[-1]} patients a finding "
        f"95 of 100 lay between {low * 100:.3g} and {_percent(high)}"
    )


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def _patients(n: int) -> str:
    return f"{n:,} patient{'s' * (n != 1)}"

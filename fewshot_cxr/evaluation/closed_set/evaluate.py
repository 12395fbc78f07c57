"""Closed-set classification of films: the usual numbers, with intervals over patients."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.evaluation.closed_set.numbers import (
    Key,
    Numbers,
    brier_numbers,
    calibration_bins,
    closed_numbers,
    closed_units,
    count_confusion,
    ece_numbers,
    jackknife_variance,
)
from fewshot_cxr.evaluation.episodic.patients import PatientUnits
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.evaluation.scores import OVERALL, PER_CLASS, Calibration, Reliability, Scores
from fewshot_cxr.metrics import Estimate, bounded_interval, class_probabilities, fit_temperature, t_interval

# Of numbers that are no shares: mean (1 - mean) is no measure of their spread, so Student's t, cut.
_ENDS = {"mcc": (-1.0, 1.0), "kappa": (-1.0, 1.0)}  # all others are 0..1, or not shares at all:
_RANGES = {"ece": (0.0, 1.0), "brier": (0.0, 2.0)}
_OVER_FINDINGS = ("balanced_accuracy", "macro_f1", "auroc", "auprc")
_NO_PROBABILITIES = "only decisions are known, no probabilities"
_NOT_CALIBRATED = "no films outside the test to fit a temperature on; name their split (--calibrate-split)"
_TRANSDUCTIVE = (
    "the rule {rule} is transductive: each answer depends on all films asked, so these numbers hold for films asked "
    "together, and the interval takes the answers as they are"
)
_UNDEFINED = {
    "sensitivity": "no film shows {0}",
    "specificity": "every film shows {0}",
    "ppv": "no film was taken for {0}",
    "npv": "every film was taken for {0}",
    "f1": "no film shows {0} or was taken for it",
    "auroc": "films with {0} and films without it are needed",
    "auprc": "films with {0} and films without it are needed",
}


def evaluate_closed_set(
    decisions: Answers, *, calibration: Answers | None = None, floors: Mapping[str, Answers] | None = None
) -> Result:
    """Judge a classifier by its decisions on films.

    The intervals say where the numbers would lie with other patients and the same classifier: a delete-a-group
    jackknife of each number, over the patients, or over 200 groups of them where they are more.

    Args:
        decisions: `decide_by_exemplars` or `read_predictions` makes them.
        calibration: of other films and patients by the same classifier: a temperature is fitted on them.
        floors: name -> decisions of a simpler baseline on the same films.

    Raises:
        ValueError: `calibration` has other findings or a film of the test; a floor has other films.
    """
    if not isinstance(decisions, Answers):
        raise TypeError(f"decisions must be Answers (decide_by_exemplars), got {type(decisions).__name__}")
    units = closed_units(decisions)
    judge = _Judge(decisions, units, _patients(decisions))
    numbers = closed_numbers(decisions, units)
    scores = _scores(judge, numbers)
    floor, above_floor = {}, {}
    for name, other in (floors or {}).items():
        if other.data_hash != decisions.data_hash:
            raise ValueError(f"the floor {name} was judged on other films, findings or patients than the test")
        values = closed_numbers(other, units)["accuracy",]
        floor[name] = judge.estimate(("accuracy",), values)
        above_floor[name] = difference_estimate(numbers["accuracy",] - values)
    return Result(
        kind="closed_set",
        scores=scores,
        calibration=_calibration(judge, calibration) if decisions.has_probabilities else None,
        confusion=tuple(tuple(row) for row in count_confusion(decisions, units)[0].tolist()),
        findings=decisions.findings,
        answers=decisions,
        rule=decisions.rule,
        distance=decisions.distance,
        is_transductive=decisions.is_transductive,
        data_hash=decisions.data_hash,
        n_films=len(decisions),
        n_patients=units.n_patients,
        n_units=units.n_units,
        baselines=floor,
        above_baselines=above_floor,
        notes=_notes(decisions),
        warnings=(_TRANSDUCTIVE.format(rule=decisions.rule),) if decisions.is_transductive else (),
    )


def difference_estimate(values: np.ndarray) -> Estimate:
    """Return a paired difference with Student's t interval: with everybody, then without each unit, (1 + n_units,)."""
    mean, n_units = float(values[0]), len(values) - 1
    if not np.isfinite(values).all() or n_units < 2:
        return Estimate(mean if np.isfinite(mean) else None, reason="too few patients for an interval")
    return Estimate(mean, ci95_patients=t_interval(mean, jackknife_variance(values), n_units - 1))


@dataclass(frozen=True, eq=False)
class _Judge:
    decisions: Answers
    units: PatientUnits
    n_patients: dict[Key, int]

    def estimate(self, key: Key, values: np.ndarray) -> Estimate:
        """Return the number with its interval, or why there is none."""
        mean = float(values[0])
        if not np.isfinite(mean):
            words = _UNDEFINED.get(key[-1], "the films or the answers are all of one finding")
            return Estimate(None, reason=words.format(key[0]))
        if reason := self._no_interval(key, values):
            return Estimate(mean, reason=reason)
        variance, n_patients = jackknife_variance(values), self.n_patients.get(key, self.units.n_patients)
        # Where few patients bear a number, the others leave it as it is and tell nothing of its spread.
        degrees = min(self.units.n_units, n_patients) - 1
        if key[-1] not in _RANGES:
            # A ranking rests on the films without the finding too.
            n_bearing = self.units.n_patients if key[-1] in ("auroc", "auprc") else n_patients
            lowest, highest = _ENDS.get(key[-1], (0.0, 1.0))
            share, width = (mean - lowest) / (highest - lowest), highest - lowest
            low, high = bounded_interval(share, variance / width**2, degrees=degrees, n_patients=n_bearing)
            return Estimate(mean, ci95_patients=(lowest + width * low, lowest + width * high))
        (low, high), (lowest, highest) = t_interval(mean, variance, degrees), _RANGES[key[-1]]
        return Estimate(mean, ci95_patients=(max(low, lowest), min(high, highest)))

    def _no_interval(self, key: Key, values: np.ndarray) -> str | None:
        if len(key) == 1 and key[0] in _OVER_FINDINGS:
            lone = [name for name in self.decisions.findings if self.n_patients[name, "sensitivity"] == 1]
            if lone:
                return f"one patient only has {', '.join(lone)}: no interval of a mean over findings"
        if self.n_patients.get(key, self.units.n_patients) < 2:
            return "it rests on one patient: no interval"
        if not np.isfinite(values).all():
            return "without some patients it is undefined: no interval"
        return None


def _scores(judge: _Judge, numbers: Numbers) -> Scores:
    estimates = {key: judge.estimate(key, values) for key, values in numbers.items()}
    absent = Estimate(None, reason=_NO_PROBABILITIES)
    return Scores(
        {name: estimates.get((name,), absent) for name in OVERALL},
        {
            finding: {name: estimates.get((finding, name), absent) for name in PER_CLASS}
            for finding in judge.decisions.findings
        },
    )


def _calibration(judge: _Judge, other: Answers | None) -> Calibration:
    before = _reliability(judge, 1.0)
    if other is None:
        return Calibration(before, reason=_NOT_CALIBRATED)
    decisions = judge.decisions
    if other.findings != decisions.findings or not other.has_probabilities:
        raise ValueError(
            f"the films of the calibration were decided between {', '.join(other.findings)}, those of the test between "
            f"{', '.join(decisions.findings)}; take the same classifier"
        )
    if shared := set(other.paths) & set(decisions.paths):
        raise ValueError(f"film {min(shared)} is in the test and in the calibration; take films of another split")
    temperature = fit_temperature(torch.from_numpy(_distances(other)), torch.from_numpy(other.true_ids))
    return Calibration(before, _reliability(judge, temperature))


def _reliability(judge: _Judge, temperature: float) -> Reliability:
    decisions, units = judge.decisions, judge.units
    probabilities = decisions.probabilities
    if temperature != 1.0:
        probabilities = class_probabilities(torch.from_numpy(_distances(decisions)), temperature).numpy()
    bins = calibration_bins(decisions, probabilities, units)
    brier = brier_numbers(probabilities, decisions.true_ids, units)
    count, confidence, correct = bins[:, 0]
    filled = count > 0
    points = np.stack([count / count.sum(), confidence / np.maximum(count, 1), correct / np.maximum(count, 1)], axis=1)
    return Reliability(
        ece=judge.estimate(("ece",), ece_numbers(bins)),
        brier=judge.estimate(("brier",), brier),
        temperature=temperature,
        bins=tuple((share, sure, right) for share, sure, right in points[filled].tolist()),
    )


def _distances(decisions: Answers) -> np.ndarray:
    """Return minus the logarithm of the probabilities, whose softmax they are."""
    return np.asarray(-np.log(np.maximum(decisions.probabilities, np.finfo(np.float64).tiny)))


def _patients(decisions: Answers) -> dict[Key, int]:
    """Return how many patients each number of a finding rests on; of two sides the smaller one."""
    counts: dict[Key, int] = {}
    for index, finding in enumerate(decisions.findings):
        shows, taken = decisions.true_ids == index, decisions.credits[:, index] > 0
        with_it, without_it, taken_for, either = (
            len(np.unique(decisions.patient_ids[side])) for side in (shows, ~shows, taken, shows | taken)
        )
        rejected = len(np.unique(decisions.patient_ids[decisions.credits[:, index] < 1]))
        sides = (with_it, without_it, taken_for, rejected, either, min(with_it, without_it), min(with_it, without_it))
        counts |= {(finding, name): count for name, count in zip(PER_CLASS, sides, strict=True)}
    return counts


def _notes(decisions: Answers) -> tuple[str, ...]:
    shown = set(decisions.true_ids.tolist())
    absent = [name for index, name in enumerate(decisions.findings) if index not in shown]
    notes = list(decisions.notes)
    if absent:
        notes.append(f"no film shows {', '.join(absent)}: means over findings leave out what is undefined")
    if not decisions.has_probabilities:
        notes.append(f"no AUROC, AUPRC and calibration: {_NO_PROBABILITIES}")
    return tuple(notes)

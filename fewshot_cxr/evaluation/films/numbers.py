"""Every number of answers film by film, with everybody and without each unit of patients, and as an estimate."""

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.evaluation.episodic.patients import PatientUnits
from fewshot_cxr.evaluation.films.jackknife import jackknife_variance, ranking_without, sums_without
from fewshot_cxr.metrics import NUMBERS, Cells, Estimate, numbers_in, reliability_bins, t_interval

Key = tuple[str, ...]
Numbers = dict[Key, np.ndarray]
"""(name,) or (finding, name) -> float64 (1 + n_units,): with everybody, then without each unit. NaN: undefined."""
_MOST_UNITS = 200
_ROUNDING = 1e-20  # a variance below this is none


class FilmNumbers:
    """The numbers of answers and how they move when patients are left out.

    Args:
        answers: of films of one finding each, or of several.

    Attributes:
        units: the patients, each a unit; of more than 200, as many groups of patients. Where films show one finding
            each, all findings are in each group; else they are joined by chance, for how often a finding occurs is a
            number then, and groups alike in it would hide its spread.
    """

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        marked = [f"{path}\0{true}" for path, true in zip(answers.paths, answers.true_ids.tolist(), strict=True)]
        films = Embeddings(
            answers.probabilities,
            answers.true_ids if answers.is_exclusive else np.zeros_like(answers.truth),
            answers.patient_ids,
            answers.findings,
            paths=marked if answers.is_exclusive else answers.paths,
            has_patient=answers.has_patient,
        )
        units = PatientUnits.of(films, n_most=len(films))
        if units.n_units > _MOST_UNITS:
            # Numbered finding by finding, so that every group gets its part of each.
            units = replace(units, unit_of_row=units.unit_of_row % _MOST_UNITS, n_units=_MOST_UNITS)
        self.units = units

    @cached_property
    def confusion(self) -> np.ndarray:
        """Confusion matrices with everybody and without each unit, float64; rows are true.

        Of films of one finding each (1 + n_units, n, n); of several (1 + n_units, n, 2, 2), each finding absent or
        present.
        """
        answers, n, unit = self.answers, len(self.answers.findings), self.units.unit_of_row
        if answers.is_exclusive:
            cells = (unit * n + answers.true_ids)[:, None] * n + np.arange(n)
            own = np.bincount(cells.ravel(), answers.credits.ravel(), self.units.n_units * n * n)
            return sums_without(own.reshape(-1, n, n))
        row, finding = np.nonzero(~np.isnan(answers.truth))
        shows, taken = (table[row, finding].astype(np.int64) for table in (answers.truth, answers.credits))
        cells = ((unit[row] * n + finding) * 2 + shows) * 2 + taken
        own = np.bincount(cells, minlength=self.units.n_units * n * 4).astype(np.float64)
        return sums_without(own.reshape(-1, n, 2, 2))

    @cached_property
    def numbers(self) -> Numbers:
        """Every number but those of calibration; rankings only where there are probabilities."""
        answers, cells = self.answers, Cells(torch.from_numpy(self.confusion))
        found: Numbers = {}
        if answers.is_exclusive:
            found = {(name,): one.overall(cells).numpy() for name, one in numbers_in("overall").items() if one.overall}
        for name, number in numbers_in(self._of_finding).items():
            if number.of_finding is not None:
                values = number.of_finding(cells).numpy()
                # Of the two classes of a table, absent and present, the second is the finding.
                values = values if answers.is_exclusive else values[..., 1]
                found |= {(finding, name): values[:, index] for index, finding in enumerate(answers.findings)}
        if answers.has_probabilities:
            names = [name for name, number in NUMBERS.items() if number.is_ranking]
            for index, finding in enumerate(answers.findings):
                found |= {(finding, name): one for name, one in zip(names, self._ranking(index), strict=True)}
            for name in names:
                found[name,] = self._mean(np.stack([found[finding, name] for finding in answers.findings]))
        return found

    @property
    def _of_finding(self) -> str:
        return "finding" if self.answers.is_exclusive else "several"

    def _ranking(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        truth = self.answers.truth[:, index]
        rows = np.flatnonzero(~np.isnan(truth))
        if not len(rows):
            absent = np.full(1 + self.units.n_units, np.nan)
            return absent, absent
        units = replace(self.units, unit_of_row=self.units.unit_of_row[rows])
        return ranking_without(self.answers.ranking_scores[rows, index], truth[rows] == 1, units)

    def _mean(self, values: np.ndarray) -> np.ndarray:
        """Average over findings (n, 1 + n_units): those that have the number.

        Where films may show several findings, those that have it with everybody: without some unit the mean is NaN
        where one of these has it no more.
        """
        if not self.answers.is_exclusive and np.isfinite(values[:, 0]).any():
            return np.asarray(np.mean(values[np.isfinite(values[:, 0])], axis=0))
        n_defined = np.isfinite(values).sum(axis=0)
        return np.asarray(np.nansum(values, axis=0) / np.where(n_defined > 0, n_defined, np.nan))

    def scores(self, absent: Estimate) -> tuple[dict[str, Estimate], dict[str, dict[str, Estimate]]]:
        """Return the numbers over all findings and of each; `absent` stands for those that there are not."""
        names = [name for name, one in numbers_in("overall").items() if self.answers.is_exclusive or one.is_ranking]
        found = {key: self.estimate(key, values) for key, values in self.numbers.items()}
        of_finding = numbers_in(self._of_finding)
        return {name: found.get((name,), absent) for name in names}, {
            finding: {name: found.get((finding, name), absent) for name in of_finding}
            for finding in self.answers.findings
        }

    def estimate(self, key: Key, values: np.ndarray) -> Estimate:
        """Return a number with its interval, or why there is none.

        Args:
            key: of the number, as in `numbers`, or of a calibration.
            values: with everybody, then without each unit.
        """
        mean, number = float(values[0]), NUMBERS[key[-1]]
        finding, n_patients, n_bearing = "", self.units.n_patients, self.units.n_patients
        if len(key) > 1:
            finding, n_patients = key[0], self._n_patients(key[0], number.rests_on)
            # A ranking rests on the films without the finding too.
            n_bearing = self._n_patients(finding, "stated") if number.is_ranking else n_patients
        if not np.isfinite(mean):
            return Estimate(None, reason=number.undefined.format(finding) if finding else self._why_undefined())
        if number.is_mean and not finding and (reason := self.why_no_mean()):
            return Estimate(mean, reason=reason)
        if n_patients < 2:
            return Estimate(mean, reason="it rests on one patient: no interval")
        if not np.isfinite(values).all():
            return Estimate(mean, reason="without some patients it is undefined: no interval")
        # Where few patients bear a number, the others leave it as it is and tell nothing of its spread.
        variance, degrees = jackknife_variance(values), min(self.units.n_units, n_patients) - 1
        if "calibration" in number.tables and variance <= _ROUNDING:
            return Estimate(mean, reason="all patients are alike: nothing to measure chance by")
        if "calibration" in number.tables:
            # No share of the films: mean (1 - mean) is no measure of its spread.
            return Estimate(mean, ci95_patients=number.cut(t_interval(mean, variance, degrees)))
        return Estimate(mean, ci95_patients=number.interval(mean, variance, degrees=degrees, n_patients=n_bearing))

    def _why_undefined(self) -> str:
        if self.answers.is_exclusive:
            return "the films or the answers are all of one finding"
        return "no finding has films with it and without it"

    def why_no_mean(self) -> str:
        """Return why a mean over findings has no interval; empty: it has one."""
        words, side = ("has", "with") if self.answers.is_exclusive else ("has, or has not,", "both")
        lone = [name for name in self.answers.findings if self._n_patients(name, side) == 1]
        return f"one patient only {words} {', '.join(lone)}: no interval of a mean over findings" if lone else ""

    def _n_patients(self, finding: str, side: str) -> int:
        """Return how many patients are on a side of a finding (`Number.rests_on`)."""
        index = self.answers.findings.index(finding)
        truth, credits = self.answers.truth[:, index], self.answers.credits[:, index]
        rows = {
            "with": truth == 1,
            "without": truth == 0,
            "taken": credits > 0,
            "rejected": credits < 1,
            "either": (truth == 1) | (credits > 0),
            "stated": ~np.isnan(truth),
        }
        sides = ("with", "without") if side == "both" else (side,)
        return min(len(np.unique(self.answers.patient_ids[rows[one]])) for one in sides)

    def brier(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the multi-class Brier score with everybody and without each unit, float64 (1 + n_units,)."""
        squares = ((probabilities - self.answers.truth) ** 2).sum(axis=1)
        unit, n_units = self.units.unit_of_row, self.units.n_units
        n_left = sums_without(np.bincount(unit, minlength=n_units).astype(np.float64))
        sums = sums_without(np.bincount(unit, squares, n_units))
        return np.asarray(sums / np.where(n_left > 0, n_left, np.nan))

    def bins(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the sums of `reliability_bins` with everybody and without each unit, (3, 1 + n_units, n_bins)."""
        correct = self.answers.credits[np.arange(len(self.answers)), self.answers.true_ids]
        confidence = torch.from_numpy(probabilities.max(axis=1))
        per_film = reliability_bins(confidence[:, None], torch.from_numpy(correct)[:, None])
        where = torch.from_numpy(self.units.unit_of_row)
        own = [one.new_zeros(self.units.n_units, one.shape[1]).index_add_(0, where, one).numpy() for one in per_film]
        return np.stack([sums_without(one) for one in own])

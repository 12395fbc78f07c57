"""The value that a multi-label evaluation returns."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fewshot_cxr.evaluation.multi_label.answers import Answers
from fewshot_cxr.evaluation.multi_label.numbers import OF_FINDING
from fewshot_cxr.metrics import Estimate


@dataclass(frozen=True, kw_only=True)
class FindingScores:
    """One finding over the `n_films` films of `n_patients` patients that state it; `n_positive` of these show it.

    Sensitivity, specificity and accuracy are those of "present" at a probability of 0.5 or more; `prevalence` is the
    share of the films that show it, and what AUPRC would be by chance.
    """

    auroc: Estimate
    auprc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    accuracy: Estimate
    prevalence: Estimate
    n_films: int
    n_positive: int
    n_patients: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {name: one.to_json() if isinstance(one, Estimate) else one for name, one in vars(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FindingScores":
        """Rebuild from `to_json`."""
        estimates = {name: Estimate.from_json(value[name]) for name in OF_FINDING}
        n_films, n_positive, n_patients = (value[name] for name in ("n_films", "n_positive", "n_patients"))
        return cls(**estimates, n_films=n_films, n_positive=n_positive, n_patients=n_patients)


@dataclass(frozen=True)
class FilmAnswer:
    """One film: what it shows of each finding (1, 0, or None where nobody looked) and the probability of each.

    `patient` is a number that says which films are of one patient; it is no patient's id.
    """

    path: str
    patient: int
    truth: tuple[int | None, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class MultiLabelResult:
    """What `evaluate_multi_label` found. All numbers are 0..1; the intervals are over patients.

    `per_finding` and the columns of `films` are in the order of `findings`, `films` are sorted by path. `mean_auroc`
    and `mean_auprc` are plain means over the findings that have one. `n_units` says into how many units of patients
    the jackknife took the films apart.
    """

    mean_auroc: Estimate
    mean_auprc: Estimate
    per_finding: dict[str, FindingScores]
    findings: tuple[str, ...]
    films: tuple[FilmAnswer, ...]
    data_hash: str
    n_films: int
    n_patients: int
    n_units: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def answers(self) -> Answers:
        """Return the answers that were judged."""
        return Answers(
            self.findings,
            [film.probabilities for film in self.films],
            [[np.nan if one is None else one for one in film.truth] for film in self.films],
            [film.patient for film in self.films],
            tuple(film.path for film in self.films),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` rebuilds an equal result."""
        plain: dict[str, Any] = {"kind": "multi_label"} | {item.name: getattr(self, item.name) for item in fields(self)}
        plain |= {name: plain[name].to_json() for name in _MEANS}
        plain["per_finding"] = {name: one.to_json() for name, one in self.per_finding.items()}
        plain["films"] = [
            vars(film) | {"truth": list(film.truth), "probabilities": list(film.probabilities)} for film in self.films
        ]
        return plain | {name: list(plain[name]) for name in _TEXTS}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "MultiLabelResult":
        """Rebuild from `to_json`.

        Raises:
            ValueError: the value is no multi-label result of this version; a field is missing.
        """
        missing = [item.name for item in fields(cls) if item.name not in value]
        if value.get("kind") != "multi_label" or missing:
            raise ValueError(
                f"this is no multi-label result of this version ({', '.join(missing) or 'kind'} missing); "
                "run evaluate again"
            )
        plain: dict[str, Any] = {item.name: value[item.name] for item in fields(cls)}
        plain |= {name: Estimate.from_json(plain[name]) for name in _MEANS}
        plain["per_finding"] = {name: FindingScores.from_json(one) for name, one in plain["per_finding"].items()}
        plain["films"] = tuple(
            FilmAnswer(film["path"], film["patient"], tuple(film["truth"]), tuple(film["probabilities"]))
            for film in plain["films"]
        )
        return cls(**plain | {name: tuple(plain[name]) for name in _TEXTS})


_MEANS = ("mean_auroc", "mean_auprc")
_TEXTS = ("findings", "notes", "warnings")


def film_answers(answers: Answers) -> tuple[FilmAnswer, ...]:
    """Return the answers film by film."""
    truth = [tuple(None if one != one else int(one) for one in row) for row in answers.truth.tolist()]
    rows = zip(answers.paths, answers.patient_ids.tolist(), truth, answers.probabilities.tolist(), strict=True)
    return tuple(FilmAnswer(path, patient, shown, tuple(said)) for path, patient, shown, said in rows)

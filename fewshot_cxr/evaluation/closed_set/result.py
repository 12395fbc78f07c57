"""The value that a closed-set evaluation returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from fewshot_cxr.evaluation.closed_set.decisions import Decisions
from fewshot_cxr.evaluation.estimates import Calibration, Scores
from fewshot_cxr.metrics import Estimate


@dataclass(frozen=True)
class FilmDecision:
    """What was said of one film: its finding, the answer (several where they tie), the probability of each finding.

    `patient` is a number that says which films are of one patient; it is no patient's id. `log_odds` of each finding
    are what films are ranked by, where they are known.
    """

    path: str
    finding: str
    predicted: tuple[str, ...]
    probabilities: tuple[float, ...] | None
    patient: int
    log_odds: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ClosedSetResult:
    """What `evaluate_closed_set` found. All proportions are 0..1; the intervals are over patients.

    `confusion[t][p]` counts films of finding t taken for p, in the order of `findings`; a decision tied between k
    findings counts 1/k for each. `films` are sorted by path. `floor` holds the accuracy of simpler baselines on the
    very same films, `above_floor` the difference, paired. `n_units` says into how many units of patients the jackknife
    took the films apart. `calibration` is None where only decisions are known.
    """

    scores: Scores
    calibration: Calibration | None
    confusion: tuple[tuple[float, ...], ...]
    findings: tuple[str, ...]
    films: tuple[FilmDecision, ...]
    rule: str
    distance: str | None
    is_transductive: bool
    data_hash: str
    n_films: int
    n_patients: int
    n_units: int
    floor: dict[str, Estimate] = field(default_factory=dict)
    above_floor: dict[str, Estimate] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def accuracy(self) -> Estimate:
        """Share of the films decided rightly."""
        return self.scores.accuracy

    def decisions(self) -> Decisions:
        """Return the decisions that were judged."""
        place = {name: index for index, name in enumerate(self.findings)}
        has_probabilities = self.calibration is not None
        ranking = [film.log_odds for film in self.films]
        rows = np.zeros((len(self.films), len(self.findings)))
        for row, film in enumerate(self.films):
            if film.probabilities is None:
                rows[row, [place[name] for name in film.predicted]] = 1 / len(film.predicted)
            else:
                rows[row] = film.probabilities
        return Decisions(
            findings=self.findings,
            true_ids=[place[film.finding] for film in self.films],
            probabilities=rows,
            paths=tuple(film.path for film in self.films),
            patient_ids=[film.patient for film in self.films],
            has_probabilities=has_probabilities,
            rule=self.rule,
            distance=self.distance,
            is_transductive=self.is_transductive,
            log_odds=None if any(row is None for row in ranking) else ranking,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` rebuilds an equal result."""
        plain: dict[str, Any] = {"kind": "closed_set", **self.scores.to_json()}
        plain |= {item.name: getattr(self, item.name) for item in fields(self) if item.name != "scores"}
        plain["calibration"] = None if self.calibration is None else self.calibration.to_json()
        for name in _NAMED_ESTIMATES:
            plain[name] = {key: one.to_json() for key, one in plain[name].items()}
        plain["films"] = [_plain_film(film) for film in self.films]
        plain["confusion"] = [list(row) for row in self.confusion]
        for name in _TEXTS:
            plain[name] = list(plain[name])
        return plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ClosedSetResult":
        """Rebuild from `to_json`.

        Raises:
            ValueError: the value is no closed-set result of this version; a field is missing.
        """
        missing = [item.name for item in fields(cls) if item.name != "scores" and item.name not in value]
        if value.get("kind") != "closed_set" or missing:
            raise ValueError(
                f"this is no result of evaluate of this version ({', '.join(missing) or 'kind'} missing); "
                "run evaluate again"
            )
        plain: dict[str, Any] = {item.name: value[item.name] for item in fields(cls) if item.name != "scores"}
        plain["scores"] = Scores.from_json(value)
        if plain["calibration"] is not None:
            plain["calibration"] = Calibration.from_json(plain["calibration"])
        for name in _NAMED_ESTIMATES:
            plain[name] = {key: Estimate.from_json(one) for key, one in plain[name].items()}
        plain["films"] = tuple(_film(film) for film in plain["films"])
        plain["confusion"] = tuple(tuple(row) for row in plain["confusion"])
        for name in _TEXTS:
            plain[name] = tuple(plain[name])
        return cls(**plain)


_NAMED_ESTIMATES = ("floor", "above_floor")
_TEXTS = ("findings", "notes", "warnings")


def film_decisions(decisions: Decisions) -> tuple[FilmDecision, ...]:
    """Return the decisions film by film."""
    names = decisions.findings
    probabilities = decisions.probabilities.tolist()
    answers: list[list[str]] = [[] for _ in probabilities]
    for row, column in np.argwhere(decisions.credits > 0).tolist():
        answers[row].append(names[column])
    return tuple(
        FilmDecision(
            path,
            names[decisions.true_ids[row]],
            tuple(answers[row]),
            tuple(probabilities[row]) if decisions.has_probabilities else None,
            int(decisions.patient_ids[row]),
            None if decisions.log_odds is None else tuple(decisions.log_odds[row].tolist()),
        )
        for row, path in enumerate(decisions.paths)
    )


def _plain_film(film: FilmDecision) -> dict[str, Any]:
    probabilities = None if film.probabilities is None else list(film.probabilities)
    ranking = None if film.log_odds is None else list(film.log_odds)
    return vars(film) | {"predicted": list(film.predicted), "probabilities": probabilities, "log_odds": ranking}


def _film(value: Mapping[str, Any]) -> FilmDecision:
    probabilities, ranking = value["probabilities"], value.get("log_odds")
    return FilmDecision(
        value["path"],
        value["finding"],
        tuple(value["predicted"]),
        None if probabilities is None else tuple(probabilities),
        value["patient"],
        None if ranking is None else tuple(ranking),
    )

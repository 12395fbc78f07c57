"""What makes a bank's distances into probabilities and sets, as the bank's file keeps it, and what it promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_form
from fewshot_cxr.inference.bank.conformal import SupportConformal, share_as_strange, strangeness
from fewshot_cxr.inference.bank.coverage import allowed_misses, check_level, fewest_patients, patients_needed
from fewshot_cxr.inference.bank.promise import promise_of_films, promise_of_support

BASES = ("support", "films")
PValues = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""How usual films would be among the patients of each finding, float64 (n, n_way), above 0 and up to 1, by their
embeddings (n, dim) and the rule's distances (n, n_way)."""

_FORM = {"basis": str, "date": str, "level": float, "confidence": (float, None), "temperature": (float, None)}
_FORM |= {"patients": dict, "films": dict, "scores": dict, "n_patients": int, "pooled": [float]}


@dataclass(frozen=True)
class Calibration:
    """How distances become probabilities and sets, and what that rests on.

    Args:
        basis: "support", the exemplars themselves, or "films", those of patients kept apart.
        date: of the day when it was made, YYYY-MM-DD.
        level: wanted share of sets that hold the true finding, such as 0.9.
        confidence: wanted share of banks that reach the level; None: the average over banks is enough.
        temperature: of the probabilities, in the unit of the distances; None: it could not be fitted.
        patients: of each finding.
        films: of each finding.
        scores: of the patients of each finding, rising; of films kept apart only, else empty.
        n_patients: of all findings together.
        pooled: scores of all patients, rising; of films kept apart only, else empty.

    Examples:
        >>> counts, scores = {"normal": 9, "covid19": 9}, {"normal": (), "covid19": ()}
        >>> calibration = Calibration("support", "2026-12-01", 0.9, None, 1.0, counts, counts, scores, 18, ())
        >>> calibration.sets(np.array([[0.8, 0.1], [0.8, 0.4]]), ("normal", "covid19"))  # p-values of two films
        [('normal',), ('normal', 'covid19')]
    """

    basis: str
    date: str
    level: float
    confidence: float | None
    temperature: float | None
    patients: Mapping[str, int]
    films: Mapping[str, int]
    scores: Mapping[str, tuple[float, ...]]
    n_patients: int
    pooled: tuple[float, ...]

    @property
    def fewest(self) -> int:
        """Patients of a finding from which it has a threshold of its own."""
        return fewest_patients(self.level) if self.confidence is None else patients_needed(self.level, self.confidence)

    @property
    def prior(self) -> dict[str, float]:
        """Finding -> its share among the calibration's patients, each counted once for each finding."""
        n_all = sum(self.patients.values())
        return {name: n / n_all for name, n in self.patients.items()}

    def has_own_threshold(self, finding: str) -> bool:
        """Whether a finding has patients enough by itself; else those of all findings are taken together."""
        return self.patients[finding] >= self.fewest

    def misses(self, finding: str) -> tuple[int, int]:
        """Return how many patients a finding's p-values are taken from, and l of `allowed_misses`."""
        n_patients = self.patients[finding] if self.has_own_threshold(finding) else self.n_patients
        return n_patients, allowed_misses(n_patients, self.level, self.confidence)

    def p_values_by(self, findings: Sequence[str], *, conformal: Callable[[], SupportConformal]) -> PValues:
        """Return what gives p-values of films; see `PValues`.

        Args:
            findings: of the columns.
            conformal: makes that of the exemplars, which a calibration on them asks.

        Raises:
            ValueError: the calibration was made for other findings.
        """
        if set(findings) != set(self.patients):
            raise ValueError(
                f"the calibration was made for the findings {', '.join(sorted(self.patients))}, these are "
                f"{', '.join(sorted(findings))}: calibrate anew"
            )
        if self.basis == "support":
            of_support = conformal()
            return lambda vectors, _: of_support.p_values(vectors, self.fewest)
        worst = [np.array(self.scores[name] if self.has_own_threshold(name) else self.pooled) for name in findings]

        def by_films(_: np.ndarray, distances: np.ndarray) -> np.ndarray:
            pairs = zip(worst, strangeness(distances).T, strict=True)
            return np.stack([share_as_strange(*pair) for pair in pairs], axis=1)

        return by_films

    def sets(self, p_values: np.ndarray, findings: Sequence[str]) -> list[tuple[str, ...]]:
        """Return for each film the findings that are not left out; an empty set says that none of them fits.

        Args:
            p_values: of `p_values_by`, shape (n_queries, n_way).
            findings: of the columns.
        """
        n_patients, misses = np.array([self.misses(name) for name in findings]).T
        # Counted in patients, half a one beyond the last that is left out: no digit of a division decides.
        is_in = p_values * (n_patients + 1) > misses + 0.5
        return [tuple(name for name, fits in zip(findings, row, strict=True) if fits) for row in is_in.tolist()]

    def probabilities(self, distances: np.ndarray) -> np.ndarray | None:
        """Return softmax(-distances / temperature), float64; None where no temperature could be fitted.

        Args:
            distances: of the decider, shape (n_queries, n_way).

        Source: as `metrics.class_probabilities`, without torch.
        """
        if self.temperature is None:
            return None
        values = np.asarray(distances, dtype=np.float64)
        weights = np.exp((values.min(axis=1, keepdims=True) - values) / self.temperature)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def promise(self) -> str:
        """Return what the sets promise, in words: a line for findings that are promised alike, and what is lacking."""
        counts = {name: (*self.misses(name), self.patients[name]) for name in self.patients}
        of_basis = promise_of_films if self.basis == "films" else promise_of_support
        return of_basis(counts, self.fewest, self.level, self.confidence)

    def to_json(self) -> dict[str, Any]:
        """Return plain values of JSON."""
        lists = {"scores": {name: list(scores) for name, scores in self.scores.items()}, "pooled": list(self.pooled)}
        return vars(self) | {"patients": dict(self.patients), "films": dict(self.films)} | lists

    @classmethod
    def from_json(cls, value: Any) -> Calibration:
        """Rebuild from `to_json`.

        Args:
            value: of a file.

        Raises:
            ValueError: it is no calibration; the text names what is wrong.
        """
        check_form(value, _FORM, "calibration")
        if others := sorted(value.keys() - _FORM):
            raise ValueError(f"calibration holds {others[0]!r:.60}, which this version does not know: calibrate anew")
        for name in ("patients", "films"):
            check_form(list(value[name].values()), [int], f"calibration.{name}")
        check_form(list(value["scores"].values()), [[float]], "calibration.scores")
        scores = {name: tuple(map(float, own)) for name, own in value["scores"].items()}
        found = cls(**{**value, "scores": scores, "pooled": tuple(map(float, value["pooled"]))})
        found._check()
        return found

    def _check(self) -> None:
        if self.basis not in BASES:
            raise ValueError(f"calibration.basis must be one of {', '.join(BASES)}, got {self.basis!r:.60}")
        try:
            date.fromisoformat(self.date)
        except ValueError as error:
            raise ValueError(f"calibration.date must be YYYY-MM-DD, got {self.date!r:.60}") from error
        check_level(self.level, "calibration.level")
        if self.confidence is not None:
            check_level(self.confidence, "calibration.confidence")
        if self.temperature is not None and not self.temperature > 0:
            raise ValueError(f"calibration.temperature must be above 0, got {self.temperature}")
        if not self.patients.keys() == self.films.keys() == self.scores.keys():
            raise ValueError("calibration must hold patients, films and scores of the same findings")
        is_apart = self.basis == "films"
        held = [(self.n_patients, self.pooled), *((self.patients[name], own) for name, own in self.scores.items())]
        if any(n < 0 or len(own) != n * is_apart for n, own in held) or min(self.films.values(), default=0) < 0:
            raise ValueError("calibration must hold a score of each patient of films kept apart, and else none")

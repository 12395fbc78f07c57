"""What a bank says of one film: a finding, or that it abstains and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fewshot_cxr._html import facts_text, html_table
from fewshot_cxr.inference.predictor import Exemplar

ABSTAINED = "abstained"
COLUMNS = ("path", "finding", "answer", "reason", "probability", "set", "nearest", "distance")
"""Of a table of answers: `finding` is always the nearest one, `answer` may be ABSTAINED."""


@dataclass(frozen=True)
class Answer:
    """What a bank says of one film.

    Args:
        path: of the film.
        finding: the nearest one, whatever the answer; "" of a film that cannot be read.
        answer: that finding, or ABSTAINED.
        reason: why it abstains; "": it does not.
        details: of the reason, in words.
        probabilities: finding -> probability; {}: the bank is not calibrated.
        fitting: the findings that fit at the bank's level (the conformal set); None: the bank is not calibrated.
        distances: finding -> the rule's distance, smaller is closer; no probabilities.
        exemplars: the nearest, closest first.
        positive: findings whose operating point the film reaches.
        values: finding -> (PPV, NPV) in words, at the prevalence that was asked for.
        notes: what else is to be known.
        films: of a patient, where they are joined into one answer; (): it is of one film.
    """

    path: str
    finding: str
    answer: str
    reason: str = ""
    details: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    fitting: tuple[str, ...] | None = None
    distances: Mapping[str, float] = field(default_factory=dict)
    exemplars: tuple[Exemplar, ...] = ()
    positive: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    films: tuple[str, ...] = ()

    @property
    def is_abstained(self) -> bool:
        """Whether it names no finding."""
        return self.answer == ABSTAINED

    @property
    def probability(self) -> float | None:
        """Of the nearest finding; None: the bank is not calibrated."""
        return self.probabilities.get(self.finding)

    def abstained(self, reason: str, details: str = "") -> "Answer":
        """Return it as one that abstains; the first reason stays."""
        return self if self.reason else replace(self, answer=ABSTAINED, reason=reason, details=details)

    def forced(self) -> "Answer":
        """Return it as one that never abstains, and says so."""
        if not self.is_abstained or not self.finding:
            return self
        told = f"would abstain ({self.reason}), but was not allowed to (--never-abstain)"
        return replace(self, answer=self.finding, notes=(*self.notes, told))

    def row(self) -> tuple[str, ...]:
        """Return the texts of COLUMNS."""
        nearest = self.exemplars[0] if self.exemplars else None
        return (
            self.path,
            self.finding,
            self.answer,
            self.reason,
            "" if self.probability is None else f"{self.probability:.3f}",
            "" if self.fitting is None else "; ".join(self.fitting),
            "" if nearest is None else nearest.path,
            "" if nearest is None else f"{nearest.distance:.4g}",
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "path": self.path,
            "finding": self.finding,
            "answer": self.answer,
            "reason": self.reason,
            "details": self.details,
            "probabilities": dict(self.probabilities),
            "set": None if self.fitting is None else list(self.fitting),
            "distances": dict(self.distances),
            "exemplars": [vars(exemplar) for exemplar in self.exemplars],
            "positive": list(self.positive),
            "predictive_values": {name: {"ppv": pair[0], "npv": pair[1]} for name, pair in self.values.items()},
            "notes": list(self.notes),
            "films": list(self.films or (self.path,)),
        }

    def __repr__(self) -> str:
        return facts_text("Answer", self._facts())

    def _repr_html_(self) -> str:
        rows = [(one.path, one.finding, f"{one.distance:.4g}") for one in self.exemplars]
        return html_table(self._facts(), caption="Answer") + html_table(
            rows, head=("exemplar", "finding", "distance"), caption="Nearest first"
        )

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("film", self.path), ("answer", self.answer)]
        if self.reason:
            facts += [("reason", f"{self.reason}: {self.details}" if self.details else self.reason)]
            facts += [("nearest finding", self.finding)] if self.finding else []
        ranked = sorted(self.probabilities.items(), key=lambda one: -one[1])
        facts += [("probability", ", ".join(f"{name} {value:.2f}" for name, value in ranked))] if ranked else []
        if self.fitting is not None:
            facts += [("what fits", ", ".join(self.fitting) or "no finding")]
        ranked = sorted(self.distances.items(), key=lambda one: one[1])
        facts += [("distances", ", ".join(f"{name} {value:.4g}" for name, value in ranked))] if ranked else []
        facts += [(f"{name} at the prevalence", f"PPV {ppv}, NPV {npv}") for name, (ppv, npv) in self.values.items()]
        return [*facts, *(("note", note) for note in self.notes)]

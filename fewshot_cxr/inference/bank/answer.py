"""What a bank says of one film: a finding, or that it abstains and why."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fewshot_cxr._html import facts_text, html_table
from fewshot_cxr.inference.bank.abstaining import AMBIGUOUS, INVERTED, NEGATIVE_SPACE, NOT_A_FILM, UNKNOWN, UNREADABLE
from fewshot_cxr.inference.prediction import Exemplar

ABSTAINED = "abstained"
COLUMNS = ("path", "finding", "answer", "reason", "probability", "set", "nearest", "distance")
"""Of a table of answers: `finding` is always the nearest one, `answer` may be ABSTAINED."""
_OF_THE_FILM = (NEGATIVE_SPACE, INVERTED, NOT_A_FILM, UNREADABLE)
_SMALLEST = 1e-300  # a probability of 0 has no logarithm


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

    Examples:
        >>> answer = Answer("new.png", "covid19", "covid19", probabilities={"covid19": 0.9, "normal": 0.1})
        >>> answer
        Answer(film: new.png; answer: covid19; probability: covid19 0.90, normal 0.10)
        >>> answer.abstained("unknown").row()
        ('new.png', 'covid19', 'abstained', 'unknown', '0.900', '', '', '')
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


def join_films(answers: Sequence[Answer]) -> Answer:
    """Return one answer for a patient, from those for its films.

    Distances are averaged, and with them the logarithms of probabilities: films of one patient are views of one thing,
    not so many proofs of it. The set holds what fits every film, since calibration takes the worst film of a patient:
    as many patients as promised have a set that holds their finding. So, too, one film that is `unknown` makes the
    patient `unknown`. A film that is none, a negative, empty or unreadable is left out while others are left.

    Args:
        answers: of the films of one patient, that may abstain and were not forced.

    Raises:
        ValueError: there is none.
    """
    if not answers:
        raise ValueError("a patient has one film or more")
    if len(answers) == 1:
        return answers[0]
    films = tuple(one.path for one in answers)
    whose = {"path": "; ".join(films), "films": films}
    used = [one for one in answers if one.reason not in _OF_THE_FILM]
    if not used:
        told = min(answers, key=lambda one: one.reason == UNREADABLE)
        return replace(told, notes=_notes(answers, answers), **whose)  # type: ignore[arg-type]  # of their own types
    distances = {name: math.fsum(one.distances[name] for one in used) / len(used) for name in used[0].distances}
    nearest = min(distances, key=lambda name: distances[name])
    ranked = sorted((one for film in used for one in film.exemplars), key=lambda one: one.distance)
    shown: dict[tuple[str, str], Exemplar] = {}
    for one in ranked:
        shown.setdefault((one.path, one.finding), one)
    joined = Answer(
        path="; ".join(films),
        films=films,
        finding=nearest,
        answer=nearest,
        probabilities=_mean_probabilities([one.probabilities for one in used]),
        fitting=_fits_all([one.fitting for one in used]),
        distances=distances,
        exemplars=tuple(shown.values())[: max(len(one.exemplars) for one in used)],
        positive=tuple(dict.fromkeys(name for one in used for name in one.positive)),
        values=used[0].values,
        notes=_notes(answers, [one for one in answers if one.reason in _OF_THE_FILM]),
    )
    return _abstained(joined, used)


def _abstained(joined: Answer, used: Sequence[Answer]) -> Answer:
    far = [one for one in used if one.reason == UNKNOWN]
    if far:
        return joined.abstained(UNKNOWN, f"of {len(far)} of {len(used)} films: {far[0].details}")
    least = joined.distances[joined.finding]
    equal = [name for name, distance in joined.distances.items() if distance == least]
    if len(equal) > 1:
        return joined.abstained(AMBIGUOUS, f"{' and '.join(equal)} are equally near")
    if joined.fitting is None or joined.fitting == (joined.finding,):
        return joined
    if not joined.fitting:
        return joined.abstained(UNKNOWN, "no finding fits all films")
    if len(joined.fitting) == 1:
        return joined.abstained(AMBIGUOUS, f"{joined.fitting[0]} fits all films, {joined.finding} is nearer on average")
    return joined.abstained(AMBIGUOUS, f"{' and '.join(joined.fitting)} fit all films")


def _mean_probabilities(films: Sequence[Mapping[str, float]]) -> dict[str, float]:
    if not all(films):
        return {}
    logs = {name: math.fsum(math.log(max(one[name], _SMALLEST)) for one in films) / len(films) for name in films[0]}
    largest = max(logs.values())
    shares = {name: math.exp(value - largest) for name, value in logs.items()}
    return {name: share / math.fsum(shares.values()) for name, share in shares.items()}


def _fits_all(sets: Sequence[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    known = [one for one in sets if one is not None]
    return tuple(name for name in known[0] if all(name in one for one in known)) if len(known) == len(sets) else None


def _notes(answers: Sequence[Answer], left_out: Sequence[Answer]) -> tuple[str, ...]:
    notes = [note for one in answers for note in one.notes]
    return tuple(dict.fromkeys([*notes, *(f"left out {one.path}: {one.reason}" for one in left_out)]))

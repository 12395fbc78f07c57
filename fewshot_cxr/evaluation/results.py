"""Result values: frozen, made of plain numbers; report and CLI show them and never recompute."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A mean over episodes, 0..1, with its Monte-Carlo interval.

    `ci95_episodes` says how well the mean over ALL episodes of these same films is known: it shrinks with more
    episodes and says nothing of other patients. None below two episodes.
    """

    mean: float
    ci95_episodes: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return `{mean, ci95_episodes}`."""
        return {"mean": self.mean, "ci95_episodes": None if self.ci95_episodes is None else list(self.ci95_episodes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Estimate":
        """Rebuild from `to_json`."""
        interval = value["ci95_episodes"]
        return cls(value["mean"], None if interval is None else (interval[0], interval[1]))


@dataclass(frozen=True)
class EpisodicResult:
    """What `evaluate_episodes` found. All proportions are 0..1.

    `confusion[t][p]` counts queries of class t decided as p, over all episodes, in the order of `findings`; a
    decision tied between k classes counts 1/k for each. `floor` holds the accuracy of simpler baselines on the very
    same episodes. `episodes_hash` names the episodes: results with equal hashes met the same films.
    """

    accuracy: Estimate
    per_class_recall: dict[str, Estimate]
    confusion: tuple[tuple[float, ...], ...]
    findings: tuple[str, ...]
    n_way: int
    n_shot: int
    n_query: int
    n_episodes: int
    rule: str
    distance: str
    seed: int
    episodes_hash: str
    episodes_per_second: float
    n_films: int
    n_patients: int
    floor: dict[str, Estimate] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` rebuilds an equal result."""
        plain: dict[str, Any] = dict(self.__dict__)
        plain["accuracy"] = self.accuracy.to_json()
        plain["per_class_recall"] = {name: estimate.to_json() for name, estimate in self.per_class_recall.items()}
        plain["floor"] = {name: estimate.to_json() for name, estimate in self.floor.items()}
        plain["confusion"] = [list(row) for row in self.confusion]
        plain["findings"], plain["notes"] = list(self.findings), list(self.notes)
        return plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EpisodicResult":
        """Rebuild from `to_json`; a missing or unknown field is Python's own TypeError."""
        fields = dict(value)
        fields["accuracy"] = Estimate.from_json(fields["accuracy"])
        for name in ("per_class_recall", "floor"):
            fields[name] = {key: Estimate.from_json(estimate) for key, estimate in fields[name].items()}
        fields["confusion"] = tuple(tuple(row) for row in fields["confusion"])
        fields["findings"], fields["notes"] = tuple(fields["findings"]), tuple(fields["notes"])
        return cls(**fields)

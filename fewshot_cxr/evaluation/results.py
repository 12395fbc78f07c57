"""Result values: frozen, made of plain numbers; report and CLI show them and never recompute."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fewshot_cxr.evaluation.estimates import Calibration, OpenSet, Scores
from fewshot_cxr.metrics import Estimate


@dataclass(frozen=True)
class Replicates:
    """What a paired comparison needs: how each number moves when patients are left out, and in parts of the episodes.

    `influence[number][part][unit]` is the change of the number when the unit (patients, in a fixed order) is left out,
    as the episodes of that part see it: parts are independent, so products of different parts carry no Monte-Carlo
    noise. `batches[number]` are means over as many equal shares of the episodes. `units_hash` names the units.
    """

    units_hash: str = ""
    n_patients: int = 0
    degrees: int = 1
    influence: dict[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    batches: dict[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EpisodicResult:
    """What `evaluate_episodes` found. All proportions are 0..1.

    `confusion[t][p]` counts queries of class t decided as p, over all episodes, in the order of `findings`; a
    decision tied between k classes counts 1/k for each. `floor` holds the accuracy of simpler baselines on the very
    same episodes, `above_floor` the difference, paired. `episodes_hash` names the episodes: results with equal hashes
    met the same films. `seen_and_novel` is there under the generalized protocol: accuracy on the queries of either
    kind, and the harmonic mean. `warnings` are what a reader must know before believing a number, `notes` the rest.
    """

    scores: Scores
    calibration: Calibration | None
    open_set: OpenSet | None
    open_set_reason: str | None
    confusion: tuple[tuple[float, ...], ...]
    findings: tuple[str, ...]
    protocol: dict[str, Any]
    n_way: int
    n_shot: int | dict[str, int] | None
    n_query: int | None
    n_episodes: int
    n_patient_episodes: int
    rule: str
    distance: str
    is_transductive: bool
    seed: int
    episodes_hash: str
    data_hash: str
    episodes_per_second: float
    seconds: dict[str, float]
    n_films: int
    n_patients: int
    floor: dict[str, Estimate] = field(default_factory=dict)
    above_floor: dict[str, Estimate] = field(default_factory=dict)
    seen_and_novel: dict[str, Estimate] = field(default_factory=dict)
    replicates: Replicates = field(default_factory=Replicates)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def accuracy(self) -> Estimate:
        """Share of the queries decided rightly."""
        return self.scores.accuracy

    @property
    def per_class_recall(self) -> dict[str, Estimate]:
        """Sensitivity of each finding."""
        return {name: row["sensitivity"] for name, row in self.scores.per_class.items() if "sensitivity" in row}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` rebuilds an equal result."""
        plain: dict[str, Any] = {"kind": "episodes", **self.scores.to_json()}
        plain["per_class_recall"] = {name: one.to_json() for name, one in self.per_class_recall.items()}
        plain |= {item.name: getattr(self, item.name) for item in fields(self) if item.name != "scores"}
        for name in ("calibration", "open_set"):
            plain[name] = None if plain[name] is None else plain[name].to_json()
        for name in _NAMED_ESTIMATES:
            plain[name] = {key: one.to_json() for key, one in plain[name].items()}
        plain["replicates"] = asdict(self.replicates)
        plain["confusion"] = [list(row) for row in self.confusion]
        for name in ("findings", "notes", "warnings"):
            plain[name] = list(plain[name])
        return plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EpisodicResult":
        """Rebuild from `to_json`.

        Raises:
            ValueError: the value is no result of episodes of this version; a field is missing.
        """
        missing = [item.name for item in fields(cls) if item.name != "scores" and item.name not in value]
        if value.get("kind") != "episodes" or missing:
            raise ValueError(
                f"this is no result of episode-eval of this version ({', '.join(missing) or 'kind'} missing); "
                "run episode-eval again"
            )
        plain: dict[str, Any] = {item.name: value[item.name] for item in fields(cls) if item.name != "scores"}
        plain["scores"] = Scores.from_json(value)
        if plain["calibration"] is not None:
            plain["calibration"] = Calibration.from_json(plain["calibration"])
        if plain["open_set"] is not None:
            plain["open_set"] = OpenSet.from_json(plain["open_set"])
        for name in _NAMED_ESTIMATES:
            plain[name] = {key: Estimate.from_json(one) for key, one in plain[name].items()}
        plain["replicates"] = replicates_from_json(plain["replicates"])
        plain["confusion"] = tuple(tuple(row) for row in plain["confusion"])
        for name in ("findings", "notes", "warnings"):
            plain[name] = tuple(plain[name])
        return cls(**plain)


_NAMED_ESTIMATES = ("floor", "above_floor", "seen_and_novel")


def replicates_from_json(value: Mapping[str, Any]) -> Replicates:
    """Rebuild from plain values."""
    return Replicates(
        value["units_hash"],
        value["n_patients"],
        value["degrees"],
        {name: tuple(tuple(part) for part in parts) for name, parts in value["influence"].items()},
        {name: tuple(means) for name, means in value["batches"].items()},
    )

"""The value that every evaluation returns: frozen, made of plain numbers; report and CLI show it, never recompute."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from fewshot_cxr._checks import check_form
from fewshot_cxr._html import counts_table, facts_text, html_table
from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.evaluation.plain_values import read_plain, take, to_plain
from fewshot_cxr.evaluation.scores import Calibration, OpenSet, Replicates, Scores, overall_key, read_scores
from fewshot_cxr.evaluation.shown import result_facts
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.unknown_patients import over_patients


@dataclass(frozen=True, kw_only=True)
class EpisodeFacts:
    """What few-shot episodes asked, and how long they took.

    `protocol` says its name, the `seen` and `novel` findings and all that settled the draw. `episodes_hash` names the
    episodes: results with equal hashes met the same films. `seen_and_novel` is there under the generalized protocol:
    accuracy on the queries of either kind, and the harmonic mean.
    """

    protocol: dict[str, Any]
    n_way: int
    n_shot: int | dict[str, int] | None
    n_query: int | None
    n_episodes: int
    n_patient_episodes: int
    seed: int
    episodes_hash: str
    episodes_per_second: float
    seconds: dict[str, float]
    seen_and_novel: dict[str, Estimate] = field(default_factory=dict)


class FindingScores(SimpleNamespace):
    """The numbers of a finding, over `n_films` films of `n_patients` patients that state it; `n_positive` show it."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an evaluation found. All proportions are 0..1. Ask for a part by `is not None`, or for `kind` by its name.

    `kind` is "episodes" (`evaluate_episodes`), "closed_set" (`evaluate_closed_set`: films of one finding each) or
    "multi_label" (`evaluate_multi_label`: each finding of each film for itself). Always there: `scores`, `findings`,
    `data_hash`, the counts of films and patients, `rule`, `notes`, and `warnings` that a reader must know before
    believing a number. The other parts:

    Args:
        answers: film by film; of closed sets and films of several findings.
        n_films_without_patient: of the films; each counts as a patient of its own in `n_patients`.
        n_units: into how many units of patients the jackknife took these films apart.
        episodes: what was asked; of episodes alone.
        replicates: what a paired comparison of episodes needs.
        confusion: `confusion[t][p]` counts queries, or films, of finding t decided as p, in the order of `findings`; a
            decision tied between k findings counts 1/k for each. Empty where films may show several findings.
        calibration: None where there are no probabilities that add up to 1.
        open_set: how well "none of these" is told.
        open_set_reason: why `open_set` of episodes is None.
        baselines: accuracy of simpler classifiers by name, on the very same episodes or films.
        above_baselines: accuracy less that of each baseline, paired.
        balanced_baselines: the same of the balanced accuracy, of closed sets.
        above_balanced_baselines: the same of the balanced accuracy, of closed sets.
        n_training_films: how many of the films the encoder was trained on, where that was allowed.

    Examples:
        >>> from fewshot_cxr.evaluation import evaluate_closed_set
        >>> about = {"findings": ("covid19", "normal"), "truth": [0, 0, 1, 1], "paths": ("1", "2", "3", "4")}
        >>> result = evaluate_closed_set(Answers(**about, probabilities=[[0.75, 0.25]] * 3 + [[0.25, 0.75]]))
        >>> result.kind, result.accuracy.mean, result.per_class_recall["normal"].mean
        ('closed_set', 0.75, 0.5)
    """

    kind: str
    scores: Scores
    findings: tuple[str, ...]
    data_hash: str
    n_films: int
    n_patients: int
    n_films_without_patient: int = 0
    n_units: int | None = None
    rule: str = "classifier"
    distance: str | None = None
    is_transductive: bool = False
    answers: Answers | None = None
    episodes: EpisodeFacts | None = None
    replicates: Replicates | None = None
    confusion: tuple[tuple[float, ...], ...] = ()
    calibration: Calibration | None = None
    open_set: OpenSet | None = None
    open_set_reason: str | None = None
    baselines: dict[str, Estimate] = field(default_factory=dict)
    above_baselines: dict[str, Estimate] = field(default_factory=dict)
    balanced_baselines: dict[str, Estimate] = field(default_factory=dict)
    above_balanced_baselines: dict[str, Estimate] = field(default_factory=dict)
    n_training_films: int = 0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return facts_text("Result", result_facts(self))

    def _repr_html_(self) -> str:
        return html_table(result_facts(self), caption="Result") + counts_table(self.findings, self.confusion)

    @property
    def accuracy(self) -> Estimate:
        """Share of the queries or films decided rightly."""
        return self.scores.accuracy

    @property
    def mean_auroc(self) -> Estimate:
        """Plain mean over the findings that have an AUROC."""
        return self.scores.auroc

    @property
    def mean_auprc(self) -> Estimate:
        """Plain mean over the findings that have an AUPRC."""
        return self.scores.auprc

    @property
    def per_class_recall(self) -> dict[str, Estimate]:
        """Sensitivity of each finding."""
        return {name: row["sensitivity"] for name, row in self.scores.per_class.items() if "sensitivity" in row}

    @property
    def per_finding(self) -> dict[str, "FindingScores"]:
        """The numbers of each finding as attributes, beside `n_films`, `n_positive` and `n_patients`."""
        return {name: FindingScores(**row, **self.counts(name)) for name, row in self.scores.per_class.items()}

    @property
    def asked(self) -> EpisodeFacts:
        """The facts of the episodes where they must be there.

        Raises:
            ValueError: it is no result of episodes.
        """
        if self.episodes is None:
            raise ValueError(f"a result of {COMMANDS[self.kind]} has no episodes")
        return self.episodes

    @property
    def interval_over(self) -> str:
        """What the intervals `ci95_patients` are over, in words: patients, as far as they are known, or films."""
        return over_patients(self.n_films_without_patient, self.n_films)

    @property
    def answered(self) -> Answers:
        """The answers film by film where they must be there.

        Raises:
            ValueError: it is a result of episodes.
        """
        if self.answers is None:
            raise ValueError(f"a result of {COMMANDS[self.kind]} holds no answers film by film")
        return self.answers

    def counts(self, finding: str) -> dict[str, int]:
        """Return over how many answered films of how many patients a finding is stated, and in how many it shows."""
        truth = self.answered.truth[:, self.findings.index(finding)]
        patients = self.answered.patient_ids[~np.isnan(truth)]
        n_positive = int((truth == 1).sum())
        return {"n_films": len(patients), "n_positive": n_positive, "n_patients": len(np.unique(patients))}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` rebuilds an equal result."""
        overall = {overall_key(self.kind, name): one for name, one in self.scores.overall.items()}
        values: dict[str, Any] = {"per_class": self.scores.per_class, "per_class_recall": self.per_class_recall}
        values |= vars(self) | {key: getattr(self, name) for name, key in _FLOORS.items()}
        values["interval_over"] = self.interval_over
        if self.episodes is not None:
            values |= vars(self.episodes)
        if self.answers is not None:
            counted = {name: row | self.counts(name) for name, row in self.scores.per_class.items()}
            values |= {"films": self.answers.films_json(), "per_finding": counted}
        plain: dict[str, Any] = to_plain({"kind": self.kind} | overall)
        return plain | {key: to_plain(values[key]) for key in _KEYS[self.kind]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Result":
        """Rebuild from `to_json`.

        Raises:
            ValueError: the value is no result of this version, or a part of it is missing or not what it should be.
        """
        kind = value.get("kind", "")
        command = COMMANDS.get(kind, "episode-eval or evaluate")
        missing = [key for key in _KEYS.get(kind, ()) if key not in (*value, *_LATER, *_FLOORS.values())]
        if kind not in _KEYS or missing:
            raise ValueError(
                f"this is no result of {command} of this version ({', '.join(missing) or 'kind'} missing); "
                f"run {command} again"
            )
        try:
            return _read(kind, value)
        except ValueError as error:
            raise ValueError(f"this result is not whole: {error}; run {command} again") from error

    if not TYPE_CHECKING:  # a type checker shall go on knowing every name

        def __getattr__(self, name: str) -> Any:
            """Find what results of before had at their top: the facts of episodes, and baselines."""
            now = _MOVED.get(name)
            if now is None or (now.startswith("episodes.") and self.__dict__.get("episodes") is None):
                raise AttributeError(f"a result has no {name!r}")
            warnings.warn(f"result.{name} is now result.{now}", DeprecationWarning, stacklevel=2)
            return getattr(self if "." not in now else self.episodes, now.rpartition(".")[2])


_MOVED = {item.name: f"episodes.{item.name}" for item in fields(EpisodeFacts)}
_MOVED |= {"floor": "baselines", "above_floor": "above_baselines"}
COMMANDS = {"episodes": "episode-eval", "closed_set": "evaluate", "multi_label": "evaluate (of several findings)"}
_FLOORS = {f"{a}{b}baselines": f"{a}floor{b and '_balanced'}" for a in ("", "above_") for b in ("", "balanced_")}
_LATER = ("n_films_without_patient", "interval_over", "n_training_films")  # which results of before do not have
# The keys of each kind's JSON after the numbers over all findings, in their order.
_KEYS: dict[str, tuple[str, ...]] = {
    "episodes": (
        *("per_class", "per_class_recall", "calibration", "open_set", "open_set_reason", "confusion", "findings"),
        *("protocol", "n_way", "n_shot", "n_query", "n_episodes", "n_patient_episodes", "rule", "distance"),
        *("is_transductive", "seed", "episodes_hash", "data_hash", "episodes_per_second", "seconds", "n_films"),
        *("n_patients", *_LATER, "floor", "above_floor", "seen_and_novel", "replicates", "notes", "warnings"),
    ),
    "closed_set": (
        *("per_class", "calibration", "confusion", "findings", "films", "rule", "distance", "is_transductive"),
        *("data_hash", "n_films", "n_patients", *_LATER, "n_units", "floor", "above_floor"),
        *("floor_balanced", "above_floor_balanced", "notes", "warnings"),
    ),
    "multi_label": (
        *("per_finding", "findings", "films", "data_hash", "n_films", "n_patients", *_LATER, "n_units"),
        *("notes", "warnings"),
    ),
}


# What those who show and compare results take for granted of the protocol of episodes.
_PROTOCOL = {"name?": str, "seen?": [str], "novel?": [str], "prevalence?": str, "allow_patient_overlap?": bool}
_PROTOCOL |= {"n_folds?": int, "n_repeats?": int}


def _read(kind: str, value: Mapping[str, Any]) -> Result:
    types, names = get_type_hints(Result), set(_KEYS[kind]) & value.keys()
    told = {item.name: take(types[item.name], value, item.name) for item in fields(Result) if item.name in names}
    for name, key in _FLOORS.items():
        told[name] = read_plain(types[name], value.get(key, {}), (key,))
    if kind == "episodes":
        told["episodes"] = read_plain(EpisodeFacts, value)
    else:
        told["answers"] = Answers.from_json(value)
    result = Result(kind=kind, scores=read_scores(kind, value), **told)
    _check_whole(result)
    return result


def _check_whole(result: Result) -> None:
    """Refuse parts that do not go together, or that no evaluation gives."""
    if result.episodes is not None:
        check_form(result.episodes.protocol, _PROTOCOL, "protocol")
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "auroc"):
        one = result.scores.overall.get(name)
        if one is not None and one.mean is not None and not 0 <= one.mean <= 1:
            raise ValueError(f"{overall_key(result.kind, name)} is {one.mean}, a proportion 0..1 was expected")
    n, shares = len(result.findings), result.confusion
    if shares and (len(shares) != n or any(len(row) != n or min(row) < 0 for row in shares)):
        raise ValueError(f"confusion must have {n} rows of {n} counts, one for each finding")
    if len(set(result.findings)) != n or not result.scores.per_class.keys() <= set(result.findings):
        raise ValueError("findings must be distinct, and hold each that has numbers")
    if not result.data_hash or (result.episodes is not None and not result.episodes.episodes_hash):
        raise ValueError("data_hash and episodes_hash must not be empty")
    if result.answers is not None and (result.answers.data_hash, len(result.answers)) != (
        result.data_hash,
        result.n_films,
    ):
        raise ValueError("data_hash and n_films are not those of its films, which were changed after they were judged")


def result_from_json(value: Any) -> Result:
    """Rebuild a result of episode-eval or evaluate.

    Raises:
        ValueError: it is neither, a part of it is missing, or it holds what no evaluation writes.

    Examples:
        >>> from fewshot_cxr.evaluation import evaluate_multi_label
        >>> result = evaluate_multi_label(["edema"], [[0.9], [0.2]], [[1], [0]], None, ["1.png", "2.png"])
        >>> result_from_json(result.to_json()) == result
        True
    """
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in COMMANDS:
        raise ValueError(
            f"this is no result of episode-eval or evaluate (kind {str(kind)[:40]!r}); write one with --json FILE"
        )
    return Result.from_json(value)

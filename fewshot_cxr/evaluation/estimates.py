"""The numbers of a result, and what belongs together."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fewshot_cxr.metrics import Estimate as Estimate


@dataclass(frozen=True)
class Scores:
    """What a classifier is judged by, each with intervals.

    F1, MCC, kappa and the numbers of a finding come from the confusion matrix of all queries together. AUROC and AUPRC
    are one-vs-rest, `auroc` and `auprc` their means over findings; in episodes they are averaged over episodes. PPV,
    NPV and AUPRC hold for the prevalence of the queries, not of a hospital. `per_class[finding]` has sensitivity,
    specificity, ppv, npv, f1, auroc and auprc.
    """

    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    weighted_f1: Estimate
    mcc: Estimate
    kappa: Estimate
    auroc: Estimate
    auprc: Estimate
    per_class: dict[str, dict[str, Estimate]]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        plain: dict[str, Any] = {name: getattr(self, name).to_json() for name in OVERALL}
        per_class = self.per_class.items()
        plain["per_class"] = {name: {key: one.to_json() for key, one in row.items()} for name, row in per_class}
        return plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Scores":
        """Rebuild from `to_json`; other keys are left alone."""
        per_class = {
            name: {key: Estimate.from_json(one) for key, one in row.items()} for name, row in value["per_class"].items()
        }
        return cls(**{name: Estimate.from_json(value[name]) for name in OVERALL}, per_class=per_class)


OVERALL = tuple(item.name for item in fields(Scores) if item.name != "per_class")
PER_CLASS = ("sensitivity", "specificity", "ppv", "npv", "f1", "auroc", "auprc")


@dataclass(frozen=True)
class Reliability:
    """How far the probabilities, a softmax over minus the distances, may be believed.

    `ece` is the expected calibration error, 0..1, over the bins of the largest probability; `brier` the multi-class
    Brier score, 0..2. The bins (share of the queries, mean confidence, share correct) draw the reliability diagram.
    """

    ece: Estimate
    brier: Estimate
    temperature: float
    bins: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Calibration:
    """Reliability as the rule gives it, and `after` a temperature fitted on other films (or None, with the reason)."""

    before: Reliability
    after: Reliability | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return `{ece, brier, temperature, bins, after, reason}`."""
        after = None if self.after is None else _reliability_json(self.after)
        return _reliability_json(self.before) | {"after": after, "reason": self.reason}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Calibration":
        """Rebuild from `to_json`."""
        after = value["after"]
        return cls(
            _reliability_from_json(value),
            None if after is None else _reliability_from_json(after),
            value["reason"],
        )


@dataclass(frozen=True)
class OpenSet:
    """How well "none of these" is told, by three scores: each has `auroc` and `fpr_at_95_tpr`.

    `maximum_probability`, `distance` (to the nearest finding, by the rule) and `knn` (mean distance to the nearest
    exemplars). FPR at 95 % TPR: of the films of unknown findings, the share taken for known where 95 % of the known
    ones are. `risk_coverage`: (share of films answered, share of those answered wrongly), by maximum probability; every
    answer to an unknown film is wrong. `area` is the mean risk along it.
    """

    scores: dict[str, dict[str, Estimate]]
    risk_coverage: tuple[tuple[float, float], ...]
    area: Estimate
    findings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        scores = {name: {key: one.to_json() for key, one in row.items()} for name, row in self.scores.items()}
        curve = [list(point) for point in self.risk_coverage]
        return {
            "scores": scores,
            "risk_coverage": curve,
            "area": self.area.to_json(),
            "findings": list(self.findings),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "OpenSet":
        """Rebuild from `to_json`."""
        return cls(
            {name: {key: Estimate.from_json(one) for key, one in row.items()} for name, row in value["scores"].items()},
            tuple((coverage, risk) for coverage, risk in value["risk_coverage"]),
            Estimate.from_json(value["area"]),
            tuple(value["findings"]),
        )


def _reliability_json(value: Reliability) -> dict[str, Any]:
    bins = [list(one) for one in value.bins]
    return {
        "ece": value.ece.to_json(),
        "brier": value.brier.to_json(),
        "temperature": value.temperature,
        "bins": bins,
    }


def _reliability_from_json(value: Mapping[str, Any]) -> Reliability:
    bins = tuple((share, confidence, correct) for share, confidence, correct in value["bins"])
    return Reliability(Estimate.from_json(value["ece"]), Estimate.from_json(value["brier"]), value["temperature"], bins)

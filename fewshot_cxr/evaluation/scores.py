"""The numbers of a result, and the replicates by which two results are compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fewshot_cxr.evaluation.plain_values import take, to_plain
from fewshot_cxr.metrics import Estimate as Estimate
from fewshot_cxr.metrics import numbers_in


@dataclass(frozen=True)
class Scores:
    """What a classifier is measured by, each with intervals: the numbers of NUMBERS.

    F1, MCC, kappa and the numbers of a finding come from the confusion matrix of all queries together. AUROC and AUPRC
    are one-vs-rest, those of `overall` their means over findings; in episodes they are averaged over episodes. PPV,
    NPV and AUPRC hold for the prevalence of the queries, not of a hospital. What stands in `overall` is an attribute
    too: `scores.macro_f1`.

    Args:
        overall: numbers over all findings by name.
        per_class: numbers of each finding by name.

    Examples:
        >>> scores = Scores({"accuracy": Estimate(0.75)}, {"covid19": {"sensitivity": Estimate(0.5)}})
        >>> scores.accuracy.mean, scores.per_class["covid19"]["sensitivity"].mean
        (0.75, 0.5)
    """

    overall: dict[str, Estimate]
    per_class: dict[str, dict[str, Estimate]]

    def __getattr__(self, name: str) -> Estimate:
        overall: dict[str, Estimate] = self.__dict__.get("overall", {})
        if name in overall:
            return overall[name]
        raise AttributeError(f"there is no number {name!r} over all findings; there are {', '.join(overall)}")


Bins = tuple[tuple[float, float, float], ...]
"""Share of the decisions, mean confidence, share right."""


AS_GIVEN, EXEMPLARS, OTHER_FILMS, UNFITTED = "as given", "exemplars", "other films", "not calibrated"


@dataclass(frozen=True)
class Reliability:
    """How far the probabilities may be believed.

    `ece` is the expected calibration error, 0..1, over the bins of the largest probability; `brier` the multi-class
    Brier score, 0..2. The bins (share of the queries, mean confidence, share correct) draw the reliability diagram.
    `basis` says where the probabilities come from: "as given" by a classifier; or a softmax over minus the distances,
    at a temperature fitted on the "exemplars" or on "other films", or "not calibrated" at all.

    Examples:
        >>> bins = ((0.5, 0.625, 0.5), (0.5, 0.875, 1.0))  # twice 12.5 points off
        >>> Reliability(Estimate(0.125), Estimate(0.25), temperature=2.0, bins=bins, basis="exemplars").words
        'fitted on exemplars'
    """

    ece: Estimate
    brier: Estimate
    temperature: float
    bins: Bins
    basis: str = AS_GIVEN

    @property
    def words(self) -> str:
        """What to say of the probabilities beside a number of theirs; '' where they are as given."""
        is_fitted = self.basis in (EXEMPLARS, OTHER_FILMS)
        return f"fitted on {self.basis}" if is_fitted else self.basis.replace(AS_GIVEN, "")


def reliability_points(count: np.ndarray, confidence: np.ndarray, correct: np.ndarray) -> Bins:
    """Return the bins of `Reliability` from the sums of `reliability_bins`, empty ones left out."""
    kept = count > 0
    shares = count / count.sum(), confidence / np.where(kept, count, 1), correct / np.where(kept, count, 1)
    return tuple((share, sure, right) for share, sure, right in np.stack(shares, axis=1)[kept].tolist())


@dataclass(frozen=True)
class Calibration:
    """Reliability of the answers, and `after` a temperature fitted on other films (or None, with the reason).

    Examples:
        >>> before = Reliability(Estimate(0.25), Estimate(0.5), temperature=1.0, bins=((1.0, 1.0, 0.75),))
        >>> after = Reliability(Estimate(0.0), Estimate(0.375), temperature=3.0, bins=((1.0, 0.75, 0.75),))
        >>> Calibration(before, after).after.ece.mean  # sure to 75 %, and right as often
        0.0
    """

    before: Reliability
    after: Reliability | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return `{ece, brier, temperature, bins, basis, after, reason}`."""
        before: dict[str, Any] = to_plain(self.before)
        return before | {"after": to_plain(self.after), "reason": self.reason}

    @classmethod
    def arranged(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the parts of `to_json` by field."""
        return {"before": value, **{name: value[name] for name in ("after", "reason") if name in value}}


@dataclass(frozen=True)
class OpenSet:
    """How well "none of these" is told, by three scores: each has `auroc` and `fpr_at_95_tpr`.

    `maximum_probability`, `distance` (to the nearest finding, by the rule) and `knn` (mean distance to the nearest
    exemplars). FPR at 95 % TPR: of the films of unknown findings, the share taken for known where 95 % of the known
    ones are. `risk_coverage`: (share of films answered, share of those answered wrongly), by maximum probability; every
    answer to an unknown film is wrong. `area` is the mean risk along it.

    Examples:
        >>> row = {"auroc": Estimate(0.875), "fpr_at_95_tpr": Estimate(0.5)}
        >>> scores = {"maximum_probability": row, "distance": row, "knn": row}
        >>> told = OpenSet(scores, ((0.5, 0.0), (1.0, 0.25)), Estimate(0.125), ("covid19",))
        >>> told.scores["knn"]["auroc"].mean  # of "none of these" where covid19 was unknown
        0.875
    """

    scores: dict[str, dict[str, Estimate]]
    risk_coverage: tuple[tuple[float, float], ...]
    area: Estimate
    findings: tuple[str, ...]


def overall_key(kind: str, name: str) -> str:
    """Return what a number over all findings is called in the JSON of a kind of result."""
    return f"mean_{name}" if kind == "multi_label" else name


def read_scores(kind: str, value: Mapping[str, Any]) -> Scores:
    """Read the numbers of the JSON of a result.

    Raises:
        ValueError: one is missing, or is no number with its intervals.
    """
    is_several = kind == "multi_label"
    names = [name for name, number in numbers_in("overall").items() if number.is_ranking or not is_several]
    overall = {name: take(Estimate, value, overall_key(kind, name)) for name in names}
    if not is_several:
        return Scores(overall, take(dict[str, dict[str, Estimate]], value, "per_class"))
    rows = take(dict[str, dict[str, Any]], value, "per_finding")
    return Scores(
        overall,
        {
            finding: {name: take(Estimate, row, name, ("per_finding", finding)) for name in numbers_in("several")}
            for finding, row in rows.items()
        },
    )


@dataclass(frozen=True)
class Replicates:
    """What a paired comparison needs: how each number moves when patients are left out, and in parts of the episodes.

    `influence[number][part][unit]` is the change of the number when the unit (patients, in a fixed order) is left out,
    as the episodes of that part see it: parts are independent, so products of different parts carry no Monte-Carlo
    noise. `batches[number]` are means over as many equal shares of the episodes. `units_hash` names the units.

    Examples:
        >>> two_shares = Replicates(batches={"accuracy": (0.75, 0.5)})
        >>> two_shares.have_shape_of(Replicates(batches={"accuracy": (0.5, 0.5, 1.0)}))
        False
    """

    units_hash: str = ""
    n_patients: int = 0
    degrees: int = 1
    influence: dict[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    batches: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(map(len, self.batches.values()))) > 1:
            raise ValueError("replicates.batches must have equally many shares of each number")
        shapes = {(len(parts), *{len(part) for part in parts}) for parts in self.influence.values()}
        if len(shapes) > 1 or any(len(shape) != 2 or not all(shape) for shape in shapes):
            raise ValueError("replicates.influence must have equally many units in equally many parts of each number")

    def have_shape_of(self, other: "Replicates") -> bool:
        """Return whether each number that is in both moves in as many shares, parts and units."""
        pairs = ((self.batches, other.batches), (self.influence, other.influence))
        return all(np.shape(one[name]) == np.shape(two[name]) for one, two in pairs for name in one.keys() & two.keys())

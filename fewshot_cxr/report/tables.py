"""Rows of text under column heads, and how a number and its interval are written: on a page and in a terminal alike."""

from dataclasses import dataclass

from fewshot_cxr.metrics import Estimate, Interval
from fewshot_cxr.visualise.style import percent

NUMBER_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "mcc": "MCC (-1 to 1)",
    "kappa": "Cohen's kappa (-1 to 1)",
    "auroc": "AUROC, mean over findings",
    "auprc": "AUPRC, mean over findings",
}
CALIBRATION_NAMES = {"ece": "calibration error (ECE)", "brier": "Brier score (0 to 2)"}
SHORT_HEADS = ("sens.", "spec.", "PPV", "NPV", "F1", "AUROC", "AUPRC")  # of PER_CLASS
PLAIN_NUMBERS = frozenset({"mcc", "kappa", "brier"})  # all others are shares, and shown as per cent


def number_name(key: str) -> str:
    """Return what a number is called: `macro_f1`, `ece` or `auroc of covid19`, say."""
    kind, of, finding = key.partition(" of ")
    if of:
        return f"{kind.upper() if kind == 'auroc' else kind} of {finding}"
    return {**NUMBER_NAMES, **CALIBRATION_NAMES}.get(key, key)


@dataclass(frozen=True)
class Table:
    """Rows of text under column heads: the first column names the row, the others stand to the right.

    `below` says what the rows leave open, as (name, text) pairs: why a number is undefined, for example.

    Raises:
        ValueError: a row is longer or shorter than the heads.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    below: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells under {len(self.columns)} columns: {row}")


def value_text(estimate: Estimate, *, is_share: bool = True) -> str:
    """Return a mean as '81.2 %', or as '0.812' where it is no share; 'undefined' where there is none."""
    if estimate.mean is None:
        return "undefined"
    return percent(estimate.mean) if is_share else f"{estimate.mean:.3f}"


def shown_interval(estimate: Estimate) -> Interval | None:
    """Return the interval to show where there is room for one: over patients or, where there is none, over episodes."""
    return estimate.ci95_patients or estimate.ci95_episodes


def interval_text(interval: Interval | None, *, is_share: bool = True) -> str:
    """Return an interval as '80.9 to 81.6 %', or as '0.809 to 0.816' where it is of no share; 'none' without one."""
    if interval is None:
        return "none"
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f} %" if is_share else f"{low:.3f} to {high:.3f}"


def two_lines(estimate: Estimate, interval: Interval | None) -> str:
    """Return a share in per cent above its interval, as '81.2' and '[79-84]', for tables of many numbers."""
    if estimate.mean is None:
        return "undefined"
    ends = "none" if interval is None else f"[{100 * interval[0]:.0f}-{100 * interval[1]:.0f}]"
    return f"{100 * estimate.mean:.1f}\n{ends}"


def points_text(difference: float) -> str:
    """Return a difference of two shares in percentage points, with its sign."""
    return f"{100 * difference:+.1f}"

"""What an episode adds to the result: statistics that are averaged over episodes, and the numbers made of their means.

Every number is a smooth function of means over episodes, so one pass serves them all: its interval over episodes
follows from the covariance of the statistics, that over patients from their means without each patient.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.metrics import NUMBERS, Cells, expected_calibration_error, numbers_in

N_BINS = 15
MOST_FINDINGS = 30  # beyond, a table of findings by findings in every episode costs more than it tells
OPEN_SCORES = ("maximum_probability", "distance", "knn")
BIN_SUMS = ("count", "confidence", "correct")
CONFUSION_SUMS = ("hits", "misses", "false_alarms")

Key = tuple[str, ...]
OF_FINDING = "finding"  # first in the key of a number of one finding, which may have any name


class Scored(NamedTuple):
    """What is kept of a block of n episodes.

    `rows`: statistics of each, float64 (n, n_statistics), on the CPU. Sums over the block: `confusion`, (n_findings,
    n_findings), and `risks`, one for each coverage; zeros where there are none.
    """

    rows: Tensor
    confusion: np.ndarray
    risks: np.ndarray


@dataclass(frozen=True)
class Layout:
    """Where each statistic stands in an episode's row.

    Args:
        findings: all class names.
        is_wide: whether the confusion of each episode is left out, since the findings are many.
        n_temperatures: 1, or 2 where the probabilities are judged after calibration too.
        has_outside: whether films of no finding of the episode are asked.
        seen: class ids seen in training, of the generalized protocol; empty otherwise.
        novel: class ids not seen, of the generalized protocol; empty otherwise.
        why_absent: why numbers that a wide layout lacks have no interval.
    """

    findings: tuple[str, ...]
    is_wide: bool = False
    n_temperatures: int = 1
    has_outside: bool = False
    seen: tuple[int, ...] = ()
    novel: tuple[int, ...] = ()
    why_absent: str = "more findings than an interval is kept for"

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Return the statistics and how many numbers each has."""
        if self.is_wide:
            sizes = dict.fromkeys(("right", "asked", "balanced", "auroc", "auprc"), 1)
        else:  # of the confusion matrix the three sums that every number of it is made of
            sizes = dict.fromkeys((*CONFUSION_SUMS, "auroc", "auprc", "ranked"), len(self.findings))
        for number in range(self.n_temperatures):
            sizes |= {f"brier{number}": 1} | {f"{name}{number}": N_BINS for name in BIN_SUMS}
        if self.has_outside:
            sizes |= {f"{name} {score}": 1 for score in OPEN_SCORES for name in ("auroc", "fpr")} | {"area": 1}
        return sizes

    @property
    def n_statistics(self) -> int:
        """Length of a row."""
        return sum(self.sizes.values())

    def join(self, statistics: Mapping[str, Tensor]) -> Tensor:
        """Lay the statistics of n episodes, each (n, size), side by side: float64, (n, n_statistics)."""
        return torch.cat([statistics[name].double() for name in self.sizes], dim=1)

    def split(self, row: Tensor) -> dict[str, Tensor]:
        """Undo `join`, for one row or several, (..., n_statistics)."""
        return dict(zip(self.sizes, torch.split(row, list(self.sizes.values()), dim=-1), strict=True))

    def numbers(self, mean: Tensor) -> dict[Key, Tensor]:
        """Make the numbers of the means (..., n_statistics), each of shape (...); what is undefined is NaN.

        Keys: (name,), or what it belongs to and its place there, as in (OF_FINDING, finding, name).
        """
        means = self.split(mean)
        found = self._wide(means) if self.is_wide else self._from_confusion(means)
        for number in range(self.n_temperatures):
            bins = [means[f"{name}{number}"] for name in BIN_SUMS]
            found["calibration", str(number), "ece"] = expected_calibration_error(*bins)
            found["calibration", str(number), "brier"] = means[f"brier{number}"][..., 0]
        if self.has_outside:
            for score in OPEN_SCORES:
                found["open_set", score, "auroc"] = means[f"auroc {score}"][..., 0]
                found["open_set", score, "fpr_at_95_tpr"] = means[f"fpr {score}"][..., 0]
            found["open_set", "area"] = means["area"][..., 0]
        return found

    def _wide(self, means: Mapping[str, Tensor]) -> dict[Key, Tensor]:
        names = {"balanced_accuracy": "balanced", "auroc": "auroc", "auprc": "auprc"}
        accuracy = (means["right"] / means["asked"])[..., 0]
        return {("accuracy",): accuracy, **{(name,): means[statistic][..., 0] for name, statistic in names.items()}}

    def _from_confusion(self, means: Mapping[str, Tensor]) -> dict[Key, Tensor]:
        cells = Cells.of(*(means[name] for name in CONFUSION_SUMS))
        is_ranked, overall, each = means["ranked"] > 0, {}, {}
        for name, number in NUMBERS.items():
            if number.is_ranking:
                share = means[name] / torch.where(is_ranked, means["ranked"], 1.0)
                overall[name] = torch.where(is_ranked, share, 0.0).sum(-1) / is_ranked.sum(-1)
                each[name] = torch.where(is_ranked, share, torch.nan)
            if number.overall is not None:
                overall[name] = number.overall(cells)
            if number.of_finding is not None:
                each[name] = number.of_finding(cells)
        found: dict[Key, Tensor] = {(name,): overall[name] for name in numbers_in("overall")}
        for class_id, finding in enumerate(self.findings):
            found |= {(OF_FINDING, finding, name): each[name][..., class_id] for name in numbers_in("finding")}
        if self.seen and self.novel:
            seen, novel = (_share_right(cells, ids) for ids in (self.seen, self.novel))
            found["seen_and_novel", "seen"], found["seen_and_novel", "novel"] = seen, novel
            total = seen + novel
            found["seen_and_novel", "harmonic_mean"] = 2 * seen * novel / torch.where(total > 0, total, 1.0)
        return found


def _share_right(cells: Cells, class_ids: tuple[int, ...]) -> Tensor:
    return cells.hits[..., class_ids].sum(-1) / cells.true[..., class_ids].sum(-1)

"""Every number that a classifier is measured by: what it is called, where it can lie, and how it is computed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_cxr.metrics.cells import Cells, mean_of_defined, ratio
from fewshot_cxr.metrics.intervals import Interval, bounded_interval


@dataclass(frozen=True, kw_only=True)
class Number:
    """One number: a line of NUMBERS, and all that JSON, tables, pages and comparisons need to know of it.

    Args:
        words: what it is called.
        tables: where it stands: "overall" (over all findings), "finding" (of each, one a film), "several" (of each,
            where films may show several), "calibration".
        overall: makes it from `Cells`, over all findings: shape (...,). None: it is no number of a confusion matrix.
        of_finding: makes it of each finding: shape (..., n_way). None: as above.
        overall_words: what it is called over all findings; '': the same.
        head: what stands over a narrow column; '': the same.
        lowest: the least that it can be.
        highest: the most.
        is_mean: whether over all findings it is their plain mean.
        is_compared: whether a comparison of two results shows it.
        rests_on: whose patients bear it of a finding: "with" the finding, "without" it, "taken" for it, not taken for
            it ("rejected"), "either" with or taken for, "both" with and without (the fewer), or all that are "stated".
        undefined: why it is not there of a finding {0}.

    Examples:
        >>> Number(words="MCC", tables=("overall",), lowest=-1.0).cut((-1.2, 0.4))
        (-1.0, 0.4)
    """

    words: str
    tables: tuple[str, ...]
    overall: Callable[[Cells], Tensor] | None = None
    of_finding: Callable[[Cells], Tensor] | None = None
    overall_words: str = ""
    head: str = ""
    lowest: float = 0.0
    highest: float = 1.0
    is_mean: bool = False
    is_compared: bool = False
    rests_on: str = "stated"
    undefined: str = "the films or the answers are all of one finding"

    @property
    def is_ranking(self) -> bool:
        """Whether it is made from the order of the films, not from a confusion matrix."""
        return self.overall is None and self.of_finding is None and "calibration" not in self.tables

    def interval(self, mean: float, variance: float, *, degrees: float, n_patients: int) -> Interval:
        """Return `bounded_interval` between the least and the most that the number can be."""
        width = self.highest - self.lowest
        share = (mean - self.lowest) / width
        low, high = bounded_interval(share, variance / width**2, degrees=degrees, n_patients=n_patients)
        return self.lowest + width * low, self.lowest + width * high

    def cut(self, interval: Interval) -> Interval:
        """Return the part of an interval where the number can be."""
        return max(self.lowest, interval[0]), min(self.highest, interval[1])

    @property
    def words_overall(self) -> str:
        """What it is called over all findings."""
        return self.overall_words or self.words

    @property
    def is_share(self) -> bool:
        """Whether it is shown in per cent."""
        return (self.lowest, self.highest) == (0.0, 1.0)


def _mcc(cells: Cells) -> Tensor:
    square = (cells.predicted * cells.not_predicted).sum(-1) * (cells.true * cells.not_true).sum(-1)
    is_defined = square > 0
    return torch.where(is_defined, cells.above_chance / torch.where(is_defined, square, 1.0).sqrt(), torch.nan)


def _accuracy_against_rest(cells: Cells) -> Tensor:
    return ratio(cells.hits + cells.rejections, cells.total.unsqueeze(-1).expand_as(cells.hits))


_BOTH_SIDES = "films with {0} and films without it are needed"
# In the order of every table.
NUMBERS: dict[str, Number] = {
    "sensitivity": Number(
        words="sensitivity",
        head="sens.",
        tables=("finding", "several"),
        of_finding=lambda cells: cells.sensitivity,
        is_compared=True,
        rests_on="with",
        undefined="no film shows {0}",
    ),
    "specificity": Number(
        words="specificity",
        head="spec.",
        tables=("finding", "several"),
        of_finding=lambda cells: ratio(cells.rejections, cells.not_true),
        rests_on="without",
        undefined="no film is without {0}",
    ),
    "ppv": Number(
        words="PPV",
        tables=("finding",),
        of_finding=lambda cells: ratio(cells.hits, cells.predicted),
        rests_on="taken",
        undefined="no film was taken for {0}",
    ),
    "npv": Number(
        words="NPV",
        tables=("finding",),
        of_finding=lambda cells: ratio(cells.rejections, cells.not_predicted),
        rests_on="rejected",
        undefined="every film was taken for {0}",
    ),
    "f1": Number(
        words="F1",
        tables=("finding",),
        of_finding=lambda cells: cells.f1,
        rests_on="either",
        undefined="no film shows {0} or was taken for it",
    ),
    "accuracy": Number(
        words="accuracy",
        tables=("overall", "several"),
        overall=lambda cells: ratio(cells.hits.sum(-1), cells.total),
        of_finding=_accuracy_against_rest,
        is_compared=True,
        undefined="no film states {0}",
    ),
    "prevalence": Number(
        words="prevalence",
        tables=("several",),
        of_finding=lambda cells: ratio(cells.true, cells.total.unsqueeze(-1).expand_as(cells.true)),
        undefined="no film states {0}",
    ),
    "balanced_accuracy": Number(
        words="balanced accuracy",
        tables=("overall",),
        overall=lambda cells: mean_of_defined(cells.sensitivity),
        is_mean=True,
        is_compared=True,
    ),
    "macro_f1": Number(
        words="macro F1",
        tables=("overall",),
        overall=lambda cells: mean_of_defined(cells.f1),
        is_mean=True,
        is_compared=True,
    ),
    "weighted_f1": Number(
        words="weighted F1",
        tables=("overall",),
        overall=lambda cells: ratio((cells.f1.nan_to_num() * cells.true).sum(-1), cells.total),
    ),
    "mcc": Number(words="MCC (-1 to 1)", tables=("overall",), overall=_mcc, lowest=-1.0),
    "kappa": Number(
        words="Cohen's kappa (-1 to 1)",
        tables=("overall",),
        overall=lambda cells: ratio(cells.above_chance, (cells.true * cells.not_predicted).sum(-1)),
        lowest=-1.0,
    ),
    "auroc": Number(
        words="AUROC",
        overall_words="AUROC, mean over findings",
        tables=("overall", "finding", "several"),
        is_mean=True,
        is_compared=True,
        rests_on="both",
        undefined=_BOTH_SIDES,
    ),
    "auprc": Number(
        words="AUPRC",
        overall_words="AUPRC, mean over findings",
        tables=("overall", "finding", "several"),
        is_mean=True,
        rests_on="both",
        undefined=_BOTH_SIDES,
    ),
    "ece": Number(words="calibration error (ECE)", tables=("calibration",)),
    "brier": Number(words="Brier score (0 to 2)", tables=("calibration",), highest=2.0, is_compared=True),
}


def numbers_in(table: str) -> dict[str, Number]:
    """Return the numbers of a table, in its order: "overall", "finding", "several" or "calibration".

    Examples:
        >>> list(numbers_in("calibration"))
        ['ece', 'brier']
    """
    found = {name: number for name, number in NUMBERS.items() if table in number.tables}
    if table != "several":
        return found
    return dict(sorted(found.items(), key=lambda item: not item[1].is_ranking))  # rankings are what it is read for


def confusion_scores(confusion: Tensor) -> dict[str, Tensor]:
    """Return the usual scores of confusion matrices; what is undefined is NaN, never 0.

    Args:
        confusion: as for `Cells`.

    Returns:
        float64. Of shape (...,): accuracy; balanced_accuracy (mean sensitivity of the classes that have a film);
        macro_f1 and weighted_f1 (over the classes that occur in truth or prediction, equally or by their films);
        mcc; kappa. Of shape (..., n_way), each class against the rest: sensitivity, specificity, ppv, npv, f1
        (2 TP / (2 TP + FP + FN)), one_vs_rest_accuracy. All are scikit-learn's, which writes 0 for some of the NaN.
        What is added to NUMBERS comes too. A number that is NaN adds nothing to the gradient of one that is defined.

    Raises:
        ValueError: the last two axes differ in length.

    Examples:
        >>> scores = confusion_scores(torch.tensor([[8, 2], [1, 9]]))
        >>> round(scores["accuracy"].item(), 2), [round(value, 2) for value in scores["ppv"].tolist()]
        (0.85, [0.89, 0.82])

    Source: mcc: Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004,
    doi:10.1016/j.compbiolchem.2004.09.006, eq. 8; kappa: Cohen, "A coefficient of agreement for nominal scales", 1960;
    balanced accuracy: Brodersen et al., "The balanced accuracy and its posterior distribution", 2010.
    """
    cells = Cells(confusion)
    found = {name: one.overall(cells) for name, one in NUMBERS.items() if one.overall}
    found |= {name: one.of_finding(cells) for name, one in numbers_in("finding").items() if one.of_finding}
    return found | {"one_vs_rest_accuracy": _accuracy_against_rest(cells)}

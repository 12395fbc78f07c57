"""A multi-label result as rows of text, and as rows for a spreadsheet."""

import csv
import io
from collections.abc import Iterator

from fewshot_cxr.evaluation.result import FindingScores, Result
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.number_rows import COLUMNS
from fewshot_cxr.report.tables import UNKNOWN, Table, value_text

_HEADS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "prevalence": "prevalence",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "accuracy": "accuracy",
}
_MEAN = "mean over findings"


def multi_label_table(result: Result) -> Table:
    """Return a row per finding with its numbers, each above its interval, and a last one with the means."""
    rows = [
        (finding, f"{one.n_positive:,} of {one.n_films:,}", *(_two_lines(getattr(one, name)) for name in _HEADS))
        for finding, one in result.per_finding.items()
    ]
    means = (_two_lines(result.mean_auroc), _two_lines(result.mean_auprc))
    rows.append((_MEAN, "", *means, *("" for _ in range(len(_HEADS) - len(means)))))
    return Table(
        ("finding", "films with it", *_HEADS.values()),
        tuple(rows),
        caption=f"{result.n_films:,} films of {result.n_patients:,} patients, each finding for itself; below a number "
        "95 % over patients; sensitivity, specificity and accuracy at a probability of 0.5",
        below=tuple(dict.fromkeys(_reasons(result))),
    )


def multi_label_csv(result: Result) -> str:
    """Return the numbers as CSV text, in the columns of `numbers_csv`; what is undefined is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, finding, one in _numbers(result):
        writer.writerow([name, finding, one.mean, *(one.ci95_patients or (None, None)), None, None])
    return text.getvalue()


def _numbers(result: Result) -> Iterator[tuple[str, str, Estimate]]:
    """Yield (number, finding or '', estimate)."""
    yield "mean_auroc", "", result.mean_auroc
    yield "mean_auprc", "", result.mean_auprc
    for finding, one in result.per_finding.items():
        for name, estimate in _estimates(one):
            yield name, finding, estimate


def _estimates(one: FindingScores) -> Iterator[tuple[str, Estimate]]:
    return ((name, getattr(one, name)) for name in _HEADS)


def _reasons(result: Result) -> Iterator[tuple[str, str]]:
    """Say once for each finding why a number or an interval is not there."""
    named = [(_MEAN, result.mean_auroc), (_MEAN, result.mean_auprc)]
    named += [(finding, estimate) for finding, one in result.per_finding.items() for _, estimate in _estimates(one)]
    return ((name, one.reason) for name, one in named if one.reason is not None)


def _two_lines(estimate: Estimate) -> str:
    if estimate.mean is None:
        return value_text(estimate)
    ends = UNKNOWN if estimate.ci95 is None else "{:.0f} to {:.0f}".format(*(100 * end for end in estimate.ci95))
    return f"{value_text(estimate)}\n{ends}"

"""A result as rows for a spreadsheet: finding by finding, and over all of them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fewshot_cxr.evaluation.films.jackknife import jackknife_variance
from fewshot_cxr.evaluation.films.numbers import FilmNumbers
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.metrics import Estimate, bounded_interval, numbers_in

Row = dict[str, Any]

_COLUMNS = {"precision": "ppv", "recall": "sensitivity", "f1": "f1", "specificity": "specificity", "npv": "npv"}
_COLUMNS |= {"auroc": "auroc", "auprc": "auprc"}


def result_tables(result: Result) -> dict[str, list[Row]]:
    """Return the tables of a result by name: `per_class` and `numbers`, and of a closed set `confusion`.

    Numbers are raw (0..1), `_low` and `_high` the ends of the 95 % interval over patients; what is unknown is None.
    Precision is PPV and recall is sensitivity.
    """
    rows = [_finding_row(result, finding) for finding in result.scores.per_class]
    numbers = [{"number": name, **cells("value", one), "reason": one.reason} for name, one in _numbers(result)]
    if result.kind == "multi_label":
        means = _cells({"auroc": result.mean_auroc, "auprc": result.mean_auprc})
        macro = {"kind": "macro", "finding": "", "n_films": result.n_films, **means}
        return {"per_class": [*rows, macro], "numbers": numbers}
    tables = {"confusion": _confusion_rows(result), "per_class": [*rows, *_average_rows(result)]}
    return tables | {"numbers": numbers}


def _confusion_rows(result: Result) -> list[Row]:
    rows = []
    for finding, counts in zip(result.findings, result.confusion, strict=True):
        n_films = sum(counts)
        taken = {f"as {name}": count for name, count in zip(result.findings, counts, strict=True)}
        shares = {f"share {column}": count / n_films if n_films else None for column, count in taken.items()}
        rows.append({"finding": finding, **taken, **shares})
    return rows


def _finding_row(result: Result, finding: str) -> Row:
    counts, columns = result.counts(finding), _COLUMNS
    shown = {"n_films": counts["n_positive"]}
    if result.kind == "multi_label":
        columns = {name: name for name in numbers_in("several")}
        shown = {"n_films": counts["n_films"], "n_positive": counts["n_positive"]}
    numbers = result.scores.per_class[finding]
    own = _cells({column: numbers[name] for column, name in columns.items()})
    return {"kind": "finding", "finding": finding, **shown, **own}


def _average_rows(result: Result) -> list[Row]:
    """Return the means over findings: plain, weighted by their films, and the balanced accuracy, a mean of recalls."""
    scores = result.scores
    macro_precision, weighted_precision = _mean_precisions(result)
    averages = {
        # What is undefined adds nothing to a plain mean, and so its recall is the balanced accuracy.
        "macro": {"precision": macro_precision, "recall": scores.balanced_accuracy, "f1": scores.macro_f1},
        # Recalls weighted by the films of each finding add up to the accuracy.
        "weighted": {"precision": weighted_precision, "recall": scores.accuracy, "f1": scores.weighted_f1},
        "balanced": {"recall": scores.balanced_accuracy},
    }
    averages["macro"] |= {"auroc": scores.auroc, "auprc": scores.auprc}
    return [
        {"kind": name, "finding": "", "n_films": result.n_films}
        | _cells({column: numbers.get(column, Estimate(None)) for column in _COLUMNS})
        for name, numbers in averages.items()
    ]


def _mean_precisions(result: Result) -> tuple[Estimate, Estimate]:
    """Return precision averaged over the findings that were answered: plainly, and weighted by their films."""
    found = FilmNumbers(result.answered)
    precisions = np.stack([found.numbers[finding, "ppv"] for finding in result.findings], axis=1)
    is_defined = np.isfinite(precisions)
    films, units = found.confusion.sum(axis=-1), found.units
    estimates = []
    for weights in (is_defined.astype(float), films * is_defined):
        with np.errstate(invalid="ignore"):
            values = (np.nan_to_num(precisions) * weights).sum(axis=1) / weights.sum(axis=1)
        mean = float(values[0])
        # Where the mean of the recalls has no interval, this one has none for the same reason.
        if result.scores.balanced_accuracy.ci95 is None or not np.isfinite(values).all():
            estimates.append(Estimate(mean))
            continue
        variance, n_patients = jackknife_variance(values), units.n_patients
        ends = bounded_interval(mean, variance, degrees=units.n_units - 1, n_patients=n_patients)
        estimates.append(Estimate(mean, ci95_patients=ends))
    return estimates[0], estimates[1]


def _numbers(result: Result) -> Iterator[tuple[str, Estimate]]:
    mean = "mean_" if result.kind == "multi_label" else ""
    for name, one in result.scores.overall.items():
        yield f"{mean}{name}", one
    for name, baseline in result.baselines.items():
        yield f"floor_{name}", baseline
        yield f"above_floor_{name}", result.above_baselines[name]
    if result.calibration is not None:
        yield "ece", result.calibration.before.ece
        yield "brier", result.calibration.before.brier


def cells(column: str, one: Estimate) -> Row:
    """Return a number and the ends of its interval, under the names column, column_low and column_high."""
    low, high = one.ci95 or (None, None)
    return {column: one.mean, f"{column}_low": low, f"{column}_high": high}


def _cells(numbers: Mapping[str, Estimate]) -> Row:
    return {name: value for column, one in numbers.items() for name, value in cells(column, one).items()}

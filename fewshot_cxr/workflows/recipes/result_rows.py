"""A result as rows for a spreadsheet: finding by finding, and over all of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fewshot_cxr.evaluation.films.jackknife import jackknife_variance
from fewshot_cxr.evaluation.films.numbers import FilmNumbers
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.metrics import Estimate, bounded_interval

Row = dict[str, Any]

_CLOSED_COLUMNS = {"precision": "ppv", "recall": "sensitivity", "f1": "f1", "specificity": "specificity", "npv": "npv"}
_CLOSED_COLUMNS |= {"auroc": "auroc", "auprc": "auprc"}
_MULTI_COLUMNS = ("auroc", "auprc", "sensitivity", "specificity", "accuracy", "prevalence")


def result_tables(result: Result) -> dict[str, list[Row]]:
    """Return the tables of a result by name: `per_class` and `numbers`, and of a closed set `confusion`.

    Numbers are raw (0..1), `_low` and `_high` the ends of the 95 % interval over patients; what is undefined is None.
    Precision is PPV and recall is sensitivity.
    """
    if result.kind == "multi_label":
        means = {"mean_auroc": result.mean_auroc, "mean_auprc": result.mean_auprc}
        return {"per_class": _multi_rows(result), "numbers": _number_rows(means)}
    return {
        "confusion": _confusion_rows(result),
        "per_class": [*_closed_rows(result), *_average_rows(result)],
        "numbers": _number_rows(_closed_numbers(result)),
    }


def _confusion_rows(result: Result) -> list[Row]:
    rows = []
    for finding, counts in zip(result.findings, result.confusion, strict=True):
        n_films = sum(counts)
        taken = {f"as {name}": count for name, count in zip(result.findings, counts, strict=True)}
        shares = {f"share {column}": count / n_films if n_films else None for column, count in taken.items()}
        rows.append({"finding": finding, **taken, **shares})
    return rows


def _closed_rows(result: Result) -> list[Row]:
    rows = []
    for finding, counts in zip(result.findings, result.confusion, strict=True):
        numbers = result.scores.per_class[finding]
        row = {"kind": "finding", "finding": finding, "n_films": round(sum(counts))}
        for column, name in _CLOSED_COLUMNS.items():
            row |= cells(column, numbers[name])
        rows.append(row)
    return rows


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
    rows = []
    for name, numbers in averages.items():
        row: Row = {"kind": name, "finding": "", "n_films": result.n_films}
        for column in _CLOSED_COLUMNS:
            row |= cells(column, numbers.get(column, Estimate(None)))
        rows.append(row)
    return rows


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


def _closed_numbers(result: Result) -> dict[str, Estimate]:
    numbers = dict(result.scores.overall)
    for name, floor in result.baselines.items():
        numbers |= {f"floor_{name}": floor, f"above_floor_{name}": result.above_baselines[name]}
    if result.calibration is not None:
        numbers |= {"ece": result.calibration.before.ece, "brier": result.calibration.before.brier}
    return numbers


def _number_rows(numbers: Mapping[str, Estimate]) -> list[Row]:
    return [{"number": name, **cells("value", one), "reason": one.reason} for name, one in numbers.items()]


def _multi_rows(result: Result) -> list[Row]:
    rows: list[Row] = []
    for finding, one in result.per_finding.items():
        row = {"kind": "finding", "finding": finding, "n_films": one.n_films, "n_positive": one.n_positive}
        for column in _MULTI_COLUMNS:
            row |= cells(column, getattr(one, column))
        rows.append(row)
    means = {**cells("auroc", result.mean_auroc), **cells("auprc", result.mean_auprc)}
    return [*rows, {"kind": "macro", "finding": "", "n_films": result.n_films, **means}]


def cells(column: str, one: Estimate) -> Row:
    """Return a number and the ends of its interval, under the names column, column_low and column_high."""
    low, high = one.ci95 or (None, None)
    return {column: one.mean, f"{column}_low": low, f"{column}_high": high}

"""What a run found, as files: each table as CSV and JSON, each figure as PNG."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_cxr._csv import csv_table
from fewshot_cxr.evaluation.curves import roc_points
from fewshot_cxr.evaluation.films.jackknife import jackknife_variance
from fewshot_cxr.evaluation.films.numbers import FilmNumbers
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.metrics import Estimate, bounded_interval, numbers_in
from fewshot_cxr.report import save_figure
from fewshot_cxr.report.result_figures import draw_confusion, draw_roc, known_areas
from fewshot_cxr.visualise import class_counts_figure, learning_curves_figure
from fewshot_cxr.whole_files import write_json, write_text
from fewshot_cxr.workflows.rank_tables import RankTable, draw_rank_table

Row = dict[str, Any]
_COLUMNS = {"precision": "ppv", "recall": "sensitivity", "f1": "f1", "specificity": "specificity", "npv": "npv"}
_COLUMNS |= {"auroc": "auroc", "auprc": "auprc"}


def write_outputs(
    out: Path,
    *,
    result: Result,
    history: Sequence[Mapping[str, float]],
    best_epoch: int | None,
    rank_tables: Sequence[RankTable] = (),
    counts: Mapping[str, Mapping[str, int]] | None = None,
    title: str = "",
    seed: int | None = None,
    command: str = "",
) -> list[Path]:
    """Write the tables and figures of a run into out/tables and out/figures, each file whole or not at all.

    Of a closed set: `confusion`; of any: `per_class`, `numbers`, `roc` (where there are probabilities), `history` with
    the figure `learning`, `class_counts`, and `rank_1`, `rank_2`, ... All is drawn before anything is written. Numbers
    in tables are raw (0..1), `_low` and `_high` the ends of the 95 % interval over patients, empty where undefined.
    Precision is PPV and recall is sensitivity.

    Args:
        out: the run's folder.
        result: of the test films.
        history: a row per epoch; empty: nothing was trained, and no curves are drawn.
        best_epoch: the one that was kept; None: as `learning_curves_figure` finds it.
        rank_tables: films beside their exemplars.
        counts: split -> finding -> number of films.
        title: of the run, above each figure and in each JSON file.
        seed: of the run, in each JSON file.
        command: that made it, in each JSON file.

    Returns:
        The files written.

    Raises:
        ValueError: what a figure refuses, such as a best epoch that the history lacks.
    """
    counts, curved, figures = counts or {}, known_areas(result, "auroc"), {}
    if result.kind == "closed_set":
        figures["confusion"] = draw_confusion(result)(title=title)
    if curved:
        figures["roc"] = draw_roc(result)(title=title)
    if history:
        figures["learning"] = learning_curves_figure(history, best_epoch=best_epoch, title=title)
    if counts:
        figures["class_counts"] = class_counts_figure(counts, title=title)
    tables = result_tables(result) | {"history": _history_rows(history), "class_counts": _count_rows(counts)}
    for number, table in enumerate(rank_tables, start=1):
        tables[f"rank_{number}"] = _rank_rows(table)
        figures[f"rank_{number}"] = draw_rank_table(table, title=title)
    about = {"title": title, "data_hash": result.data_hash, "n_films": result.n_films, "n_patients": result.n_patients}
    about |= {"n_films_without_patient": result.n_films_without_patient, "interval_over": result.interval_over}
    about |= {"seed": seed, "command": command or None, "best_epoch": best_epoch}
    # JSON keeps the areas below the curves: thousands of points are for a plot.
    areas = [{"finding": name, **cells("auc", area)} for name, area in curved.items()]
    files = []
    for name, rows in {**tables, "roc": areas}.items():
        if rows:
            place = out / "tables" / name
            write_text(
                csv_file := place.with_suffix(".csv"), csv_table(_points(result, curved) if name == "roc" else rows)
            )
            write_json(json_file := place.with_suffix(".json"), {**about, "rows": rows})
            files += [csv_file, json_file]
    for name, figure in figures.items():
        save_figure(figure, png_file := out / "figures" / f"{name}.png")
        files.append(png_file)
    return files


def _points(result: Result, findings: Iterable[str]) -> list[Row]:
    return [
        {"finding": name, "false_positive_rate": across, "true_positive_rate": up}
        for name in findings
        for across, up in zip(*(side.tolist() for side in roc_points(result, name)), strict=True)
    ]


def _history_rows(history: Sequence[Mapping[str, float]]) -> list[Row]:
    # What was not measured in an epoch is NaN, for which JSON has no word.
    return [{name: value if math.isfinite(value) else None for name, value in row.items()} for row in history]


def _count_rows(counts: Mapping[str, Mapping[str, int]]) -> list[Row]:
    findings = dict.fromkeys(name for films in counts.values() for name in films)
    return [{"finding": name, **{split: films.get(name, 0) for split, films in counts.items()}} for name in findings]


def _rank_rows(table: RankTable) -> list[Row]:
    film = {"film": table.name, "truth": table.truth, "decision": table.decision, "rule": table.rule}
    paths = table.paths or [""] * len(table.rows)
    exemplars = [(distance, name, path) for (_, name, distance), path in zip(table.rows, paths, strict=True)]
    exemplars.sort(key=lambda one: one[0])
    distances, scores = [one[0] for one in exemplars], list(table.means.values())
    rows: list[Row] = [
        {**film, "kind": "exemplar", "rank": distances.index(distance) + 1, "finding": finding}
        | {"distance": float(distance), "path": path}
        for distance, finding, path in exemplars
    ]
    return rows + [
        {**film, "kind": "finding", "rank": scores.index(mean) + 1, "finding": finding, "score": mean}
        for finding, mean in table.means.items()
    ]


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

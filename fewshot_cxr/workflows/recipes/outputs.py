"""What a run found, as files: each table as CSV and JSON, each figure as PNG."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fewshot_cxr._csv import csv_table
from fewshot_cxr.evaluation.curves import roc_points
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.report import save_figure
from fewshot_cxr.report.result_figures import draw_confusion, draw_roc, known_areas
from fewshot_cxr.storage import write_json, write_text
from fewshot_cxr.visualise import class_counts_figure, learning_curves_figure
from fewshot_cxr.workflows.rank_tables import RankTable, draw_rank_table
from fewshot_cxr.workflows.recipes.result_rows import Row, cells, result_tables


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

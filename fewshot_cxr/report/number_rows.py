"""Every number of a result as rows for a spreadsheet."""

import warnings
from collections.abc import Iterator

from fewshot_cxr._csv import csv_text
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.metrics import Estimate

COLUMNS = ("number", "finding", "mean", "low", "high", "low_episodes", "high_episodes", "interval_over")


def numbers_csv(result: Result) -> str:
    """Return the numbers as CSV text: COLUMNS, low and high over what stands in the last; what is unknown is empty."""
    rows: list[tuple[object, ...]] = [COLUMNS]
    for name, finding, one in _numbers(result):
        rows.append(number_cells(name, finding, one, result.interval_over))
    return csv_text(rows)


def number_cells(name: str, finding: str, one: Estimate, over: str) -> tuple[object, ...]:
    """Return the cells of a number below COLUMNS; `over` is what low and high are over."""
    ends = [*(one.ci95_patients or (None, None)), *(one.ci95_episodes or (None, None))]
    return name, finding, one.mean, *ends, over


def multi_label_csv(result: Result) -> str:
    """Return `numbers_csv`; the name of before."""
    warnings.warn("multi_label_csv is now numbers_csv, for results of any kind", DeprecationWarning, stacklevel=2)
    return numbers_csv(result)


def _numbers(result: Result) -> Iterator[tuple[str, str, Estimate]]:
    """Yield (number, finding or '', estimate)."""
    mean = "mean_" if result.kind == "multi_label" else ""
    for name, one in result.scores.overall.items():
        yield f"{mean}{name}", "", one
    for finding, own in result.scores.per_class.items():
        for name, one in own.items():
            yield name, finding, one
    groups = {"floor": result.baselines, "above_floor": result.above_baselines}
    groups |= {"floor_balanced": result.balanced_baselines, "above_floor_balanced": result.above_balanced_baselines}
    if result.episodes is not None:
        groups["accuracy"] = result.episodes.seen_and_novel
    for group, numbers in groups.items():
        for name, one in numbers.items():
            yield f"{group}_{name}", "", one
    if result.calibration is not None:
        for suffix, stage in (("", result.calibration.before), ("_after", result.calibration.after)):
            if stage is not None:
                yield f"ece{suffix}", "", stage.ece
                yield f"brier{suffix}", "", stage.brier
    if result.open_set is not None:
        for score, numbers in result.open_set.scores.items():
            for name, one in numbers.items():
                yield f"open_set_{score}_{name}", "", one
        yield "open_set_area", "", result.open_set.area

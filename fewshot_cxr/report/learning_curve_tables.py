"""A learning curve as tables and CSV: what a page and a terminal show alike."""

from fewshot_cxr._csv import csv_text
from fewshot_cxr.evaluation.learning_curve_result import LearningCurve
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.score_tables import COLUMNS, number_cells
from fewshot_cxr.report.tables import UNKNOWN, Table, interval_text, number_text, two_lines, value_text

CURVE_COLUMNS = (*COLUMNS, "n_shot", "is_forecast")


def learning_curve_table(curve: LearningCurve) -> Table:
    """Return accuracy and recalls by shots, the new findings first; below it the shots that were left out, and why."""
    names = new_first(curve)
    heads = ("shots", "accuracy", *(f"recall of {name}{' (new)' * (name in curve.novel)}" for name in names))
    rows = []
    for point in curve.points:
        cells = (point.accuracy, *(point.recalls.get(name, Estimate(None)) for name in names))
        rows.append((str(point.n_shot), *(two_lines(one, one.ci95_patients) for one in cells)))
    rows += [(str(one.n_shot), *("left out" for _ in heads[1:])) for one in curve.left_out]
    below = [(f"{one.n_shot} shots left out", one.reason) for one in curve.left_out]
    unsure = [point for point in curve.points if point.accuracy.ci95 is None]
    below += [(f"interval of {one.n_shot} shots", one.accuracy.reason or UNKNOWN) for one in unsure]
    return Table(heads, tuple(rows), f"Learning curve, per cent, [95 % {curve.interval_over}]", tuple(below))


def forecast_table(curve: LearningCurve) -> Table:
    """Return what more films would bring; below it why there is no forecast, where there is none."""
    largest, below = curve.points[-1].n_shot, {}
    rows: list[tuple[str, ...]] = []
    for one in curve.forecasts:
        if one.value.mean is not None:
            gain = f"{number_text(one.gain.mean, 'points')} points"
            ends = interval_text(one.value.ci95), gain, interval_text(one.gain.ci95, "points")
            rows.append((f"{one.number}, {one.n_shot} shots", value_text(one.value), *ends))
    for number, why in dict.fromkeys((one.number, one.value.reason or "") for one in curve.forecasts):
        refused = [one.n_shot for one in curve.forecasts if (one.number, one.value.reason) == (number, why)]
        if why:
            name = f"{number}, {', '.join(map(str, refused))} shots"
            rows.append((name, *[UNKNOWN] * 4))
            below[name] = why
    heads = ("number", "forecast", "95 % interval", f"more than {largest} shots bring", "95 % interval of that")
    caption = f"What more films of each finding would bring, beyond the {largest} that were measured"
    return Table(heads, tuple(rows), caption, tuple(below.items()))


def learning_curve_csv(curve: LearningCurve) -> str:
    """Return the numbers as CSV text: CURVE_COLUMNS; what is unknown is empty."""
    rows: list[tuple[object, ...]] = [CURVE_COLUMNS]
    for name, finding, n_shot, one, is_forecast in curve.numbers():
        rows.append((*number_cells(name, finding, one, curve.interval_over), n_shot, int(is_forecast)))
    return csv_text(rows)


def new_first(curve: LearningCurve) -> list[str]:
    """Return the findings, the new ones first."""
    return [*curve.novel, *(name for name in curve.findings if name not in curve.novel)]

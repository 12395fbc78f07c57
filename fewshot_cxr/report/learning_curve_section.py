"""How many labelled films are enough, as a section of a page."""

from collections.abc import Iterator
from functools import partial

from fewshot_cxr.evaluation.learning_curve_result import LearningCurve
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.html import Section
from fewshot_cxr.report.learning_curve_tables import forecast_table, learning_curve_table, new_first
from fewshot_cxr.report.pictures import Picture
from fewshot_cxr.report.result_figures import Draw
from fewshot_cxr.report.tables import value_text
from fewshot_cxr.unknown_patients import films_text
from fewshot_cxr.visualise.shots_figure import Points, shots_figure


def draw_learning_curve(curve: LearningCurve) -> Draw:
    """Draw accuracy and recalls by shots, with the forecast."""
    recalls = {
        name: [(p.n_shot, _reading(one)) for p in curve.points if (one := p.recalls.get(name)) and one.mean is not None]
        for name in new_first(curve)
    }
    return partial(
        shots_figure,
        [(point.n_shot, _reading(point.accuracy)) for point in curve.points],
        {name: points for name, points in recalls.items() if points},
        ahead=dict(_ahead(curve)),
        chance=1 / curve.n_way,
    )


def _ahead(curve: LearningCurve) -> Iterator[tuple[str, Points]]:
    for number in dict.fromkeys(one.number for one in curve.forecasts):
        known = [one for one in curve.forecasts if one.number == number and one.value.mean is not None]
        yield number.removeprefix("recall of "), [(one.n_shot, _reading(one.value)) for one in known]


def _reading(one: Estimate) -> tuple[float, tuple[float, float] | None]:
    return one.value, one.ci95_patients


_HOW = (
    "The support of each number of shots is part of the next one's, and all ask the same films: points differ by the "
    "films that were added, and by nothing else. The dotted part is a forecast, for other patients of the same kind."
)


def learning_curve_section(curve: LearningCurve, name: str) -> Section:
    """Show accuracy and recalls by shots, and what more films would bring.

    Args:
        curve: of `measure_learning_curve`.
        name: what to call it.
    """
    first, last = curve.points[0], curve.points[-1]
    ends = f"{value_text(first.accuracy)} at {first.n_shot} shots to {value_text(last.accuracy)} at {last.n_shot}"
    picture = Picture.drawn(draw_learning_curve(curve), alt=f"Accuracy by labelled films of each finding, from {ends}.")
    facts = (
        ("rule", f"{curve.rule} ({curve.distance})"),
        ("films", films_text(curve.n_films, curve.n_patients, curve.n_films_without_patient)),
        ("may be support", f"{curve.n_support_films:,} films"),
        ("may be asked", f"{curve.n_query_films:,} films"),
        ("episodes", f"{curve.n_episodes:,} of {curve.n_way} findings, {curve.n_query} films asked of each"),
        ("seed", str(curve.seed)),
        ("hash of the films", curve.data_hash),
        *(("note", note) for note in curve.notes),
    )
    tables = (learning_curve_table(curve), *((forecast_table(curve),) if curve.forecasts else ()))
    return Section(f"How many films are enough: {name}", (_HOW,), (picture,), tables=tables, facts=facts)

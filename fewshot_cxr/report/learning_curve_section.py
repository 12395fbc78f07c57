"""How many labelled films are enough, as a section of a page."""

from fewshot_cxr.evaluation.learning_curve_result import LearningCurve
from fewshot_cxr.report.html import Section
from fewshot_cxr.report.learning_curve_figure import draw_learning_curve
from fewshot_cxr.report.learning_curve_tables import forecast_table, learning_curve_table
from fewshot_cxr.report.pictures import Picture
from fewshot_cxr.report.tables import value_text
from fewshot_cxr.unknown_patients import films_text

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

"""The figure of a learning curve: what a page and a command draw alike."""

from collections.abc import Iterator
from functools import partial

from fewshot_cxr.evaluation.learning_curve_result import LearningCurve
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.learning_curve_tables import new_first
from fewshot_cxr.report.result_figures import Draw
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

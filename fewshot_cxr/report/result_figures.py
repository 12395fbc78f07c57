"""The figures of a result, one for each part that has one: what a page and `plot` draw alike."""

from collections.abc import Callable
from functools import partial

import numpy as np

from fewshot_cxr.evaluation.curves import roc_points
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.evaluation.scores import Calibration
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.finding_tables import asked_confusion
from fewshot_cxr.report.tables import shown_interval
from fewshot_cxr.visualise import Figure, confusion_matrix_figure, recall_figure, reliability_figure, roc_figure

Draw = Callable[..., Figure]  # takes `title` and `theme`

_OVER_EPISODES = "over patients; where it is\nunknown, over episodes: of other patients\nthat says nothing"


def draw_confusion(result: Result) -> Draw:
    """Draw where the films of each finding went."""
    findings, counts = asked_confusion(result)
    return partial(confusion_matrix_figure, np.asarray(counts), findings)


def draw_recall(result: Result) -> Draw:
    """Draw accuracy and the recall of each finding beside baselines and, of episodes, chance."""
    recalls = result.per_class_recall.items()
    shown = [one for one in (result.accuracy, *result.per_class_recall.values()) if shown_interval(one) is not None]
    words = "over patients" if all(one.ci95_patients for one in shown) else _OVER_EPISODES
    return partial(
        recall_figure,
        {name: (one.value, shown_interval(one)) for name, one in recalls if one.mean is not None},
        (result.accuracy.value, shown_interval(result.accuracy)),
        baselines={f"baseline: {name}": one.value for name, one in result.baselines.items() if one.mean is not None},
        chance=None if result.episodes is None else 1 / result.episodes.n_way,
        new_findings=_new_findings(result),
        intervals=f"in brackets: 95 % {words}" if shown else "",
    )


def _new_findings(result: Result) -> tuple[str, ...]:
    """Return the findings that the encoder was not trained on, where the result asked of others too."""
    new = () if result.episodes is None else tuple(result.episodes.protocol.get("novel", ()))
    return () if set(new) >= set(result.findings) else new


def draw_roc(result: Result) -> Draw:
    """Draw the ROC curve of each finding that has one."""
    areas = known_areas(result, "auroc").items()
    return partial(roc_figure, {name: (*roc_points(result, name), (area.value, area.ci95)) for name, area in areas})


def draw_reliability(calibration: Calibration) -> Draw:
    """Draw how often answers of a given probability are right, before and after a temperature."""
    curves = {calibration.before.words or "as they come": calibration.before.bins}
    if (after := calibration.after) is not None:
        curves[after.words] = after.bins
    return partial(reliability_figure, curves)


def known_areas(result: Result, number: str) -> dict[str, Estimate]:
    """Return the AUROC or AUPRC of the findings that have one."""
    areas = {finding: numbers[number] for finding, numbers in result.scores.per_class.items()}
    return {finding: area for finding, area in areas.items() if area.mean is not None}

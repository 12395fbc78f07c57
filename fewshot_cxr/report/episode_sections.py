"""Sections of a page on episodes: accuracy beside its floors, each finding, confusion, calibration, none of these."""

from dataclasses import replace
from functools import partial

import numpy as np

from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.episode_tables import (
    accuracy_table,
    asked_confusion,
    confusion_table,
    findings_table,
    numbers_table,
    recall_table,
)
from fewshot_cxr.report.episode_words import floor_name, interval_kind, protocol_text, reading_text
from fewshot_cxr.report.html import Headline, Section
from fewshot_cxr.report.pictures import Picture
from fewshot_cxr.report.sections import HEADING, reliability_section
from fewshot_cxr.report.tables import Table, interval_text, shown_interval, value_text
from fewshot_cxr.visualise import (
    confusion_matrix_figure,
    recall_figure,
    risk_coverage_figure,
)
from fewshot_cxr.visualise.text import percent


def episodic_headlines(result: Result) -> tuple[Headline, ...]:
    """Return accuracy with its interval (balanced accuracy where only that is defined), every floor, and chance."""
    kind = interval_kind(result)
    if result.accuracy.mean is None:
        balanced = result.scores.balanced_accuracy
        told = f"95 % {kind}: {interval_text(shown_interval(balanced))}"
        return (Headline(value_text(balanced), "balanced accuracy", told), Headline("50.0 %", "chance"))
    accuracy = Headline(
        value_text(result.accuracy), "accuracy", f"95 % {kind}: {interval_text(shown_interval(result.accuracy))}"
    )
    floors = [
        Headline(value_text(floor), floor_name(name), _above_text(result.above_baselines.get(name)))
        for name, floor in result.baselines.items()
    ]
    n_way = result.asked.n_way
    return (accuracy, *floors, Headline(percent(1 / n_way), "chance", f"1 of {n_way} findings"))


def accuracy_section(result: Result, heading: str = "Accuracy beside its floors") -> Section:
    """Show accuracy, floors and chance as a table, and say how the two intervals are read."""
    return _section(heading, accuracy_table(result), (reading_text(result),))


def recall_section(result: Result, heading: str = "Recall of each finding") -> Section:
    """Show recall by finding as a chart over a table, with accuracy, floors and chance."""
    recalls = {
        name: (one.mean, shown_interval(one)) for name, one in result.per_class_recall.items() if one.mean is not None
    }
    kind = interval_kind(result)
    table = recall_table(result)
    if result.accuracy.mean is None:
        return _section(heading, table)
    draw = partial(
        recall_figure,
        recalls,
        (result.accuracy.mean, shown_interval(result.accuracy)),
        floors={f"floor: {name}": floor.value for name, floor in result.baselines.items()},
        chance=1 / result.asked.n_way,
    )
    picture = Picture.drawn(
        draw,
        alt=f"Accuracy, {value_text(result.accuracy)}, and the recall of each finding; the table has the numbers.",
        caption=f"Mean and 95 % interval {kind}; a floor is the nearest centroid on it. {protocol_text(result)}.",
    )
    return replace(_section(heading, table), pictures=(picture,))


def findings_section(result: Result, heading: str = "Each finding against the rest") -> Section:
    """Show sensitivity, specificity, PPV, NPV, F1, AUROC and AUPRC of each finding."""
    told = "PPV, NPV and AUPRC hold for the shares of the findings among these queries, not for those of a hospital."
    return _section(heading, findings_table(result), (told,))


def confusion_section(result: Result, heading: str = "What was taken for what") -> Section:
    """Show the confusion matrix over all episodes, as a picture and as counts."""
    findings, counts = asked_confusion(result)
    picture = Picture.drawn(
        partial(confusion_matrix_figure, np.asarray(counts), findings),
        alt="Confusion matrix: rows are the true findings, columns the decisions; the diagonal is right.",
        caption="Each row adds up to 100 %. A decision tied between findings is shared among them.",
    )
    return Section(heading, pictures=(picture,), table=confusion_table(result))


def calibration_section(result: Result, heading: str = HEADING) -> Section:
    """Show the reliability diagram, before and after a temperature where one was fitted.

    Raises:
        ValueError: the result has no calibration.
    """
    if result.calibration is None:
        raise ValueError("the result has no calibration: leave the section out")
    return reliability_section(
        result.calibration,
        first_curve="as the rule gives them",
        caption="Probabilities are a softmax over minus the distances. Below: how many queries had that probability.",
        heading=heading,
    )


def open_set_section(result: Result, heading: str = "None of these") -> Section:
    """Show what is gained by answering fewer films, where films of unknown findings were asked too.

    Raises:
        ValueError: no such films were asked.
    """
    if result.open_set is None:
        raise ValueError(f"the result has no open set: {result.open_set_reason}")
    unknown = ", ".join(result.open_set.findings)
    told = f"Films of findings outside the episode were asked too ({unknown}); any answer to one of them is wrong."
    picture = Picture.drawn(
        partial(risk_coverage_figure, result.open_set.risk_coverage),
        alt="Risk and coverage: the share of wrong answers over the share of films answered, the surest first.",
        caption="A good score of confidence lets the risk fall to 0 on the left.",
    )
    return Section(heading, (told,), (picture,))


def numbers_section(result: Result, heading: str = "All numbers") -> Section:
    """Show every other number over all findings; why some are undefined stands below."""
    return _section(heading, numbers_table(result))


def _section(heading: str, table: Table, paragraphs: tuple[str, ...] = ()) -> Section:
    return Section(heading, paragraphs, table=table, facts=table.below)


def _above_text(gap: Estimate | None) -> str:
    if gap is None or gap.mean is None:
        return "same episodes"
    interval = shown_interval(gap)
    ends = "" if interval is None else f" ({interval_text(interval, 'points')})"
    return f"accuracy less this, in points: {value_text(gap, 'points')}{ends}"

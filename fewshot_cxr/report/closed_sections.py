"""Sections of a page on a classification of films: the numbers, each finding, confusion, ROC curves, calibration."""

from functools import partial

import numpy as np

from fewshot_cxr.evaluation.curves import roc_points
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.closed_tables import confusion_table, finding_table, overall_table
from fewshot_cxr.report.html import Section
from fewshot_cxr.report.multi_label_tables import multi_label_table
from fewshot_cxr.report.pictures import Picture
from fewshot_cxr.report.sections import reliability_section
from fewshot_cxr.visualise import confusion_matrix_figure, roc_figure

_MOST_COLUMNS = 10  # findings that a confusion table has room for


def closed_sections(result: Result) -> tuple[Section, ...]:
    """Return every section of a closed-set result; what it does not hold is left out."""
    sections = [
        Section("Accuracy beside its floors", ("Intervals are over patients.",), table=overall_table(result)),
        Section("Each finding against the rest", table=finding_table(result)),
        _confusion_section(result),
    ]
    roc = _roc_section(result)
    sections += [] if roc is None else [roc]
    if result.calibration is not None:
        caption = "Below the curves: how many films had that probability."
        sections.append(reliability_section(result.calibration, first_curve="as they come", caption=caption))
    return tuple(sections)


def multi_label_sections(result: Result) -> tuple[Section, ...]:
    """Return every section of a result on films that may show several findings."""
    table = multi_label_table(result)
    roc = _roc_section(result)
    return (Section("Each finding for itself", table=table, facts=table.below), *(() if roc is None else (roc,)))


def _confusion_section(result: Result) -> Section:
    picture = Picture.drawn(
        partial(confusion_matrix_figure, np.array(result.confusion), result.findings),
        alt="Confusion matrix: rows are the true findings, columns the decisions; the diagonal is right.",
        caption="Each row adds up to 100 %. A decision tied between findings is shared among them.",
    )
    table = confusion_table(result) if len(result.findings) <= _MOST_COLUMNS else None
    return Section("What was taken for what", pictures=(picture,), table=table)


def _roc_section(result: Result) -> Section | None:
    """Return the ROC curves of the findings that have one; None: no finding has."""
    areas = {name: area for name, area in _areas(result).items() if area.mean is not None}
    if not areas:
        return None
    curves = {name: (*roc_points(result, name), (area.value, area.ci95)) for name, area in areas.items()}
    told = ", ".join(f"{name} {area.value:.2f}" for name, area in areas.items())
    against = "films without it" if result.kind == "multi_label" else "all others"
    picture = Picture.drawn(
        partial(roc_figure, curves),
        alt=f"ROC curves against {against}; area: {told}.",
        caption="In brackets the 95 % interval of the area, over patients. Guessing follows the diagonal.",
    )
    return Section(f"How well each finding is told from {against}", pictures=(picture,))


def _areas(result: Result) -> dict[str, Estimate]:
    if result.kind == "multi_label":
        return {finding: one.auroc for finding, one in result.per_finding.items()}
    return {finding: numbers["auroc"] for finding, numbers in result.scores.per_class.items()}

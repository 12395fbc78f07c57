"""Sections of a page on a result, one for each of its parts; a part that it does not have is left out."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.evaluation.scores import EXEMPLARS
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report import finding_tables
from fewshot_cxr.report.episode_words import baseline_name, interval_kind, reading_text
from fewshot_cxr.report.html import Headline, Section
from fewshot_cxr.report.pictures import Picture
from fewshot_cxr.report.result_figures import draw_confusion, draw_recall, draw_reliability, draw_roc, known_areas
from fewshot_cxr.report.score_tables import accuracy_table, numbers_table, overall_table
from fewshot_cxr.report.tables import interval_text, number_text, shown_interval, value_text
from fewshot_cxr.visualise import risk_coverage_figure

NUMBERS_HEADING = "The numbers"


def result_sections(result: Result) -> Iterator[Section]:
    """Yield what a page shows of a result, without how it was made: its numbers, what was taken for what, belief.

    Tables of details are folded below the number and the picture that they belong to; a part that the result does not
    have is left out.
    """
    first, *details = _number_sections(result)
    yield replace(first, heading=NUMBERS_HEADING, folded=tuple(details))
    if result.confusion:
        yield confusion_section(result)
    believed = [calibration_section(result)] if result.calibration is not None else []
    believed += [open_set_section(result)] if result.open_set is not None else []
    if believed:
        yield replace(believed[0], folded=tuple(believed[1:]))


def _number_sections(result: Result) -> Iterator[Section]:
    """Yield the numbers of a result, those to look at first before the details."""
    has_curves = result.answers is not None and result.answers.has_probabilities and known_areas(result, "auroc")
    if result.episodes is not None:
        chart, accuracy = recall_section(result), accuracy_section(result)
        yield replace(accuracy, pictures=chart.pictures)
        yield replace(chart, pictures=())
    elif "accuracy" in result.scores.overall:
        yield accuracy_section(result)
    yield findings_section(result)
    if has_curves:
        yield roc_section(result)
    if result.episodes is not None:
        yield numbers_section(result)


def main_number(result: Result) -> tuple[str, Estimate]:
    """Return the name and the value of the one number of a result: accuracy, or what stands for it."""
    overall = result.scores.overall
    if "accuracy" not in overall:
        return "mean AUROC", result.mean_auroc
    if result.accuracy.mean is None:
        return "balanced accuracy", overall["balanced_accuracy"]
    return "accuracy", result.accuracy


def episodic_headlines(result: Result) -> tuple[Headline, ...]:
    """Return accuracy with its interval (balanced accuracy where only that is known), every baseline, and chance."""
    name, one = main_number(result)
    told = f"95 % {interval_kind(result)}: {interval_text(shown_interval(one))}"
    return (Headline(value_text(one), name, told), *baseline_headlines(result))


def baseline_headlines(result: Result) -> tuple[Headline, ...]:
    """Return the strongest baseline with what accuracy is above it, or chance where there is none to beat."""
    known = {name: one for name, one in result.baselines.items() if one.mean is not None}
    if known:
        name = max(known, key=lambda name: known[name].value)
        told = _above_text(result, name)
        n_more = len(known) - 1
        most = f"the strongest of {n_more + 1} baselines; " if n_more else ""
        return (Headline(value_text(known[name]), baseline_name(name), f"{most}{told}"),)
    if result.episodes is None:
        return ()
    if result.accuracy.mean is None:
        return (Headline("50.0 %", "chance"),)
    n_way = result.episodes.n_way
    return (Headline(number_text(1 / n_way), "chance", f"1 of {n_way} findings"),)


def accuracy_section(result: Result, heading: str = "Accuracy beside its baselines") -> Section:
    """Show accuracy and baselines as a table, and say how the intervals are read."""
    if result.episodes is None:
        return Section(heading, (f"Intervals are {result.interval_over}.",), tables=(overall_table(result),))
    return Section(heading, (reading_text(result),), tables=(accuracy_table(result),))


def recall_section(result: Result, heading: str = "Recall of each finding") -> Section:
    """Show recall by finding as a chart over a table, with accuracy, baselines and chance."""
    table = finding_tables.recall_table(result)
    if result.accuracy.mean is None:
        return Section(heading, tables=(table,))
    picture = Picture.drawn(
        draw_recall(result),
        alt=f"Accuracy, {value_text(result.accuracy)}, and the recall of each finding; the table has the numbers.",
        caption=f"Mean and 95 % interval {interval_kind(result)}; a baseline is the nearest centroid on it.",
    )
    return Section(heading, pictures=(picture,), tables=(table,))


def findings_section(result: Result, heading: str = "Each finding against the rest") -> Section:
    """Show the numbers of each finding: against the rest or, where films may show several, each for itself."""
    if result.kind == "multi_label":
        return Section("Each finding for itself", tables=(finding_tables.multi_label_table(result),))
    told = "PPV, NPV and AUPRC hold for the shares of the findings among these queries, not for those of a hospital."
    return Section(heading, () if result.episodes is None else (told,), tables=(finding_tables.findings_table(result),))


def confusion_section(result: Result, heading: str = "What was taken for what") -> Section:
    """Show the confusion matrix, once: as a picture, whose alternative text has the counts."""
    findings, counts = finding_tables.asked_confusion(result)
    told = "; ".join(
        f"{name} as " + ", ".join(f"{other} {count:,.0f}" for other, count in zip(findings, row, strict=True) if count)
        for name, row in zip(findings[: finding_tables.MOST_FINDINGS], counts, strict=False)
    )
    picture = Picture.drawn(
        draw_confusion(result),
        alt=f"Confusion matrix: rows are the true findings, columns the decisions; the diagonal is right. {told}.",
        caption="Each row adds up to 100 %. A decision tied between findings is shared among them.",
    )
    return Section(heading, pictures=(picture,))


def roc_section(result: Result) -> Section:
    """Show the ROC curves of the findings that have one."""
    areas = known_areas(result, "auroc").items()
    against = "films without it" if result.kind == "multi_label" else "all others"
    picture = Picture.drawn(
        draw_roc(result),
        alt=f"ROC curves against {against}; area: {', '.join(f'{name} {area.value:.2f}' for name, area in areas)}.",
        caption=f"In brackets the 95 % interval of the area, {result.interval_over}. Guessing follows the diagonal.",
    )
    return Section(f"How well each finding is told from {against}", pictures=(picture,))


def calibration_section(result: Result, heading: str = "How far the probabilities may be believed") -> Section:
    """Show the reliability diagram, before and after a temperature where one was fitted.

    Raises:
        ValueError: the result has no calibration.
    """
    if result.calibration is None:
        raise ValueError("the result has no calibration: leave the section out")
    caption = "Below the curves: how many films had that probability."
    if result.episodes is not None:
        caption = "Probabilities are a softmax over minus the distances. Below: how many queries had that probability."
    before, after = result.calibration.before, result.calibration.after
    words = f", {before.words}," if before.words else ""
    told = [
        f"Expected calibration error{words} {value_text(before.ece)}: how far belief and truth lie apart, on average."
    ]
    if before.basis == EXEMPLARS:
        told.append(
            f"The temperature, {before.temperature:.3g}, is fitted on exemplars that those of other patients decide."
        )
    if after is not None:
        told.append(f"At temperature {after.temperature:.3g}, {after.words}: {value_text(after.ece)}.")
    elif before.basis != EXEMPLARS:
        told.append(f"No temperature was fitted: {result.calibration.reason}.")
    picture = Picture.drawn(
        draw_reliability(result.calibration),
        alt="Reliability diagram: the share of right answers over their probability; the diagonal is perfect.",
        caption=caption,
    )
    return Section(heading, tuple(told), (picture,))


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
    """Show every other number of episodes over all findings; why some are unknown stands below."""
    return Section(heading, tables=(numbers_table(result),))


def _above_text(result: Result, baseline: str) -> str:
    gap = result.above_baselines.get(baseline)
    if gap is None or gap.mean is None:
        return "same episodes"
    interval = shown_interval(gap)
    ends = "" if interval is None else f" ({interval_text(interval, 'points')})"
    return f"accuracy less this, in points: {value_text(gap, 'points')}{ends}"

"""The numbers of a result over all findings: as tables, which a page and a terminal show alike, and as CSV."""

import warnings
from collections.abc import Iterable, Iterator

from fewshot_cxr._csv import csv_text
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.evaluation.scores import EXEMPLARS
from fewshot_cxr.metrics import NUMBERS, Estimate, numbers_in
from fewshot_cxr.report.episode_words import baseline_name, judged_text, protocol_text
from fewshot_cxr.report.tables import UNKNOWN, Table, interval_text, number_text, reason_text, value_text

OPEN_SET_NAMES = {"maximum_probability": "maximum probability", "distance": "nearest distance", "knn": "kNN distance"}
_BLIND = {"majority": ("of the commonest finding", "the commonest finding"), "chance": ("by guessing", "guessing")}
Number = tuple[str, Estimate, str]  # the text of its row, its value, the form in which it is written
COLUMNS = ("number", "finding", "mean", "low", "high", "low_episodes", "high_episodes", "interval_over")


def overall_table(result: Result) -> Table:
    """Return every number over all films with its interval over patients: scores, baselines and calibration."""
    numbers = list(_scores(result))
    for name, baseline in result.baselines.items():
        on, above = _BLIND.get(name, (f"on {name}", name))
        numbers.append((f"baseline: accuracy {on}", baseline, "share"))
        numbers.append((f"accuracy above {above}", result.above_baselines[name], "share"))
    for name, baseline in result.balanced_baselines.items():
        if name != "majority":  # in balanced accuracy it is guessing
            on, above = _BLIND.get(name, (f"on {name}", name))
            numbers.append((f"baseline: balanced accuracy {on}", baseline, "share"))
            numbers.append((f"balanced accuracy above {above}", result.above_balanced_baselines[name], "share"))
    rows = []
    for text, one, form in (*numbers, *_calibration_numbers(result)):
        interval = interval_text(one.ci95, form)
        rows.append((text, value_text(one, form), interval if one.ci95 else f"{interval}: {reason_text(one)}"))
    distance = f" ({result.distance})" if result.distance else ""
    transductive = ", transductive" if result.is_transductive else ""
    caption = f"{judged_text(result)}, {result.rule}{distance}{transductive}"
    return Table(number_heads(result)[:3], tuple(rows), caption)


def accuracy_table(result: Result) -> Table:
    """Return the accuracy of episodes beside baselines and chance and, where both were asked, on seen and novel."""
    rows = [estimate_row("accuracy", result.accuracy)]
    for name, baseline in result.baselines.items():
        rows.append(estimate_row(baseline_name(name), baseline))
        if name in result.above_baselines:
            rows.append(estimate_row("  accuracy above it, in points", result.above_baselines[name], "points"))
    if result.confusion:
        rows.append(("chance", number_text(1 / result.asked.n_way), "", ""))
    kinds = {"seen": "accuracy on seen findings", "novel": "accuracy on novel findings"}
    kinds["harmonic_mean"] = "harmonic mean of seen and novel"
    rows += [estimate_row(kinds[name], one) for name, one in result.asked.seen_and_novel.items()]
    below = reasons_below(result, [("accuracy", result.accuracy)])
    return Table(number_heads(result), tuple(rows), caption=protocol_text(result), below=below)


def numbers_table(result: Result) -> Table:
    """Return every other number of episodes over all findings: scores, calibration, and "none of these"."""
    scores = (number for number in _scores(result) if number[0] != "accuracy")
    numbers = [*scores, *_calibration_numbers(result), *_open_set_numbers(result)]
    below = (*reasons_below(result, ((text, one) for text, one, _ in numbers)), *_absent(result))
    rows = tuple(estimate_row(*number) for number in numbers)
    return Table(number_heads(result), rows, caption_text(result, "Over all findings"), below)


def number_heads(result: Result) -> tuple[str, ...]:
    """Return the heads above the name of a number, its value and both its intervals."""
    return "", "value", f"95 % {result.interval_over}", "95 % over episodes"


def _scores(result: Result) -> Iterator[Number]:
    for name, number in numbers_in("overall").items():
        yield number.words_overall, result.scores.overall[name], "share" if number.is_share else "plain"


def _calibration_numbers(result: Result) -> Iterator[Number]:
    if result.calibration is None:
        return
    for one in (result.calibration.before, result.calibration.after):
        if one is not None:
            text = f", {one.words}" if one.words else ""
            yield f"{NUMBERS['ece'].words}{text}", one.ece, "share"
            yield f"{NUMBERS['brier'].words}{text}", one.brier, "plain"


def _open_set_numbers(result: Result) -> Iterator[Number]:
    if result.open_set is None:
        return
    for score, numbers in result.open_set.scores.items():
        told = f"none of these, by {OPEN_SET_NAMES.get(score, score)}"
        yield f"{told}: AUROC", numbers["auroc"], "share"
        yield f"{told}: FPR", numbers["fpr_at_95_tpr"], "share"
    yield "mean risk over all coverages", result.open_set.area, "share"


def _absent(result: Result) -> Iterator[tuple[str, str]]:
    """Say why a part of the result is not there."""
    if result.calibration is None:
        yield "calibration", f"{UNKNOWN} where a film may show several findings"
    elif result.calibration.after is None and result.calibration.before.basis != EXEMPLARS:
        yield "calibration after a temperature", result.calibration.reason or ""
    if result.open_set is None:
        yield '"none of these" (open set)', result.open_set_reason or ""
    else:
        yield "FPR", "share of the films of unknown findings taken for known ones where 95 % of the known are"


def estimate_row(text: str, estimate: Estimate, form: str = "share") -> tuple[str, ...]:
    """Return the row of a number with both its intervals."""
    if estimate.mean is None:
        return text, UNKNOWN, "", ""
    intervals = (interval_text(pair, form) for pair in (estimate.ci95_patients, estimate.ci95_episodes))
    return text, value_text(estimate, form), *intervals


def reasons_below(result: Result, numbers: Iterable[tuple[str, Estimate]]) -> tuple[tuple[str, str], ...]:
    """Say why numbers are unknown, each, and why intervals are absent, once for all with the same reason."""
    told: dict[tuple[str, str], None] = {}
    for text, one in numbers:
        if one.mean is None:
            told[text, reason_text(one)] = None
        elif one.ci95_patients is None and one.reason is not None:
            told[f"interval {result.interval_over}", one.reason] = None
    return tuple(told)


def caption_text(result: Result, text: str) -> str:
    """Return a caption that says so where the rule is transductive."""
    return f"{text}; {result.rule} is transductive" if result.is_transductive else text


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

"""What episodes have shown as tables: what a page and a terminal show alike. Intervals over patients come first."""

from collections.abc import Iterable, Iterator

from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.evaluation.scores import PER_CLASS
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.episode_words import floor_name, interval_kind, protocol_text
from fewshot_cxr.report.tables import (
    CALIBRATION_NAMES,
    NUMBER_NAMES,
    PLAIN_NUMBERS,
    SHORT_HEADS,
    Table,
    interval_text,
    two_lines,
    value_text,
)
from fewshot_cxr.visualise.text import percent

OPEN_SET_NAMES = {
    "maximum_probability": "maximum probability",
    "distance": "nearest distance",
    "knn": "kNN distance",
}
_HEADS = ("", "value", "95 % over patients", "95 % over episodes")
_NO_INTERVAL = "interval over patients"
_MOST_FINDINGS = 10

Numbered = tuple[str, Estimate, bool]  # text of a row, its number, whether that is a share


def accuracy_table(result: Result) -> Table:
    """Return accuracy beside the floors and chance and, where both were asked, on seen and on novel findings."""
    rows: list[tuple[str, ...]] = [_row("accuracy", result.accuracy)]
    for name, floor in result.baselines.items():
        rows.append(_row(floor_name(name), floor))
        if name in result.above_baselines:
            rows.append(_row("  accuracy above it, in points", result.above_baselines[name], "points"))
    if result.confusion:
        rows.append(("chance", percent(1 / result.asked.n_way), "", ""))
    kinds = {"seen": "accuracy on seen findings", "novel": "accuracy on novel findings"}
    kinds["harmonic_mean"] = "harmonic mean of seen and novel"
    rows += [_row(kinds[name], one) for name, one in result.asked.seen_and_novel.items()]
    below = _below([("accuracy", result.accuracy, True)])
    return Table(_HEADS, tuple(rows), caption=protocol_text(result), below=below)


def numbers_table(result: Result) -> Table:
    """Return every other number over all findings: scores, calibration, and "none of these"."""
    scores = [
        (text, getattr(result.scores, name), name not in PLAIN_NUMBERS)
        for name, text in NUMBER_NAMES.items()
        if name != "accuracy"
    ]
    numbers = [*scores, *_calibration_numbers(result), *_open_set_numbers(result)]
    rows = tuple(_row(text, one, "share" if is_share else "plain") for text, one, is_share in numbers)
    return Table(_HEADS, rows, _caption(result, "Over all findings"), below=(*_below(numbers), *_absent(result)))


def findings_table(result: Result) -> Table:
    """Return each finding against the rest: seven numbers, each above its interval."""
    kind = interval_kind(result)
    rows, numbers = [], []
    for finding, own in result.scores.per_class.items():
        shown = {name: own.get(name, Estimate(None, reason="it was not measured")) for name in PER_CLASS}
        ends = [one.ci95_patients if kind == "over patients" else one.ci95_episodes for one in shown.values()]
        rows.append((finding, *map(two_lines, shown.values(), ends)))
        numbers += [(f"{finding}, {name}", one, True) for name, one in shown.items()]
    told = f"Each finding against the rest, in per cent; below it 95 % {kind}; sens. sensitivity, spec. specificity"
    undefined = [number for number in numbers if number[1].mean is None]
    return Table(("finding", *SHORT_HEADS), tuple(rows), _caption(result, told), below=_below(undefined))


def recall_table(result: Result) -> Table:
    """Return recall by finding with its intervals, and what the finding was most often taken for."""
    recalls = result.per_class_recall
    rows = tuple((*_row(name, recall), most_often_taken_for(result, name)) for name, recall in recalls.items())
    below = _below((name, recall, True) for name, recall in recalls.items())
    heads = ("finding", "recall", *_HEADS[2:], "most often taken for")
    return Table(heads, rows, _caption(result, "Recall (sensitivity) of each finding"), below=below)


def confusion_table(result: Result) -> Table | None:
    """Return queries of each finding (rows) by what they were taken for, as count and per cent of the row.

    None: there is no confusion matrix, or more findings than fit beside each other.
    """
    findings, counts = asked_confusion(result)
    if not 0 < len(findings) <= _MOST_FINDINGS:
        return None
    rows = []
    for finding, row in zip(findings, counts, strict=True):
        total = sum(row)
        rows.append((finding, *(f"{_count_text(count)}\n{percent(count / total)}" for count in row)))
    told = "Queries over all episodes, and per cent of the row; a tie counts in parts"
    return Table(("queries of", *(f"as {name}" for name in findings)), tuple(rows), _caption(result, told))


def asked_confusion(result: Result) -> tuple[tuple[str, ...], tuple[tuple[float, ...], ...]]:
    """Return the confusion matrix of the findings that were in any episode, and these."""
    places = [place for place, row in enumerate(result.confusion) if sum(row) > 0]
    rows = tuple(tuple(result.confusion[true][taken] for taken in places) for true in places)
    return tuple(result.findings[place] for place in places), rows


def most_often_taken_for(result: Result, finding: str) -> str:
    """Return the finding that the queries of this one were most often taken for; of equals the first."""
    if not result.confusion:
        return ""
    index = result.findings.index(finding)
    row = result.confusion[index]
    wrong = [(count, -other) for other, count in enumerate(row) if other != index and count > 0]
    if not wrong:
        return "nothing else"
    count, other = max(wrong)
    return f"{result.findings[-other]} ({percent(count / sum(row))})"


def _row(text: str, estimate: Estimate, form: str = "share") -> tuple[str, ...]:
    if estimate.mean is None:
        return text, value_text(estimate), "", ""
    intervals = (interval_text(pair, form) for pair in (estimate.ci95_patients, estimate.ci95_episodes))
    return text, value_text(estimate, form), *intervals


def _calibration_numbers(result: Result) -> Iterator[Numbered]:
    if result.calibration is None:
        return
    stages = [("", result.calibration.before)]
    if (after := result.calibration.after) is not None:
        stages.append((f" at temperature {after.temperature:.3g}", after))
    for text, one in stages:
        yield f"{CALIBRATION_NAMES['ece']}{text}", one.ece, True
        yield f"{CALIBRATION_NAMES['brier']}{text}", one.brier, False


def _open_set_numbers(result: Result) -> Iterator[Numbered]:
    if result.open_set is None:
        return
    for score, numbers in result.open_set.scores.items():
        told = f"none of these, by {OPEN_SET_NAMES.get(score, score)}"
        yield f"{told}: AUROC", numbers["auroc"], True
        yield f"{told}: FPR", numbers["fpr_at_95_tpr"], True
    yield "mean risk over all coverages", result.open_set.area, True


def _absent(result: Result) -> Iterator[tuple[str, str]]:
    """Say why a part of the result is not there."""
    if result.calibration is None:
        yield "calibration", "unknown where a film may show several findings"
    elif result.calibration.after is None:
        yield "calibration after a temperature", result.calibration.reason or ""
    if result.open_set is None:
        yield '"none of these" (open set)', result.open_set_reason or ""
    else:
        yield "FPR", "share of the films of unknown findings taken for known ones where 95 % of the known are"


def _below(numbers: Iterable[Numbered]) -> tuple[tuple[str, str], ...]:
    """Say why numbers are undefined, each, and why intervals are absent, once for all with the same reason."""
    told: dict[tuple[str, str], None] = {}
    for text, one, _ in numbers:
        if one.mean is None:
            told[text, (one.reason or "").removeprefix("undefined: ")] = None
        elif one.ci95_patients is None and one.reason is not None:
            told[_NO_INTERVAL, one.reason] = None
    return tuple(told)


def _caption(result: Result, text: str) -> str:
    return f"{text}; {result.rule} is transductive" if result.is_transductive else text


def _count_text(count: float) -> str:
    return f"{count:,.0f}" if count == round(count) else f"{count:,.1f}"

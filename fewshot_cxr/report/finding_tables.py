"""The numbers of each finding of a result as tables, and what its films were taken for."""

from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.metrics import Estimate, numbers_in
from fewshot_cxr.report.episode_words import interval_kind, judged_text
from fewshot_cxr.report.score_tables import (
    accuracy_table,
    caption_text,
    estimate_row,
    number_heads,
    numbers_table,
    overall_table,
    reasons_below,
)
from fewshot_cxr.report.tables import UNKNOWN, Table, number_text, reason_text, two_lines, value_text

MOST_FINDINGS = 10  # that a confusion table has room for on a page
_MEAN = "mean over findings"


def result_tables(result: Result) -> list[Table]:
    """Return the tables of every part that a result has."""
    if result.kind == "multi_label":
        return [multi_label_table(result)]
    confusion = confusion_table(result)
    shown = [] if confusion is None else [confusion]
    if result.episodes is None:
        return [overall_table(result), findings_table(result), *shown]
    return [accuracy_table(result), recall_table(result), findings_table(result), *shown, numbers_table(result)]


def findings_table(result: Result) -> Table:
    """Return each finding against the rest: seven numbers, each above its interval."""
    kind, is_of_episodes = interval_kind(result), result.episodes is not None
    rows, unknown, asked = [], [], numbers_in("finding")
    for finding, own in result.scores.per_class.items():
        numbers = {name: own.get(name, Estimate(None, reason="it was not measured")) for name in asked}
        ends = [one.ci95_patients if kind != "over episodes" else one.ci95_episodes for one in numbers.values()]
        n_films = () if is_of_episodes else (f"{result.counts(finding)['n_positive']:,}",)
        rows.append((finding, *n_films, *map(two_lines, numbers.values(), ends)))
        unknown += [(f"{finding}, {name}", one) for name, one in numbers.items() if one.mean is None]
    told = f"Each finding against the rest, in per cent; below it 95 % {kind}; sens. sensitivity, spec. specificity"
    heads = ("finding", *(() if is_of_episodes else ("films",)), *(one.head or one.words for one in asked.values()))
    if not is_of_episodes:
        return Table(heads, tuple(rows), told)
    return Table(heads, tuple(rows), caption_text(result, told), below=reasons_below(result, unknown))


def multi_label_table(result: Result) -> Table:
    """Return a row per finding, each for itself, with its numbers above their intervals, and a last one with means."""
    means = result.mean_auroc, result.mean_auprc
    # What AUPRC would be by chance stands beside it.
    asked = dict(sorted(numbers_in("several").items(), key=lambda one: (not one[1].is_ranking, one[0] != "prevalence")))
    rows, numbers = [], [(_MEAN, one) for one in means]
    for finding, own in result.scores.per_class.items():
        counts = result.counts(finding)
        n_films = f"{counts['n_positive']:,} of {counts['n_films']:,}"
        rows.append((finding, n_films, *(_long_two_lines(own[name]) for name in asked)))
        numbers += [(finding, own[name]) for name in asked]
    rows.append((_MEAN, "", *map(_long_two_lines, means), *("" for _ in range(len(asked) - len(means)))))
    return Table(
        ("finding", "films with it", *(one.words for one in asked.values())),
        tuple(rows),
        caption=f"{judged_text(result)}, each finding for itself; below a number 95 % {result.interval_over}; "
        "sensitivity, specificity and accuracy at a probability of 0.5",
        below=tuple(dict.fromkeys((name, reason_text(one)) for name, one in numbers if one.reason is not None)),
    )


def recall_table(result: Result) -> Table:
    """Return recall by finding with its intervals, and what the finding was most often taken for."""
    recalls = result.per_class_recall
    rows = tuple((*estimate_row(name, recall), _most_often_taken_for(result, name)) for name, recall in recalls.items())
    heads = ("finding", "recall", *number_heads(result)[2:], "most often taken for")
    caption = caption_text(result, "Recall (sensitivity) of each finding")
    return Table(heads, rows, caption, below=reasons_below(result, recalls.items()))


def confusion_table(result: Result) -> Table | None:
    """Return what was asked of each finding (rows) by what it was taken for; of episodes in per cent of the row, too.

    None: there is no confusion matrix, or one of episodes with more findings than fit beside each other.
    """
    findings, counts = asked_confusion(result)
    is_of_episodes = result.episodes is not None
    if not findings or (is_of_episodes and len(findings) > MOST_FINDINGS):
        return None
    rows = []
    for finding, row in zip(findings, counts, strict=True):
        texts = [f"{count:,.0f}" if count == round(count) else f"{count:,.1f}" for count in row]
        if is_of_episodes:
            texts = [f"{text}\n{number_text(count / sum(row))}" for text, count in zip(texts, row, strict=True)]
        rows.append((finding, *texts))
    what, told = "films", ""
    if is_of_episodes:
        what = "queries"
        told = caption_text(result, "Queries over all episodes, and per cent of the row; a tie counts in parts")
    return Table((f"{what} of", *(f"as {name}" for name in findings)), tuple(rows), told)


def asked_confusion(result: Result) -> tuple[tuple[str, ...], tuple[tuple[float, ...], ...]]:
    """Return the findings that were asked, of episodes those that were in any, and the confusion matrix of these."""
    places = [place for place, row in enumerate(result.confusion) if result.episodes is None or sum(row) > 0]
    rows = tuple(tuple(result.confusion[true][taken] for taken in places) for true in places)
    return tuple(result.findings[place] for place in places), rows


def _long_two_lines(estimate: Estimate) -> str:
    if estimate.mean is None:
        return UNKNOWN
    ends = UNKNOWN if estimate.ci95 is None else "{:.0f} to {:.0f}".format(*(100 * end for end in estimate.ci95))
    return f"{value_text(estimate)}\n{ends}"


def _most_often_taken_for(result: Result, finding: str) -> str:
    """Return the finding that the queries of this one were most often taken for; of equals the first."""
    if not result.confusion:
        return ""
    index = result.findings.index(finding)
    row = result.confusion[index]
    wrong = [(count, -other) for other, count in enumerate(row) if other != index and count > 0]
    if not wrong:
        return "nothing else"
    count, other = max(wrong)
    return f"{result.findings[-other]} ({number_text(count / sum(row))})"

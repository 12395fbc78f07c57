"""A closed-set result as rows of text: the numbers over all films, and finding by finding."""

from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.evaluation.scores import PER_CLASS
from fewshot_cxr.metrics import Estimate
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


def overall_table(result: Result) -> Table:
    """Return the numbers over all films with their intervals over patients, the floors and the calibration."""
    rows = [_row(text, name, getattr(result.scores, name)) for name, text in NUMBER_NAMES.items()]
    for name, floor in result.baselines.items():
        rows.append(_row(f"floor: accuracy on {name}", "accuracy", floor))
        rows.append(_row(f"accuracy above {name}", "accuracy", result.above_baselines[name]))
    if result.calibration is not None:
        stages = [("", result.calibration.before)]
        if (after := result.calibration.after) is not None:
            stages.append((f" at temperature {after.temperature:.3g}", after))
        for text, one in stages:
            rows.append(_row(f"{CALIBRATION_NAMES['ece']}{text}", "ece", one.ece))
            rows.append(_row(f"{CALIBRATION_NAMES['brier']}{text}", "brier", one.brier))
    return Table(("", "value", "95 % over patients"), tuple(rows), caption=_caption(result))


def finding_table(result: Result) -> Table:
    """Return sensitivity, specificity, PPV, NPV, F1, AUROC and AUPRC of each finding, each above its interval."""
    rows = []
    for finding, counts in zip(result.findings, result.confusion, strict=True):
        numbers = result.scores.per_class[finding]
        cells = [two_lines(numbers[name], numbers[name].ci95) for name in PER_CLASS]
        rows.append((finding, f"{sum(counts):,.0f}", *cells))
    told = (
        "Each finding against the rest, in per cent; below it 95 % over patients; sens. sensitivity, spec. specificity"
    )
    return Table(("finding", "films", *SHORT_HEADS), tuple(rows), caption=told)


def confusion_table(result: Result) -> Table:
    """Return how many films of each finding (rows) were taken for which; a decision that ties counts in parts."""
    rows = tuple(
        (finding, *(f"{count:g}" if count == round(count) else f"{count:.1f}" for count in counts))
        for finding, counts in zip(result.findings, result.confusion, strict=True)
    )
    return Table(("films of", *(f"as {name}" for name in result.findings)), rows)


def _row(text: str, name: str, estimate: Estimate) -> tuple[str, str, str]:
    form = "plain" if name in PLAIN_NUMBERS else "share"
    interval = interval_text(estimate.ci95, form)
    return text, value_text(estimate, form), interval if estimate.ci95 else f"{interval}: {estimate.reason}"


def _caption(result: Result) -> str:
    distance = f" ({result.distance})" if result.distance else ""
    transductive = ", transductive" if result.is_transductive else ""
    return f"{result.n_films:,} films of {result.n_patients:,} patients, {result.rule}{distance}{transductive}"

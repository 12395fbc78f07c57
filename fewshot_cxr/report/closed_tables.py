"""A closed-set result as rows of text: the numbers over all films, and finding by finding."""

from fewshot_cxr.evaluation.closed_set.result import ClosedSetResult
from fewshot_cxr.evaluation.estimates import PER_CLASS
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.tables import CALIBRATION_NAMES, NUMBER_NAMES, PLAIN_NUMBERS, SHORT_HEADS, Table, two_lines
from fewshot_cxr.visualise.style import percent


def overall_table(result: ClosedSetResult) -> Table:
    """Return the numbers over all films with their intervals over patients, the floors and the calibration."""
    rows = [
        (text, number_text(name, one := getattr(result.scores, name)), _interval(name, one))
        for name, text in NUMBER_NAMES.items()
    ]
    for name, floor in result.floor.items():
        rows.append((f"floor: accuracy on {name}", number_text("accuracy", floor), _interval("accuracy", floor)))
        above = result.above_floor[name]
        rows.append((f"accuracy above {name}", number_text("accuracy", above), _interval("accuracy", above)))
    if result.calibration is not None:
        stages = [("", result.calibration.before)]
        if (after := result.calibration.after) is not None:
            stages.append((f" at temperature {after.temperature:.3g}", after))
        for text, one in stages:
            rows.append((f"{CALIBRATION_NAMES['ece']}{text}", number_text("ece", one.ece), _interval("ece", one.ece)))
            brier = number_text("brier", one.brier)
            rows.append((f"{CALIBRATION_NAMES['brier']}{text}", brier, _interval("brier", one.brier)))
    return Table(("", "value", "95 % over patients"), tuple(rows), caption=_caption(result))


def finding_table(result: ClosedSetResult) -> Table:
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


def confusion_table(result: ClosedSetResult) -> Table:
    """Return how many films of each finding (rows) were taken for which; a decision that ties counts in parts."""
    rows = tuple(
        (finding, *(f"{count:g}" if count == round(count) else f"{count:.1f}" for count in counts))
        for finding, counts in zip(result.findings, result.confusion, strict=True)
    )
    return Table(("films of", *(f"as {name}" for name in result.findings)), rows)


def number_text(name: str, estimate: Estimate) -> str:
    """Return a number of that name: shares as '81.2 %', MCC, kappa and Brier score as '0.812', 'none' if undefined."""
    if estimate.mean is None:
        return "none"
    return f"{estimate.mean:.3f}" if name in PLAIN_NUMBERS else percent(estimate.mean)


def _interval(name: str, estimate: Estimate) -> str:
    if estimate.ci95 is None:
        return f"none: {estimate.reason}"
    low, high = estimate.ci95
    return f"{low:.3f} to {high:.3f}" if name in PLAIN_NUMBERS else f"{100 * low:.1f} to {100 * high:.1f} %"


def _caption(result: ClosedSetResult) -> str:
    distance = f" ({result.distance})" if result.distance else ""
    transductive = ", transductive" if result.is_transductive else ""
    return f"{result.n_films:,} films of {result.n_patients:,} patients, {result.rule}{distance}{transductive}"

"""Figures of a result: where films went, curves, calibration; each says which command makes what it lacks."""

from collections.abc import Mapping

import numpy as np
import torch
from sklearn.metrics import precision_recall_curve

from fewshot_cxr.evaluation import (
    Estimate,
    Result,
    roc_points,
)
from fewshot_cxr.metrics import risk_coverage
from fewshot_cxr.report.episode_tables import asked_confusion
from fewshot_cxr.report.tables import shown_interval
from fewshot_cxr.visualise import (
    Figure,
    confusion_matrix_figure,
    pr_figure,
    recall_figure,
    reliability_figure,
    risk_coverage_figure,
    roc_figure,
)
from fewshot_cxr.workflows.plots.inputs import PlotInputs, PlotOptions

_PROBABILITIES = "`fscxr evaluate --json FILE` of an encoder or a classifier writes them"
_COVERAGES = torch.linspace(0.05, 1, 20, dtype=torch.float64)


def draw_confusion(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw where the films of each finding went."""
    result = _given(inputs)
    if result.kind == "multi_label" or not result.confusion:
        raise ValueError(
            f"confusion: the films of {inputs.name} may show several findings, so that there is no confusion "
            "matrix; take roc, or judge films of one finding each (--findings)"
        )
    findings, counts = asked_confusion(result) if result.episodes is not None else (result.findings, result.confusion)
    return confusion_matrix_figure(np.array(counts), findings, title=options.title, theme=options.theme)


def draw_recall(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw accuracy and the recall of each finding, with floors, and chance where all findings are as frequent."""
    result = _given(inputs)
    if result.kind == "multi_label" or result.accuracy.mean is None:
        raise ValueError(f"recall: the films of {inputs.name} may show several findings; take roc")
    recalls = {name: row["sensitivity"] for name, row in result.scores.per_class.items() if "sensitivity" in row}
    return recall_figure(
        {name: (one.value, shown_interval(one)) for name, one in recalls.items() if one.mean is not None},
        (result.accuracy.mean, shown_interval(result.accuracy)),
        floors={f"floor: {name}": floor.value for name, floor in result.baselines.items() if floor.mean is not None},
        chance=1 / result.asked.n_way if result.episodes is not None else None,
        title=options.title,
        theme=options.theme,
    )


def draw_roc(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw the ROC curve of each finding that has one."""
    result = _film_by_film(inputs, "roc")
    areas = _areas(result, "auroc", inputs.name)
    curves = {name: (*roc_points(result, name), (area.value, area.ci95)) for name, area in areas.items()}
    return roc_figure(curves, title=options.title, theme=options.theme)


def draw_pr(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw the precision-recall curve of each finding that has one, with its share of the films as chance."""
    result = _film_by_film(inputs, "pr")
    areas = _areas(result, "auprc", inputs.name)
    curves, chance = {}, {}
    for name, area in areas.items():
        scores, is_positive = _ranked(result, name)
        precisions, recalls, _ = precision_recall_curve(is_positive, scores)
        # From the last threshold back; past the first that finds all, only the precision falls.
        shown = slice(int((recalls == 1).sum()) - 1, None)
        curves[name] = (recalls[shown][::-1], precisions[shown][::-1], (area.value, area.ci95))
        chance[name] = float(is_positive.mean())
    return pr_figure(curves, chance=chance, title=options.title, theme=options.theme)


def draw_reliability(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw how often answers of a given probability are right, before and after a temperature."""
    result = _given(inputs)
    if result.kind == "multi_label" or result.calibration is None:
        raise ValueError(
            f"reliability: {inputs.name} has no probabilities of one finding a film; {_PROBABILITIES}, with "
            "--calibrate-split after a temperature too"
        )
    curves = {"as they come": result.calibration.before.bins}
    after = result.calibration.after
    if after is not None:
        curves[f"at temperature {after.temperature:.3g}"] = after.bins
    return reliability_figure(curves, title=options.title, theme=options.theme)


def draw_risk_coverage(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw the share of wrong answers over the share of films answered; of episodes, with films of no known finding."""
    result = _given(inputs)
    if result.episodes is not None and result.open_set is not None:
        curve = result.open_set.risk_coverage
    elif result.kind == "closed_set" and result.calibration is not None:
        curve = _risks(result)
    else:
        lack = "was judged without films of unknown findings" if result.episodes is not None else "has none"
        raise ValueError(
            f"risk-coverage needs probabilities of one finding a film, and {inputs.name} {lack}; {_PROBABILITIES}"
        )
    return risk_coverage_figure(curve, title=options.title, theme=options.theme)


def _given(inputs: PlotInputs) -> Result:
    if inputs.result is None:
        raise ValueError(f"{inputs.name} is no result; `fscxr evaluate --json FILE` writes one")
    return inputs.result


def _film_by_film(inputs: PlotInputs, kind: str) -> Result:
    result = _given(inputs)
    if result.episodes is not None:
        raise ValueError(
            f"{kind} needs the probabilities of each film, which {inputs.name}, a result of episode-eval, "
            f"does not hold; {_PROBABILITIES}"
        )
    if result.kind == "closed_set" and result.calibration is None:
        raise ValueError(f"{kind} needs probabilities, and {inputs.name} holds decisions only; {_PROBABILITIES}")
    return result


def _areas(result: Result, number: str, name: str) -> Mapping[str, Estimate]:
    if result.kind == "multi_label":
        areas = {finding: getattr(one, number) for finding, one in result.per_finding.items()}
    else:
        areas = {finding: numbers[number] for finding, numbers in result.scores.per_class.items()}
    defined = {finding: area for finding, area in areas.items() if area.mean is not None}
    if not defined:
        raise ValueError(f"{name}: no finding has films with it and films without it; judge more films")
    return defined


def _ranked(result: Result, finding: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of the films that state the finding, and which of these show it."""
    column = result.findings.index(finding)
    if result.kind == "multi_label":
        answers = result.answered
        is_stated = ~np.isnan(answers.truth[:, column])
        return answers.probabilities[is_stated, column], answers.truth[is_stated, column] == 1
    decisions = result.answered
    return decisions.ranking_scores[:, column], decisions.true_ids == column


def _risks(result: Result) -> tuple[tuple[float, float], ...]:
    decisions = result.answered
    confidence = torch.from_numpy(np.ascontiguousarray(decisions.ranking_scores.max(axis=1)))
    error = 1 - torch.from_numpy(decisions.credits)[torch.arange(len(decisions.paths)), decisions.true_ids]
    risks = risk_coverage(confidence, error, _COVERAGES)
    return tuple(zip(_COVERAGES.tolist(), risks.tolist(), strict=True))

"""Figures of a result: where films went, curves, calibration; each says which command makes what it lacks."""

import numpy as np
import torch

from fewshot_cxr.evaluation import Result
from fewshot_cxr.evaluation.curves import ranked_films
from fewshot_cxr.metrics import Estimate, risk_coverage
from fewshot_cxr.report import result_figures
from fewshot_cxr.visualise import Figure, pr_figure, risk_coverage_figure
from fewshot_cxr.workflows.plots.inputs import PlotInputs, PlotOptions

_PROBABILITIES = "`fscxr evaluate --json FILE` of an encoder or a classifier writes them"
_COVERAGES = torch.linspace(0.05, 1, 20, dtype=torch.float64)


def draw_confusion(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw where the films of each finding went."""
    result = _given(inputs)
    if not result.confusion:
        raise ValueError(
            f"confusion: the films of {inputs.name} may show several findings, so that there is no confusion "
            "matrix; take roc, or judge films of one finding each (--findings)"
        )
    return result_figures.draw_confusion(result)(**options.look)


def draw_recall(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw accuracy and the recall of each finding, with baselines, and chance where all findings are as frequent."""
    result = _given(inputs)
    if not result.confusion:
        raise ValueError(f"recall: the films of {inputs.name} may show several findings; take roc")
    return result_figures.draw_recall(result)(**options.look)


def draw_roc(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw the ROC curve of each finding that has one."""
    result, _ = _film_by_film(inputs, "roc", "auroc")
    return result_figures.draw_roc(result)(**options.look)


def draw_pr(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw the precision-recall curve of each finding that has one, with its share of the films as chance."""
    from sklearn.metrics import precision_recall_curve

    result, areas = _film_by_film(inputs, "pr", "auprc")
    curves, chance = {}, {}
    for name, area in areas.items():
        scores, is_positive = ranked_films(result, name)
        precisions, recalls, _ = precision_recall_curve(is_positive, scores)
        # From the last threshold back; past the first that finds all, only the precision falls.
        shown = slice(int((recalls == 1).sum()) - 1, None)
        curves[name] = (recalls[shown][::-1], precisions[shown][::-1], (area.value, area.ci95))
        chance[name] = float(is_positive.mean())
    return pr_figure(curves, chance=chance, **options.look)


def draw_reliability(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw how often answers of a given probability are right, before and after a temperature."""
    calibration = _given(inputs).calibration
    if calibration is None:
        raise ValueError(
            f"reliability: {inputs.name} has no probabilities of one finding a film; {_PROBABILITIES}, with "
            "--calibrate-split after a temperature too"
        )
    return result_figures.draw_reliability(calibration)(**options.look)


def draw_risk_coverage(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw the share of wrong answers over the share of films answered; of episodes, with films of no known finding."""
    result = _given(inputs)
    if result.open_set is not None:
        curve = result.open_set.risk_coverage
    elif result.answers is not None and result.calibration is not None:
        answers = result.answers
        confidence = torch.from_numpy(np.ascontiguousarray(answers.ranking_scores.max(axis=1)))
        error = 1 - torch.from_numpy(answers.credits)[torch.arange(len(answers)), answers.true_ids]
        curve = tuple(zip(_COVERAGES.tolist(), risk_coverage(confidence, error, _COVERAGES).tolist(), strict=True))
    else:
        lack = "was judged without films of unknown findings" if result.episodes is not None else "has none"
        raise ValueError(
            f"risk-coverage needs probabilities of one finding a film, and {inputs.name} {lack}; {_PROBABILITIES}"
        )
    return risk_coverage_figure(curve, **options.look)


def _given(inputs: PlotInputs) -> Result:
    if inputs.result is None:
        raise ValueError(f"{inputs.name} is no result; `fscxr evaluate --json FILE` writes one")
    return inputs.result


def _film_by_film(inputs: PlotInputs, kind: str, number: str) -> tuple[Result, dict[str, Estimate]]:
    """Return a result with the probabilities of each film, and the areas that its findings have."""
    result = _given(inputs)
    if result.answers is None:
        raise ValueError(
            f"{kind} needs the probabilities of each film, which {inputs.name}, a result of episode-eval, "
            f"does not hold; {_PROBABILITIES}"
        )
    if not result.answers.has_probabilities:
        raise ValueError(f"{kind} needs probabilities, and {inputs.name} holds decisions only; {_PROBABILITIES}")
    areas = result_figures.known_areas(result, number)
    if not areas:
        raise ValueError(f"{inputs.name}: no finding has films with it and films without it; judge more films")
    return result, areas

"""Films answered one by one: the usual numbers, with intervals over patients."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from fewshot_cxr import metrics
from fewshot_cxr._checks import renamed
from fewshot_cxr.evaluation import scores
from fewshot_cxr.evaluation.answers import Answers
from fewshot_cxr.evaluation.films.jackknife import difference_estimate
from fewshot_cxr.evaluation.films.numbers import FilmNumbers
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.evaluation.warning_texts import baseline_warning, one_sided
from fewshot_cxr.metrics import NUMBERS
from fewshot_cxr.unknown_patients import unknown_warning

_NO_PROBABILITIES = "only decisions are known, no probabilities"
_NOT_CALIBRATED = "no films outside the test to fit a temperature on; name their split (--calibrate-split)"
_TRANSDUCTIVE = (
    "the rule {rule} is transductive: each answer depends on all films asked, so these numbers hold for films asked "
    "together, and the interval takes the answers as they are"
)


def evaluate_closed_set(
    decisions: Answers,
    *,
    calibration: Answers | None = None,
    baselines: Mapping[str, Answers] | None = None,
    floors: Mapping[str, Answers] | None = None,
) -> Result:
    """Measure a classifier by its answers to films of one finding each.

    The intervals say where the numbers would lie with other patients and the same classifier: a delete-a-group
    jackknife of each number, over the patients, or over 200 groups of them where they are more.

    Args:
        decisions: `decide_by_exemplars` or `read_predictions` makes them.
        calibration: of other films and patients by the same classifier: a temperature is fitted on them.
        baselines: name -> answers of a simpler classifier to the same films.
        floors: the name of `baselines` before.

    Raises:
        ValueError: `calibration` has other findings or a film of the test; a baseline has other films.

    Examples:
        >>> about = {"findings": ("covid19", "normal"), "paths": ("1", "2", "3", "4"), "truth": [0, 0, 0, 1]}
        >>> said = [[0.75, 0.25], [0.25, 0.75], [0.75, 0.25], [0.25, 0.75]]
        >>> result = evaluate_closed_set(Answers(**about, probabilities=said))
        >>> result.accuracy.mean, result.baselines["majority"].mean, result.confusion
        (0.75, 0.75, ((2.0, 1.0), (0.0, 1.0)))
    """
    baselines = renamed(floors, baselines, "floors", "baselines")
    if not isinstance(decisions, Answers):
        raise TypeError(f"decisions must be Answers (decide_by_exemplars), got {type(decisions).__name__}")
    if not decisions.is_exclusive:
        raise ValueError("these films may show several findings; take evaluate_multi_label")
    found = FilmNumbers(decisions)
    others = {}
    for name, other in {**(baselines or {}), **_blind_answers(decisions)}.items():
        if other.data_hash != decisions.data_hash:
            raise ValueError(f"the baseline {name} was judged on other films, findings or patients than the test")
        others[name] = FilmNumbers(other).numbers
    lines, above = {}, {}
    for number in ("accuracy", "balanced_accuracy"):
        lines[number] = {name: found.estimate((number,), one[number,]) for name, one in others.items()}
        reason = found.why_no_mean() if NUMBERS[number].is_mean else ""
        above[number] = {
            name: difference_estimate(found.numbers[number,] - one[number,], reason) for name, one in others.items()
        }
    return Result(
        kind="closed_set",
        calibration=_calibration(found, calibration) if decisions.has_probabilities else None,
        confusion=tuple(tuple(row) for row in found.confusion[0].tolist()),
        rule=decisions.rule,
        distance=decisions.distance,
        is_transductive=decisions.is_transductive,
        baselines=lines["accuracy"],
        above_baselines=above["accuracy"],
        balanced_baselines=lines["balanced_accuracy"],
        above_balanced_baselines=above["balanced_accuracy"],
        notes=_notes_of_one(decisions),
        warnings=(
            *_unknown_patients(found),
            *((_TRANSDUCTIVE.format(rule=decisions.rule),) if decisions.is_transductive else ()),
            *one_sided(decisions.findings, decisions.truth),
            *_below_baselines(above),
        ),
        **_always(found),
    )


def _blind_answers(answers: Answers) -> dict[str, Answers]:
    """Return what one would answer without looking: always the commonest finding of these films, or by guessing."""
    n_films, n_findings = answers.truth.shape
    commonest = answers.truth.sum(axis=0) == answers.truth.sum(axis=0).max()
    shares = {"majority": commonest / commonest.sum(), "chance": np.full(n_findings, 1 / n_findings)}
    blind = replace(answers, margins=None, log_odds=None, temperature=None, has_probabilities=False)
    return {name: replace(blind, probabilities=np.tile(one, (n_films, 1))) for name, one in shares.items()}


def _below_baselines(above: Mapping[str, Mapping[str, metrics.Estimate]]) -> list[str]:
    """Warn of baselines that are not passed; the commonest and guessing are one in balanced accuracy."""
    told = [
        baseline_warning(name, gap, number.replace("_", " "))
        for number, gaps in above.items()
        for name, gap in gaps.items()
        if name != ("chance" if number == "accuracy" else "majority")
    ]
    return [words for words in told if words]


def evaluate_multi_label(
    findings: Sequence[str], probabilities: Any, truth: Any, patient_ids: Any, paths: Sequence[str]
) -> Result:
    """Measure a classifier that tells each finding for itself.

    A film counts for the findings that it states. The intervals are those of `evaluate_closed_set`.

    Args:
        findings: names of the columns.
        probabilities: of each finding, 0..1, shape (N, n_findings).
        truth: 1 shown, 0 not shown, NaN nobody looked; shape (N, n_findings). of `findings_table`.
        patient_ids: N ids; None: each film is its own patient.
        paths: N texts, each film's own.

    Raises:
        ValueError: shapes do not fit, a finding or a film occurs twice, a table holds another value.

    Examples:
        >>> said, truth = [[0.9, 0.2], [0.8, 0.7], [0.3, 0.6]], [[1, 0], [0, 1], [0, np.nan]]
        >>> result = evaluate_multi_label(["edema", "effusion"], said, truth, patient_ids=None, paths=["1", "2", "3"])
        >>> result.mean_auroc.mean, result.per_finding["effusion"].n_films
        (1.0, 2)

    Source: AUROC of each finding and their mean: Wang et al., "ChestX-ray8", 2017, arXiv:1705.02315; the jackknife:
    Kott, "The delete-a-group jackknife", 2001, Journal of Official Statistics 17:521-526.
    """
    answers = Answers(
        findings=tuple(findings),
        truth=truth,
        probabilities=probabilities,
        paths=tuple(paths),
        patient_ids=patient_ids,
        is_exclusive=False,
    )
    found = FilmNumbers(answers)
    warnings = _unknown_patients(found)
    warnings += tuple(one_sided(answers.findings, answers.truth))
    return Result(kind="multi_label", notes=_notes_of_several(found), warnings=warnings, **_always(found))


def _always(found: FilmNumbers) -> dict[str, Any]:
    answers = found.answers
    return {
        "scores": scores.Scores(*found.scores(metrics.Estimate(None, reason=_NO_PROBABILITIES))),
        "findings": answers.findings,
        "answers": answers,
        "data_hash": answers.data_hash,
        "n_films": len(answers),
        "n_patients": found.units.n_patients,
        "n_films_without_patient": found.units.n_films_without_patient,
        "n_units": found.units.n_units,
    }


def _unknown_patients(found: FilmNumbers) -> tuple[str, ...]:
    told = unknown_warning(found.units.n_films_without_patient, len(found.answers))
    return (told,) if told else ()


def _calibration(found: FilmNumbers, other: Answers | None) -> scores.Calibration:
    before, answers = _reliability(found, None), found.answers
    if other is None:
        return scores.Calibration(before, reason=_NOT_CALIBRATED)
    if other.findings != answers.findings or not other.has_probabilities:
        raise ValueError(
            f"the films of the calibration were decided between {', '.join(other.findings)}, those of the test between "
            f"{', '.join(answers.findings)}; take the same classifier"
        )
    if shared := set(other.paths) & set(answers.paths):
        raise ValueError(f"film {min(shared)} is in the test and in the calibration; take films of another split")
    return scores.Calibration(
        before, _reliability(found, metrics.fit_temperature(_distances(other), torch.from_numpy(other.true_ids)))
    )


def _reliability(found: FilmNumbers, temperature: float | None) -> scores.Reliability:
    """Measure the probabilities at a temperature that was fitted on other films; None: as they are."""
    answers, probabilities, basis = found.answers, found.answers.probabilities, scores.OTHER_FILMS
    if temperature is not None:
        probabilities = metrics.class_probabilities(_distances(answers), temperature).numpy()
    elif answers.margins is None:
        basis = scores.AS_GIVEN
    else:
        basis = scores.UNFITTED if answers.temperature is None else scores.EXEMPLARS
    bins = found.bins(probabilities)
    return scores.Reliability(
        ece=found.estimate(("ece",), metrics.expected_calibration_error(*torch.from_numpy(bins)).numpy()),
        brier=found.estimate(("brier",), found.brier(probabilities)),
        temperature=temperature or answers.temperature or 1.0,
        bins=scores.reliability_points(*bins[:, 0]),
        basis=basis,
    )


def _distances(answers: Answers) -> torch.Tensor:
    """Return what the probabilities are the softmax over minus of, but for a sum that all findings share."""
    if answers.margins is not None:
        return metrics.distances_of_margins(torch.from_numpy(answers.margins))
    return torch.from_numpy(-np.log(np.maximum(answers.probabilities, np.finfo(np.float64).tiny)))


def _notes_of_one(answers: Answers) -> tuple[str, ...]:
    notes = list(answers.notes)
    if absent := [name for index, name in enumerate(answers.findings) if not answers.truth[:, index].any()]:
        notes.append(f"no film shows {', '.join(absent)}: means over findings leave out what is undefined")
    if not answers.has_probabilities:
        notes.append(f"no AUROC, AUPRC and calibration: {_NO_PROBABILITIES}")
    return tuple(notes)


def _notes_of_several(found: FilmNumbers) -> tuple[str, ...]:
    notes, truth = [], found.answers.truth
    if absent := [name for name in found.answers.findings if not np.isfinite(found.numbers[name, "auroc"][0])]:
        notes.append(f"means over findings leave out {', '.join(absent)}: no film shows it, or every film does")
    if n_unstated := int(np.isnan(truth).sum()):
        share = n_unstated / truth.size
        notes.append(f"{100 * share:.1f} % of the films' findings are not stated and count for nothing")
    return tuple(notes)

"""The test films of a recipe, judged once: by the trained classifier, or by exemplars of the training films."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewshot_cxr.data import CachedFilms, findings_table, patient_groups
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import (
    Answers,
    Result,
    decide_by_classifier,
    decide_by_exemplars,
    evaluate_closed_set,
    evaluate_multi_label,
)
from fewshot_cxr.inference import classify_films, embed_floors, sample_exemplars, template_options
from fewshot_cxr.records import Records
from fewshot_cxr.training import TrainedClassifier, TrainedEncoder
from fewshot_cxr.workflows.exemplar_judge import ExemplarJudge
from fewshot_cxr.workflows.recipes.division import Division
from fewshot_cxr.workflows.recipes.settings import JudgeRules
from fewshot_cxr.workflows.work import BATCH, Work


def known_films(records: Records, findings: tuple[str, ...]) -> tuple[Records, tuple[str, ...]]:
    """Return the films without what training did not know, and what to say of it; a film of it alone is left out."""
    unknown = sorted(set(records.findings) - set(findings))
    if not unknown:
        return records, ()
    cut = (replace(film, findings=tuple(name for name in film.findings if name in findings)) for film in records)
    is_single = all(len(film.findings) == 1 for film in records)
    films = tuple(film for film in cut if film.findings or not is_single)
    what = f"{len(records) - len(films)} films" if is_single else "findings"
    return replace(records, films=films), (f"left out, {what} that training does not know: {', '.join(unknown)}",)


def unread(films: CachedFilms, records: Records) -> tuple[str, ...]:
    """Return what to say of the films that could not be decoded."""
    known = set(records.problems)
    return tuple(f"left out {one.path}: {one.reason}" for one in films.records.problems if one not in known)


def judge_classifier(trained: TrainedClassifier, division: Division, *, is_multi_label: bool, work: Work) -> Result:
    """Judge a classifier on the test films, with a temperature fitted on the validation films.

    Args:
        trained: of the training.
        division: its films.
        is_multi_label: each finding for itself, in place of one finding a film.
        work: where it is done.
    """
    classifier = trained.classifier
    spec = classifier.encoder.image_spec

    def logits(films: CachedFilms, what: str) -> np.ndarray:
        report = work.report(f"classifying {what} films")
        return classify_films(classifier, films, batch_size=BATCH, device=work.device, progress=report)

    asked, notes = known_films(division.test, classifier.findings)
    test = work.decode(asked, spec, "test")
    notes += unread(test, asked)
    if is_multi_label:
        records = test.records
        probabilities = torch.from_numpy(logits(test, "test")).double().sigmoid().numpy()
        paths = [film.path for film in records]
        truth = findings_table(records, classifier.findings)
        found = evaluate_multi_label(classifier.findings, probabilities, truth, patient_groups(records), paths)
        return replace(found, notes=(*found.notes, *notes))
    val = work.decode(known_films(division.val, classifier.findings)[0], spec, "val")
    decisions, calibration = (
        decide_by_classifier(classifier.findings, logits(films, what), films.records, activation=classifier.activation)
        for films, what in ((test, "test"), (val, "val"))
    )
    support = work.decode(division.train, spec, "train")
    floors = _floors(test, support, decisions)
    result = evaluate_closed_set(decisions, calibration=calibration, floors=floors)
    return replace(result, notes=(*result.notes, *notes))


def draw_judge(
    trained: TrainedEncoder, rules: JudgeRules, train: Records, *, folder: Path, seed: int, work: Work
) -> ExemplarJudge:
    """Draw and embed the exemplars, and take the weights of the distance from the run folder where it has any."""
    chosen = sample_exemplars(train, rules.n_exemplars, seed=seed) if rules.n_exemplars else train
    films = work.decode(chosen, trained.encoder.image_spec, "exemplar")
    options: dict[str, Any] = {"k": rules.k} if rules.rule == "knn" else {}
    options |= template_options(trained.encoder, folder) if rules.rule == "template" else {}
    known = work.embed(trained.encoder, films, "exemplar")
    return ExemplarJudge(rules.rule, trained.card["distance"], options, films, known)


def judge_by_exemplars(
    judge: ExemplarJudge, trained: TrainedEncoder, division: Division, *, work: Work
) -> tuple[Result, CachedFilms, Embeddings]:
    """Judge the test films by exemplars, with a temperature fitted on the validation films.

    Returns:
        The result, the test films, and their embeddings.
    """
    findings = judge.films.records.findings
    asked, notes = known_films(division.test, findings)
    spec = trained.encoder.image_spec
    test, val = work.decode(asked, spec, "test"), work.decode(known_films(division.val, findings)[0], spec, "val")
    notes += unread(test, asked)
    films = work.embed(trained.encoder, test, "test")
    decisions = judge.decide(films)
    calibration = judge.decide(work.embed(trained.encoder, val, "val"))
    floors = _floors(test, judge.films, decisions)
    result = evaluate_closed_set(decisions, calibration=calibration, floors=floors)
    return replace(result, notes=(*result.notes, *notes)), test, films


def _floors(test: CachedFilms, support: CachedFilms, decisions: Answers) -> Mapping[str, Answers]:
    """Return what a nearest centroid says without an encoder; none where the test has a finding less or more."""
    known, asked = embed_floors(support), embed_floors(test)
    if {film.source for film in support.records} != {film.source for film in test.records}:
        known.pop("source", None)
    floors = {name: decide_by_exemplars(asked[name], some, rule="prototype") for name, some in known.items()}
    return {name: floor for name, floor in floors.items() if floor.findings == decisions.findings}

"""Films evaluated, from decoded pixels to one result: by exemplars, by a classifier, or in few-shot episodes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from fewshot_cxr._progress import Bar
from fewshot_cxr.data import CachedFilms, findings_table, patient_ids
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.evaluation import (
    Answers,
    Plan,
    Result,
    decide_by_classifier,
    decide_by_exemplars,
    evaluate_closed_set,
    evaluate_multi_label,
    evaluate_plan,
    sources_apart,
)
from fewshot_cxr.inference import Classifier, embed_baselines
from fewshot_cxr.inference.embed import with_facts
from fewshot_cxr.records import Records
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.weights_seen import count_training_films, weights_warnings, with_training_films, with_weights

Planner = Callable[[Embeddings, Sequence[str] | None, Bar | None], Plan]
"""From labelled films, the findings that the encoder was trained on, and progress, to episodes."""


@dataclass(frozen=True, eq=False)
class Exemplars:
    """Labelled films that decide what others show: decoded, embedded, and the rule that they decide by."""

    films: CachedFilms
    embeddings: Embeddings
    rule: ExemplarRule

    def decide(self, films: Embeddings, progress: Bar | None = None, *, fits_temperature: bool = True) -> Answers:
        """Decide what other films show; see `decide_by_exemplars`."""
        return decide_by_exemplars(
            films,
            self.embeddings,
            rule=self.rule.name,
            distance=self.rule.distance,
            options=self.rule.options,
            fits_temperature=fits_temperature,
            progress=progress,
        )


def embed_exemplars(encoder: Encoder, records: Records, rule: ExemplarRule, compute: Compute) -> Exemplars:
    """Decode and embed labelled films.

    Args:
        encoder: of the films to decide, too.
        records: the labelled films.
        rule: that they decide by, as of `ExemplarRule.for_encoder`.
        compute: where it is done.
    """
    films = compute.decode(records, encoder.image_spec, "exemplars")
    return Exemplars(films, compute.embed(encoder, films, "exemplars"), rule)


def evaluate_by_exemplars(
    exemplars: Exemplars, encoder: Encoder, test: CachedFilms, calibration: CachedFilms | None, *, compute: Compute
) -> tuple[Result, Embeddings]:
    """Evaluate the classification of films by exemplars, beside baselines by the same exemplars.

    Args:
        exemplars: of other patients.
        encoder: that embedded them.
        test: films to classify.
        calibration: films to fit a temperature on; None: none is fitted.
        compute: where it is done.

    Returns:
        The result, and the embeddings of the test films.
    """
    known = replace(exemplars, embeddings=_known(exemplars.embeddings, exemplars.films, test.records.root))
    embeddings, report = compute.embed(encoder, test, "test films"), compute.report("deciding")
    decisions, others = known.decide(embeddings, report), None
    if calibration is not None:
        vectors = compute.embed(encoder, calibration, "calibration films")
        others = known.decide(vectors, report, fits_temperature=False)
    baselines = _baselines(test, exemplars.films, decisions.findings)
    return evaluate_closed_set(decisions, calibration=others, baselines=baselines), embeddings


def evaluate_by_classifier(
    classifier: Classifier,
    test: CachedFilms,
    calibration: CachedFilms | None,
    *,
    is_multi_label: bool,
    support: CachedFilms | None = None,
    compute: Compute,
) -> Result:
    """Evaluate a classifier on films.

    Args:
        classifier: that is evaluated.
        test: films to classify.
        calibration: films to fit a temperature on; None: none is fitted.
        is_multi_label: each finding for itself, in place of one finding a film.
        support: labelled films for baselines; None: there are none.
        compute: where it is done.
    """
    findings, records = classifier.findings, test.records
    logits = compute.classify(classifier, test, "test films")
    if is_multi_label:
        probabilities = torch.from_numpy(logits).double().sigmoid().numpy()
        truth, paths = findings_table(records, findings), [film.path for film in records]
        result = evaluate_multi_label(findings, probabilities, truth, patient_ids(records), paths)
        if untold := [name for name in records.findings if name not in findings]:
            note = f"the classifier does not tell {', '.join(untold)}: films that show it count by the other findings"
            return replace(result, notes=(*result.notes, note))
        return result
    decisions = decide_by_classifier(findings, logits, records, activation=classifier.activation)
    others = None
    if calibration is not None:
        logits = compute.classify(classifier, calibration, "calibration films")
        others = decide_by_classifier(findings, logits, calibration.records, activation=classifier.activation)
    baselines = {} if support is None else _baselines(test, support, decisions.findings)
    return evaluate_closed_set(decisions, calibration=others, baselines=baselines)


def closed_warnings(result: Result, films: Records, encoder: Encoder, support: Records | None = None) -> Iterator[str]:
    """Yield what episodes on these films would warn of, too, and where the support's sources tell its findings."""
    seen = encoder.card.get("findings")
    unseen = [name for name in result.findings if seen is not None and name not in seen]
    if unseen:
        yield f"the encoder was not trained on {', '.join(unseen)}"
        yield from weights_warnings(encoder, films, unseen)
    if words := sources_apart(_unembedded(films)):
        yield words
    if support is not None and (words := sources_apart(_unembedded(support), "in the support")):
        yield words


def evaluate_in_episodes(
    encoder: Encoder,
    test: Records,
    planner: Planner,
    *,
    rule: ExemplarRule,
    calibration: Records | None = None,
    is_multi_label: bool = False,
    with_baselines: bool = True,
    patient_interval: bool = True,
    checkpoint: Path,
    allow_training_films: bool = False,
    compute: Compute,
) -> tuple[Result, Records]:
    """Evaluate an encoder in few-shot episodes.

    Args:
        encoder: that is evaluated.
        test: films of the episodes.
        planner: makes the episodes.
        rule: by which support decides.
        calibration: films to fit a temperature on; None: none is fitted.
        is_multi_label: films may show several findings; each is told from its absence.
        with_baselines: what a nearest centroid says without an encoder, where a film shows one finding.
        patient_interval: slower, but quotable.
        checkpoint: run folder or file of the encoder.
        allow_training_films: evaluate what the encoder was trained on too; the result says so.
        compute: where it is done.

    Returns:
        The result, and the films that could be read.

    Raises:
        ValueError: the encoder was trained on some of the films.
    """
    films = compute.decode(test, encoder.image_spec)
    n_trained = count_training_films(encoder.card, checkpoint, films, is_allowed=allow_training_films)
    # Before the films are embedded, which may take long: what was asked for may be impossible.
    labels = _unembedded(films.records, is_multi_label=is_multi_label)
    plan = planner(labels, encoder.card.get("findings"), compute.report("writing episodes"))

    embeddings = compute.embed(encoder, films, is_multi_label=is_multi_label)
    others = None
    if calibration is not None:
        decoded = compute.decode(calibration, encoder.image_spec, "calibration films")
        others = compute.embed(encoder, decoded, "calibration films")
    result = evaluate_plan(
        embeddings,
        plan,
        **rule.settings(),
        baselines=embed_baselines(films) if with_baselines and not is_multi_label else None,
        calibrate=others,
        patient_interval=patient_interval,
        device=compute.device,
        progress=compute.report("episodes"),
    )
    result = with_weights(result, encoder, films.records, plan.novel)
    return with_training_films(result, n_trained), films.records


def _unembedded(films: Records, *, is_multi_label: bool = False) -> Embeddings:
    """Return what is known of films without an encoder: findings, patients, sources, paths."""
    return with_facts(np.zeros((len(films), 1)), films, is_multi_label=is_multi_label)


def _known(embeddings: Embeddings, films: CachedFilms, root: Path) -> Embeddings:
    """Return exemplars as films below `root` may be compared with: below another one the same path is another file."""
    return embeddings if films.records.root == root else replace(embeddings, paths=None)


def _baselines(test: CachedFilms, support: CachedFilms, findings: tuple[str, ...]) -> Mapping[str, Answers]:
    """Return what a nearest centroid says without an encoder; of the source, where both have the same ones.

    Args:
        test: films to classify.
        support: labelled films.
        findings: of the evaluation; where the support has a finding less or more, there are no baselines.
    """
    known, asked = embed_baselines(support), embed_baselines(test)
    if {film.source for film in support.records} != {film.source for film in test.records}:
        known.pop("source", None)
    decisions = {
        name: decide_by_exemplars(
            asked[name], _known(some, support, test.records.root), rule="prototype", fits_temperature=False
        )
        for name, some in known.items()
    }
    return {name: some for name, some in decisions.items() if some.findings == findings}

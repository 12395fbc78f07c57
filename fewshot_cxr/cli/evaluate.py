"""`fscxr evaluate`: every film of a test split classified once, by exemplars, a classifier, or as a file says."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from fewshot_cxr._checks import MOST_JUDGED, check_few_findings
from fewshot_cxr.cli.console import bars_for, say_problems, write_result
from fewshot_cxr.cli.exemplars import (
    SOURCE_HELP,
    SupportFlags,
    of_split,
    read_test_and_support,
    refuse_shared_patients,
    rule_flags,
    say_exemplars,
    split_flag,
    support_flags,
    training_films_flag,
)
from fewshot_cxr.cli.flags import batch_compute_flags, encoder_path, json_flag, refuse_flags, seed_flag, there_file
from fewshot_cxr.cli.results import show_result
from fewshot_cxr.cli.sources import Reading, read_films, reader_and_path, reading_flags
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.evaluation import Result, evaluate_closed_set, read_predictions
from fewshot_cxr.evaluation.films.decisions import refuse_unknown_findings
from fewshot_cxr.inference import RULES, Classifier, load_classifier
from fewshot_cxr.records import Records
from fewshot_cxr.workflows import judging
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.weights_seen import count_training_films, weights_notes, with_training_films

Read = Callable[[], tuple[Records, Records, Records | None]]
"""Reads the test films, labelled ones, and those that a temperature is fitted on, after the encoder: it may be none."""
_CHOSE_EPOCH = "these films chose the epoch that was kept: numbers on them flatter"
_UNKNOWN_TRAINING = (
    "the films of the training are not among those of --data as its card knows them: whether films or patients of "
    "these were trained on cannot be seen"
)
_WITH_PREDICTIONS = ("predictions", "json_file")
_OF_EXEMPLARS = ("checkpoint", "support", "support_split", "n_exemplars", "rule", "distance", "seed")


@click.command()
@click.option("--checkpoint", type=encoder_path, help="Run folder or encoder file.")
@click.option(
    "--classifier", type=encoder_path, help="Run folder or encoder file with a classifier, which needs no exemplars."
)
@click.option("--data", "source", help=f"Films to judge: {SOURCE_HELP}.")
@split_flag
@training_films_flag
@support_flags
@rule_flags(RULES)
@click.option("--calibrate-split", help="Fit a temperature on this split of --data.")
@click.option(
    "--predictions",
    type=there_file,
    help="CSV of another classifier: path, finding, patient_id, and a probability for each finding, or `predicted`.",
)
@seed_flag
@batch_compute_flags
@reading_flags
@json_flag
def command(
    *,
    checkpoint: Path | None,
    classifier: Path | None,
    source: str | None,
    split: str | None,
    allow_training_films: bool,
    support: SupportFlags,
    rule: ExemplarRule,
    calibrate_split: str | None,
    predictions: Path | None,
    seed: int,
    compute: Compute,
    reading: Reading,
    json_file: str | None,
) -> None:
    """Judge the classification of films into known findings, with intervals over patients.

    An encoder classifies films by labelled exemplars of other patients; or a classifier of `train classifier` does,
    into one finding each or finding by finding, as it was trained; or a CSV holds what some classifier predicted.

    \b
    Example: fscxr evaluate --checkpoint run --data split.csv --split test --json result.json
             fscxr evaluate --classifier run --data split.csv --calibrate-split val
             fscxr evaluate --predictions predictions.csv
    """
    if predictions is not None:
        refuse_flags(lambda name: name not in _WITH_PREDICTIONS, "--predictions", "the decisions are made")
        result = evaluate_closed_set(read_predictions(predictions))
    elif classifier is not None:
        refuse_flags(lambda name: name in _OF_EXEMPLARS, "--classifier", "a classifier compares with no exemplars")
        if source is None:
            raise click.UsageError("name the films that the classifier is to judge (--data)")
        asked = source, (split, calibrate_split), reading
        result = _classifier_result(classifier, *asked, is_allowed=allow_training_films, compute=compute)
    elif checkpoint is None or source is None:
        raise click.UsageError(
            "name an encoder and films (--checkpoint, --data), a classifier and films (--classifier, --data), or "
            "--predictions FILE.csv"
        )
    else:
        read = partial(read_test_and_support, source, split, support, reading, calibration=calibrate_split, seed=seed)
        result = _exemplar_result(checkpoint, rule, read, is_allowed=allow_training_films, compute=compute)
    show_result(result)
    write_result(result.to_json(), json_file)


def _exemplar_result(checkpoint: Path, rule: ExemplarRule, read: Read, *, is_allowed: bool, compute: Compute) -> Result:
    encoder = load_encoder(checkpoint)
    (test, support, others), spec = read(), encoder.image_spec
    with bars_for(compute) as compute:
        films = compute.decode(test, spec, "test films")
        n_trained = count_training_films(encoder.card, checkpoint, films, is_allowed=is_allowed)
        exemplars = judging.embed_exemplars(encoder, support, rule.for_encoder(encoder, checkpoint), compute)
        calibration = None if others is None else compute.decode(others, spec, "calibration films")
        result, _ = judging.evaluate_by_exemplars(exemplars, encoder, films, calibration, compute=compute)
    for some in (films, calibration):
        if some is not None:
            say_problems(some.records)
    say_exemplars(support, exemplars.films.records)
    warnings = (*result.warnings, *judging.closed_warnings(result, films.records, encoder, exemplars.films.records))
    result = replace(result, notes=(*result.notes, *weights_notes(encoder)), warnings=warnings)
    return with_training_films(result, n_trained)


def _classifier_result(
    path: Path,
    source: str,
    splits: tuple[str | None, str | None],
    reading: Reading,
    *,
    is_allowed: bool,
    compute: Compute,
) -> Result:
    """Evaluate a classifier of films with one finding each as a closed set, and any other finding by finding.

    The splits are of the test and of the films that a temperature is fitted on (None: none is); `is_allowed` takes what
    was trained on, too.
    """
    split, calibrate_split = splits
    classifier = load_classifier(path)
    check_few_findings(classifier.findings, MOST_JUDGED, str(path))
    is_closed = _is_closed(classifier)
    if not is_closed and calibrate_split is not None:
        raise click.UsageError("--calibrate-split does not go with this classifier: it tells each finding for itself")
    records = read_films(source, reading, single_label=is_closed, several=not is_closed, allow_leak=True)
    parts = {"test": of_split(records, split, "test", "--split")}
    if calibrate_split is not None:
        parts["calibration"] = records.of_split(calibrate_split)
    for some in parts.values():
        (refuse_unknown_findings if is_closed else _refuse_strangers)(classifier.findings, some)
    reader, _ = reader_and_path(source)
    refuse_shared_patients({name: (some, reader) for name, some in parts.items()})
    note = "" if is_allowed else _check_training(classifier, records, parts, reader)
    with bars_for(compute) as compute:
        spec = classifier.encoder.image_spec
        films = {name: compute.decode(some, spec, f"{name} films") for name, some in parts.items()}
        n_trained = count_training_films(classifier.encoder.card, path, films["test"], is_allowed=is_allowed)
        result = judging.evaluate_by_classifier(
            classifier, films["test"], films.get("calibration"), is_multi_label=not is_closed, compute=compute
        )
    for decoded in films.values():
        say_problems(decoded.records)
    card = classifier.encoder.card
    chose_epoch = parts["test"].data_hash in (card.get("data_hash", {}).get("val"), *card.get("given_hash", ())[1:])
    warnings = judging.closed_warnings(result, films["test"].records, classifier.encoder) if is_closed else ()
    result = replace(
        result,
        notes=(*result.notes, *([note] if note else [])),
        warnings=(*result.warnings, *warnings, *([_CHOSE_EPOCH] if chose_epoch else [])),
    )
    return with_training_films(result, n_trained)


def _is_closed(classifier: Classifier) -> bool:
    # Sigmoids may have been trained on films of one finding each, one against the rest.
    one_each = classifier.encoder.card.get("training", {}).get("is_multi_label") is False
    return classifier.activation == "softmax" or (one_each and len(classifier.findings) > 1)


def _refuse_strangers(findings: tuple[str, ...], films: Records) -> None:
    if not set(findings) & set(films.findings):
        raise ValueError(
            f"no film shows a finding that the classifier tells ({', '.join(findings)}); the films show "
            f"{', '.join(films.findings)}: rename them, or name other films (--data, --split)"
        )


def _check_training(classifier: Classifier, records: Records, parts: dict[str, Records], reader: str) -> str:
    """Refuse films and patients of the training as far as the classifier's card tells them; say where it does not."""
    card = classifier.encoder.card
    trained_on = (card.get("data_hash", {}).get("train"), *card.get("given_hash", ())[:1])
    if parts["test"].data_hash in trained_on:
        raise ValueError("these are the very films that the classifier was trained on; judge others (--split)")
    splits = sorted({film.split for film in records if film.split})
    trained = [some for some in map(records.of_split, splits) if some.data_hash in trained_on]
    for some in trained:
        refuse_shared_patients({name: (films, reader) for name, films in {"training": some, **parts}.items()})
    return "" if trained else _UNKNOWN_TRAINING

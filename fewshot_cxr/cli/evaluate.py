"""`fscxr evaluate`: every film of a test split classified once, by exemplars, a classifier, or as a file says."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from fewshot_cxr.cli.classifier_eval import classifier_result
from fewshot_cxr.cli.console import bars_for, say_problems, write_result
from fewshot_cxr.cli.exemplars import (
    SOURCE_HELP,
    SupportFlags,
    read_test_and_support,
    rule_flags,
    say_exemplars,
    split_flag,
    support_flags,
    training_films_flag,
)
from fewshot_cxr.cli.flags import batch_compute_flags, encoder_path, given_flags, json_flag, seed_flag
from fewshot_cxr.cli.results import show_result
from fewshot_cxr.cli.sources import Reading, reading_flags
from fewshot_cxr.data import CachedFilms
from fewshot_cxr.encoders import Encoder, load_encoder
from fewshot_cxr.evaluation import Result, evaluate_closed_set, read_predictions
from fewshot_cxr.inference import RULES
from fewshot_cxr.records import Records
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.judging import closed_warnings, embed_exemplars, evaluate_by_exemplars
from fewshot_cxr.workflows.weights_seen import count_training_films, weights_notes, with_training_films

_WITH_PREDICTIONS = ("predictions", "json_file")
_OF_EXEMPLARS = ("checkpoint", "support", "support_split", "n_exemplars", "rule", "distance", "seed")


@click.command()
@click.option("--checkpoint", type=encoder_path, help="Run folder or encoder file.")
@click.option(
    "--classifier",
    type=encoder_path,
    help="Run folder or encoder file with a classifier, which needs no exemplars.",
)
@click.option("--data", "source", help=f"Films to judge: {SOURCE_HELP}.")
@split_flag
@training_films_flag
@support_flags
@rule_flags(RULES)
@click.option("--calibrate-split", help="Fit a temperature on this split of --data.")
@click.option(
    "--predictions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
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
    given = given_flags()
    if predictions is not None:
        idle = [flag for name, flag in given.items() if name not in _WITH_PREDICTIONS]
        _refuse(idle, "--predictions", "the decisions are made")
        result = evaluate_closed_set(read_predictions(predictions))
    elif classifier is not None:
        idle = [flag for name, flag in given.items() if name in _OF_EXEMPLARS]
        _refuse(idle, "--classifier", "a classifier compares with no exemplars")
        if source is None:
            raise click.UsageError("name the films that the classifier is to judge (--data)")
        asked = source, split, calibrate_split, reading
        result = classifier_result(classifier, *asked, allow_training_films=allow_training_films, compute=compute)
    elif checkpoint is None or source is None:
        raise click.UsageError(
            "name an encoder and films (--checkpoint, --data), a classifier and films (--classifier, --data), or "
            "--predictions FILE.csv"
        )
    else:
        encoder = load_encoder(checkpoint)
        films = read_test_and_support(source, split, support, reading, calibration=calibrate_split, seed=seed)
        count = partial(count_training_films, encoder.card, checkpoint, is_allowed=allow_training_films)
        result = _exemplar_result(encoder, rule.for_encoder(encoder, checkpoint), *films, count=count, compute=compute)
    show_result(result, to_stderr=json_file == "-")
    write_result(result.to_json(), json_file)


def _refuse(flags: list[str], other: str, why: str) -> None:
    if flags:
        raise click.UsageError(f"{', '.join(flags)} does not go with {other}: {why}")


def _exemplar_result(
    encoder: Encoder,
    rule: ExemplarRule,
    test: Records,
    support: Records,
    others: Records | None,
    *,
    count: Callable[[CachedFilms], int],
    compute: Compute,
) -> Result:
    spec = encoder.image_spec
    with bars_for(compute) as compute:
        films = compute.decode(test, spec, "test films")
        n_trained = count(films)
        exemplars = embed_exemplars(encoder, support, rule, compute)
        calibration = None if others is None else compute.decode(others, spec, "calibration films")
        result, _ = evaluate_by_exemplars(exemplars, encoder, films, calibration, compute=compute)
    for some in (films, calibration):
        if some is not None:
            say_problems(some.records)
    say_exemplars(support, exemplars.films.records)
    judged = result, films.records, encoder, exemplars.films.records
    result = replace(result, warnings=(*result.warnings, *closed_warnings(*judged)))
    result = replace(result, notes=(*result.notes, *weights_notes(encoder)))
    return with_training_films(result, n_trained)

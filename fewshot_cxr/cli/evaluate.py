"""`fscxr evaluate`: every film of a test split classified once, by exemplars, a classifier, or as a file says."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fewshot_cxr._checks import lookup
from fewshot_cxr.cli.classifier_eval import judge_classifier
from fewshot_cxr.cli.console import check_outputs, progress_bars, say, say_problems, show_table, write_result
from fewshot_cxr.cli.episode_plan import check_distance
from fewshot_cxr.cli.flags import ALL, count_or_all, json_flag, seed_flag, set_threads, work_flags
from fewshot_cxr.cli.sides import of_split, read_sides, refuse_shared_patients
from fewshot_cxr.cli.sources import reading_flags, take_reading
from fewshot_cxr.data import CachedFilms, cache_films
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.encoders import Encoder, load_encoder
from fewshot_cxr.evaluation import (
    Answers,
    Result,
    decide_by_exemplars,
    evaluate_closed_set,
    floor_warning,
    read_predictions,
    sources_apart,
)
from fewshot_cxr.inference import RULES, embed_films, embed_floors, sample_exemplars, template_options
from fewshot_cxr.records import Records
from fewshot_cxr.report.closed_tables import confusion_table, finding_table, overall_table
from fewshot_cxr.report.multi_label_tables import multi_label_table

_SOURCE = "manifest CSV, image folder, or NAME:PATH (data read --help)"
_WITH_PREDICTIONS = ("predictions", "json_file")
_OF_EXEMPLARS = ("checkpoint", "support", "support_split", "n_exemplars", "rule", "distance", "seed")
_DECIDED = "the decisions are made"
_NO_EXEMPLARS = "a classifier compares with no exemplars"


@click.command()
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), help="Run folder or encoder file.")
@click.option(
    "--classifier",
    type=click.Path(exists=True, path_type=Path),
    help="Run folder or encoder file with a classifier, which needs no exemplars.",
)
@click.option("--data", "source", help=f"Films to judge: {_SOURCE}.")
@click.option("--split", help="Judge the films of this split.  [default: test, where there is one]")
@click.option("--support", help=f"Labelled films to compare with: {_SOURCE}.  [default: --data]")
@click.option("--support-split", help="Take these of the support only.  [default: train, where there is one]")
@click.option(
    "--n-exemplars",
    metavar="N|all",
    default=ALL,
    show_default=True,
    callback=count_or_all,
    help="Per finding, by seed.",
)
@click.option("--rule", default="mean_distance", show_default=True, help=f"{', '.join(RULES)}.")
@click.option("--distance", help=f"{', '.join(DISTANCES)}.  [default: as in training]")
@click.option("--calibrate-split", help="Fit a temperature on this split of --data.")
@click.option(
    "--predictions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV of another classifier: path, finding, patient_id, and a probability for each finding, or `predicted`.",
)
@seed_flag
@work_flags
@reading_flags
@json_flag
def command(*, predictions: Path | None, json_file: str | None, **options: Any) -> None:
    """Judge the classification of films into known findings, with intervals over patients.

    An encoder classifies films by labelled exemplars of other patients; or a classifier of `train classifier` does,
    into one finding each or finding by finding, as it was trained; or a CSV holds what some classifier predicted.

    \b
    Example: fscxr evaluate --checkpoint run --data split.csv --split test --json result.json
             fscxr evaluate --classifier run --data split.csv --calibrate-split val
             fscxr evaluate --predictions predictions.csv
    """
    check_outputs(json_file)
    given = _given(click.get_current_context())
    result: Result
    if predictions is not None:
        _refuse([flag for name, flag in given.items() if name not in _WITH_PREDICTIONS], "--predictions", _DECIDED)
        result = evaluate_closed_set(read_predictions(predictions))
    elif options["classifier"] is not None:
        _refuse([flag for name, flag in given.items() if name in _OF_EXEMPLARS], "--classifier", _NO_EXEMPLARS)
        if options["source"] is None:
            raise click.UsageError("name the films that the classifier is to judge (--data)")
        result = judge_classifier(options)
    elif options["checkpoint"] is None or options["source"] is None:
        raise click.UsageError(
            "name an encoder and films (--checkpoint, --data), a classifier and films (--classifier, --data), or "
            "--predictions FILE.csv"
        )
    else:
        result = _by_exemplars(options)
    _show(result, to_stderr=json_file == "-")
    write_result(result.to_json(), json_file)


def _given(context: click.Context) -> dict[str, str]:
    """Return the flags that were typed, by the names of their options."""
    flags = {parameter.name or "": parameter.opts[0] for parameter in context.command.params}
    return {
        name: flag for name, flag in flags.items() if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def _refuse(flags: list[str], other: str, why: str) -> None:
    if flags:
        raise click.UsageError(f"{', '.join(flags)} does not go with {other}: {why}")


def _by_exemplars(options: dict[str, Any]) -> Result:
    set_threads(options.pop("threads"))
    lookup(RULES, rule := options.pop("rule"), what="rule")
    check_distance(rule, options["distance"])
    cache = {"folder": options.pop("cache_folder"), "n_workers": options.pop("n_workers")}
    work = {"device": options.pop("device"), "batch_size": options.pop("batch_size")}
    encoder = load_encoder(checkpoint := options.pop("checkpoint"))
    learned = template_options(encoder, checkpoint) if rule == "template" else {}
    distance = options.pop("distance") or encoder.card.get("distance", "euclidean")
    sides = _sides(options)
    with progress_bars() as progress:
        films = {
            side: cache_films(records, encoder.image_spec, **cache, progress=partial(progress, f"decoding {side}"))
            for side, records in sides.items()
        }
        known, *asked = (
            embed_films(encoder, some, **work, progress=partial(progress, f"embedding {side}"))
            for side, some in films.items()
        )
        # Below another root the same path is another file; that no film is on both sides is known already.
        known = known if sides["support"].root == sides["test"].root else replace(known, paths=None)
        test, *calibration = (
            decide_by_exemplars(
                some,
                known,
                rule=rule,
                distance=distance,
                options=learned,
                progress=partial(progress, "deciding"),
            )
            for some in asked
        )
    for some in films.values():
        say_problems(some.records)
    counts = films["support"].records.count_findings().items()
    say(f"{len(known)} exemplars: {', '.join(f'{name} {count}' for name, count in counts)}")
    result = evaluate_closed_set(test, calibration=next(iter(calibration), None), floors=_floors(films, known))
    return replace(result, warnings=(*result.warnings, *_cautions(result, asked[0], encoder)))


def _cautions(result: Result, films: Embeddings, encoder: Encoder) -> Iterator[str]:
    """Yield what episode-eval would warn of too."""
    seen = encoder.card.get("findings")
    unseen = [name for name in result.findings if seen is not None and name not in seen]
    if unseen:
        yield f"the encoder was not trained on {', '.join(unseen)}"
    if words := sources_apart(films):
        yield words
    for name, gap in result.above_baselines.items():
        if words := floor_warning(name, gap):
            yield words


def _floors(films: dict[str, CachedFilms], known: Embeddings) -> dict[str, Answers]:
    """Return what a nearest centroid says without an encoder; of the source, where both sides have the same ones."""
    support, test = embed_floors(films["support"]), embed_floors(films["test"])
    if len({frozenset(film.source for film in films[side].records) for side in ("support", "test")}) > 1:
        support.pop("source", None)
    return {
        name: decide_by_exemplars(test[name], replace(some, paths=known.paths), rule="prototype")
        for name, some in support.items()
    }


def _sides(options: dict[str, Any]) -> dict[str, Records]:
    """Return the films of the support, the test and, where asked for, the calibration."""
    sources = {"test": options["source"], "support": options["support"] or options["source"]}
    data, readers = read_sides(sources, take_reading(options))
    support = of_split(data["support"], options["support_split"], "train", "--support-split")
    sides = {"support": support, "test": of_split(data["test"], options["split"], "test", "--split")}
    if options["calibrate_split"] is not None:
        sides["calibration"] = data["test"].of_split(options["calibrate_split"])
    refuse_shared_patients(sides, readers | {"calibration": readers["test"]})
    if options["n_exemplars"] is not None:
        sides["support"] = sample_exemplars(support, options["n_exemplars"], seed=options["seed"])
    return sides


def _show(result: Result, *, to_stderr: bool) -> None:
    if result.kind == "multi_label":
        tables = [multi_label_table(result)]
    else:
        tables = [overall_table(result), finding_table(result), confusion_table(result)]
    for table in tables:
        show_table(table.caption, table.columns, table.rows, to_stderr=to_stderr)
        for name, why in table.below:
            say(f"{name}: {why}")
    for note in result.notes:
        say(f"note: {note}")
    for warning in result.warnings:
        say(f"warning: {warning}")

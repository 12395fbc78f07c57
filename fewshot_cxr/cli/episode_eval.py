"""`fscxr episode-eval`: an encoder judged in few-shot episodes, beside the floors that it must beat."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from fewshot_cxr import report
from fewshot_cxr._checks import lookup
from fewshot_cxr.cli.console import check_outputs, progress_bars, say, say_problems, write_result
from fewshot_cxr.cli.episode_plan import check_distance, drawn_or_replayed, episode_flags, take_episode_flags
from fewshot_cxr.cli.flags import checkpoint_flag, json_flag, set_threads, work_flags
from fewshot_cxr.cli.results import show_result
from fewshot_cxr.cli.sources import read_films, reading_flags, take_reading
from fewshot_cxr.data import cache_films
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.encoders import Encoder, load_encoder
from fewshot_cxr.evaluation import Result, evaluate_plan
from fewshot_cxr.inference import RULES, TRANSDUCTIVE, embed_films, embed_floors, template_options
from fewshot_cxr.inference.embed import with_facts
from fewshot_cxr.records import Records
from fewshot_cxr.storage import write_text

_RULES = ", ".join(f"{name}{' (transductive)' * (name in TRANSDUCTIVE)}" for name in RULES)


@click.command()
@checkpoint_flag
@click.option(
    "--data",
    "source",
    required=True,
    help="Manifest CSV, image folder, or NAME:PATH (names and flags: data read --help).",
)
@click.option("--split", help="Take the films of this split only, such as test.")
@episode_flags
@click.option("--calibrate-split", help="Fit a temperature on this split of the same data; no patient may be in both.")
@click.option("--rule", default="mean_distance", show_default=True, help=f"{_RULES}.")
@click.option("--distance", help=f"{', '.join(DISTANCES)}.  [default: as in training]")
@click.option("--patient-interval/--no-patient-interval", default=True, show_default=True, help="Slower, but quotable.")
@click.option("--floors/--no-floors", default=True, show_default=True, help="Pixels, border and source, classified.")
@click.option("--multi-label", is_flag=True, help="Films may show several findings: tell each from its absence.")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the numbers as CSV.")
@click.option("--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to look at.")
@work_flags
@reading_flags
@json_flag
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    checkpoint: Path,
    json_file: str | None,
    csv_file: Path | None,
    html_file: Path | None,
    **options: Any,
) -> None:
    """Judge an encoder in few-shot episodes, with intervals over patients, beside simple floors.

    Support and query never share a patient.

    \b
    Example: fscxr episode-eval --checkpoint run --data split.csv --split test --n-shot 5 --json result.json
             fscxr episode-eval --checkpoint run --data split.csv --split test --protocol novel --novel covid19
             fscxr episode-eval --checkpoint run --data split.csv --split test --episodes-file test.episodes
    """
    set_threads(options.pop("threads"))
    for flag, file in (("--csv", csv_file), ("--html", html_file)):
        if str(file) == "-":
            raise click.UsageError(f"{flag} takes a file; only --json goes to standard output with -")
    check_outputs(json_file, csv_file, html_file, options["episodes_file"])
    wanted = take_episode_flags(context, options)
    lookup(RULES, options["rule"], what="rule")
    check_distance(options["rule"], options["distance"])
    reading = take_reading(options)
    encoder = load_encoder(checkpoint)
    test, calibration = _films(options, reading)
    learned = template_options(encoder, checkpoint) if options["rule"] == "template" else {}
    result = _judge(_Asked(encoder, test, calibration, learned, options), wanted)
    facts = (("checkpoint", str(checkpoint)), ("films", options["source"]))
    # Files first: a reader of the tables may go before their end (`| head`), and takes the command with it.
    write_result(result.to_json(), json_file)
    if csv_file is not None:
        write_text(csv_file, report.numbers_csv(result))
    if html_file is not None:
        write_text(html_file, report.render_page(report.episode_page(result, facts=facts)))
    show_result(result, is_whole=True, to_stderr=json_file == "-")
    for file in (csv_file, html_file):
        if file is not None:
            say(f"written: {file}")


@dataclass(frozen=True)
class _Asked:
    """The encoder, the films of the test and of the calibration, the rule's options, and the command's others."""

    encoder: Encoder
    test: Records
    calibration: Records | None
    rule_options: dict[str, Any]
    options: dict[str, Any]


def _judge(asked: _Asked, wanted: dict[str, Any]) -> Result:
    options, encoder = asked.options, asked.encoder
    cache = {"folder": options["cache_folder"], "n_workers": options["n_workers"]}
    is_multi_label = options["multi_label"]
    work = {"device": options["device"], "batch_size": options["batch_size"], "is_multi_label": is_multi_label}
    with progress_bars() as progress:
        films = cache_films(asked.test, encoder.image_spec, **cache, progress=partial(progress, "decoding"))
        # Before the films are embedded, which may take long: what the flags ask for may be impossible.
        labels = with_facts(np.zeros((len(films), 1)), films.records, is_multi_label=is_multi_label)
        seen, writing = encoder.card.get("findings"), partial(progress, "writing episodes")
        plan = drawn_or_replayed(labels, wanted, file=options["episodes_file"], seen=seen, progress=writing)
        embeddings = embed_films(encoder, films, **work, progress=partial(progress, "embedding"))
        others = None
        if asked.calibration is not None:
            others = embed_films(encoder, cache_films(asked.calibration, encoder.image_spec, **cache), **work)
        result = evaluate_plan(
            embeddings,
            plan,
            rule=options["rule"],
            distance=options["distance"] or encoder.card.get("distance", "euclidean"),
            rule_options=asked.rule_options,
            floor=embed_floors(films) if options["floors"] and not is_multi_label else None,
            calibrate=others,
            patient_interval=options["patient_interval"],
            device=options["device"],
            progress=partial(progress, "episodes"),
        )
    say_problems(films.records)
    if is_multi_label and options["floors"]:
        say("note: no floors: they are defined where a film shows one finding")
    return result


def _films(options: dict[str, Any], reading: dict[str, Any]) -> tuple[Records, Records | None]:
    """Return the films that are judged, and those that a temperature is fitted on."""
    split, other = options["split"], options["calibrate_split"]
    if other is not None and options["multi_label"]:
        raise click.UsageError("--calibrate-split does not go with --multi-label: there is no probability to calibrate")
    if other is not None and split in (None, other):
        raise click.UsageError(f"--calibrate-split {other} needs another --split for the test, such as test")
    # Reading refuses data whose splits share a film, a patient or a group, so the two are apart.
    records = read_films(options["source"], reading, single_label=not options["multi_label"])
    test = records if split is None else records.of_split(split)
    return test, None if other is None else records.of_split(other)

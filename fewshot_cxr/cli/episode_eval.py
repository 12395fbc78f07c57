"""`fscxr episode-eval`: an encoder evaluated in few-shot episodes, beside the baselines that it must beat."""

from pathlib import Path

import click

from fewshot_cxr import report  # each name loads when it is asked for: no page, no matplotlib
from fewshot_cxr.cli.console import bars_for, say, say_problems, write_page, write_result
from fewshot_cxr.cli.episode_plan import EpisodeFlags, episode_flags
from fewshot_cxr.cli.exemplars import of_split, rule_flags, split_flag, training_films_flag
from fewshot_cxr.cli.flags import batch_compute_flags, checkpoint_flag, data_flag, json_flag
from fewshot_cxr.cli.outputs import check_place, numbers_file, page_file
from fewshot_cxr.cli.results import show_result
from fewshot_cxr.cli.sources import Reading, read_films, reading_flags
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.inference import RULES, TRANSDUCTIVE
from fewshot_cxr.records import Records
from fewshot_cxr.storage import write_text
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.judging import evaluate_in_episodes


@click.command()
@checkpoint_flag
@data_flag
@split_flag
@training_films_flag
@episode_flags
@click.option("--calibrate-split", help="Fit a temperature on this split of the same data; no patient may be in both.")
@rule_flags(f"{name}{' (transductive)' * (name in TRANSDUCTIVE)}" for name in RULES)
@click.option("--patient-interval/--no-patient-interval", default=True, show_default=True, help="Slower, but quotable.")
@click.option(
    "--floors/--no-floors",
    "with_baselines",
    default=True,
    show_default=True,
    help="Pixels, border and source, classified.",
)
@click.option("--multi-label", is_flag=True, help="Films may show several findings: tell each from its absence.")
@click.option("--csv", "csv_file", type=numbers_file, help="Write the numbers as CSV.")
@click.option("--html", "html_file", type=page_file, help="Write a page to look at.")
@batch_compute_flags
@reading_flags
@json_flag
def command(
    *,
    checkpoint: Path,
    source: str,
    split: str | None,
    allow_training_films: bool,
    episodes: EpisodeFlags,
    calibrate_split: str | None,
    rule: ExemplarRule,
    patient_interval: bool,
    with_baselines: bool,
    multi_label: bool,
    csv_file: Path | None,
    html_file: Path | None,
    compute: Compute,
    reading: Reading,
    json_file: str | None,
) -> None:
    """Judge an encoder in few-shot episodes, with intervals over patients, beside simple floors.

    Support and query never share a patient.

    \b
    Example: fscxr episode-eval --checkpoint run --data split.csv --split test --n-shot 5 --json result.json
             fscxr episode-eval --checkpoint run --data split.csv --split test --protocol novel --novel covid19
             fscxr episode-eval --checkpoint run --data split.csv --split test --episodes-file test.episodes
    """
    if episodes.file is not None:
        check_place(episodes.file)
    encoder = load_encoder(checkpoint)
    test, calibration = _films(source, split, calibrate_split, reading, is_multi_label=multi_label)
    with bars_for(compute) as compute:
        result, films = evaluate_in_episodes(
            encoder,
            test,
            episodes.plan,
            rule=rule.for_encoder(encoder, checkpoint),
            calibration=calibration,
            is_multi_label=multi_label,
            with_baselines=with_baselines,
            patient_interval=patient_interval,
            checkpoint=checkpoint,
            allow_training_films=allow_training_films,
            compute=compute,
        )
    say_problems(films)
    if multi_label and with_baselines:
        say("note: no floors: they are defined where a film shows one finding")
    # Files first: a reader of the tables may go before their end (`| head`), and takes the command with it.
    write_result(result.to_json(), json_file)
    if csv_file is not None:
        write_text(csv_file, report.numbers_csv(result))
    if html_file is not None:
        facts = (("checkpoint", str(checkpoint)), ("films", source))
        write_page(html_file, report.render_page(report.episode_page(result, facts=facts)))
    show_result(result, to_stderr=json_file == "-")
    for file in (csv_file, html_file):
        if file is not None:
            say(f"written: {file}")


def _films(
    source: str, split: str | None, calibrate_split: str | None, reading: Reading, *, is_multi_label: bool
) -> tuple[Records, Records | None]:
    """Return the films that are evaluated, and those that a temperature is fitted on."""
    if calibrate_split is not None and is_multi_label:
        raise click.UsageError("--calibrate-split does not go with --multi-label: there is no probability to calibrate")
    # Reading refuses data whose splits share a film, a patient or a group, so the two are apart.
    records = read_films(source, reading, single_label=not is_multi_label)
    test = of_split(records, split, "test", "--split")
    if calibrate_split is not None and any(film.split == calibrate_split for film in test):
        raise click.UsageError(f"--calibrate-split {calibrate_split} needs another --split for the test, such as test")
    return test, None if calibrate_split is None else records.of_split(calibrate_split)

"""`fscxr episode-eval`: an encoder evaluated in few-shot episodes, beside the baselines that it must beat."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from fewshot_cxr import report  # each name loads when it is asked for: no page, no matplotlib
from fewshot_cxr._checks import check_form
from fewshot_cxr._progress import Bar
from fewshot_cxr.cli import flags
from fewshot_cxr.cli.console import bars_for, say, say_problems, say_written, write_page, write_result
from fewshot_cxr.cli.exemplars import of_split, rule_flags, split_flag, training_films_flag
from fewshot_cxr.cli.outputs import check_place, numbers_file, page_file
from fewshot_cxr.cli.results import show_result
from fewshot_cxr.cli.sources import Reading, read_films, reading_flags
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.episodes import POLICIES, PREVALENCES, SavedEpisodes, save_episodes
from fewshot_cxr.evaluation import PROTOCOLS, Plan, plan_episodes
from fewshot_cxr.inference import RULES, TRANSDUCTIVE
from fewshot_cxr.records import Records
from fewshot_cxr.whole_files import write_text
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.judging import Planner, evaluate_in_episodes

_TRAINED = ("closed", "novel", "generalized")  # protocols that say what the encoder was trained on
_COUNT = click.IntRange(1)


def _planner(*, file: Path | None, **given: object) -> Planner:
    """Return what plans the episodes that were asked for, or takes them from the file; what is new is written to it.

    Raises:
        click.UsageError: a flag of the draw beside a file of episodes that is there, or a file that cannot be written.
    """
    typed = [flag for name, flag in flags.given_flags().items() if name in given]
    if file is not None and file.exists() and typed:
        raise click.UsageError(
            f"--episodes-file {file} exists and settles {', '.join(typed)}: leave them out, or name a new file"
        )
    if file is not None:
        check_place(file)
    draw: dict[str, Any] = {name: value for name, value in given.items() if value is not None}

    def planned(films: Embeddings, seen: Sequence[str] | None, progress: Bar | None) -> Plan:
        if file is not None and file.exists():
            return _replayed(SavedEpisodes.load(file, films), seen, file.name)
        plan = plan_episodes(films, seen=seen, **draw)
        if file is not None:
            asked = {"protocol": plan.protocol, "seen": plan.seen, "novel": plan.novel, "notes": plan.notes}
            save_episodes(plan.episodes, films, file, drawn_for=asked, progress=progress)
        return plan

    return planned


def _replayed(episodes: SavedEpisodes, seen: Sequence[str] | None, name: str) -> Plan:
    """Say anew what this encoder was trained on: another one may be judged in the same episodes."""
    asked = episodes.protocol.get("drawn_for", {"protocol": "closed", "seen": [], "novel": [], "notes": []})
    check_form(asked, {"protocol": str, "seen": [str], "novel": [str], "notes": [str]}, f"{name}: protocol.drawn_for")
    protocol, notes = asked["protocol"], [*asked["notes"], f"the episodes were replayed from {name}"]
    if seen is None:
        return Plan(protocol, episodes, tuple(asked["seen"]), tuple(asked["novel"]), tuple(notes))
    class_ids = sorted({int(index) for block in episodes.blocks() for index in np.unique(block.class_ids)})
    findings = [episodes.class_names[index] for index in class_ids]
    trained, novel = (tuple(name for name in findings if (name in seen) == is_seen) for is_seen in (True, False))
    fitting = ("closed",) if not novel else ("novel",) if not trained else ("generalized", "novel")
    if protocol in _TRAINED and protocol not in fitting:
        notes = [f"the episodes were replayed from {name}; they were drawn for the protocol {protocol}"]
        protocol = fitting[0]
    return Plan(protocol, episodes, trained, novel, tuple(notes))


def _shots(context: click.Context, parameter: click.Parameter, text: str | None) -> int | dict[str, int] | None:
    """Read "5", or "covid19=5,normal=20"."""
    if text is None:
        return None
    parts = [part.strip().rpartition("=") for part in text.split(",")]
    counts = {name: number for name, _, number in parts}
    is_one, are_named = len(parts) == 1 and not parts[0][1], all(name and equals for name, equals, _ in parts)
    if not (is_one or are_named) or len(counts) < len(parts) or not all(map(flags.is_count, counts.values())):
        raise click.UsageError(f"--n-shot {text}: a number, or finding=number,... was expected, from 1 up")
    return int(text) if is_one else {name: int(number) for name, number in counts.items()}


# Left None: fixed_support takes none of them, and a file of episodes has its own.
episode_flags = flags.as_one(
    "episodes",
    _planner,
    click.option(
        "--protocol", callback=flags.name_in(PROTOCOLS, "protocol"), help=f"{', '.join(PROTOCOLS)}.  [default: auto]"
    ),
    flags.novel_flag,
    click.option(
        "--unknown", metavar="A,B", callback=flags.comma_names, help='Findings in no episode, asked as "none of these".'
    ),
    click.option("--support-source", help="cross_source: labelled films are of this source."),
    click.option("--query-source", help="cross_source: films to classify.  [default: all other sources]"),
    click.option("--n-folds", type=click.IntRange(2), help="fixed_support: folds.  [default: 5]"),
    click.option("--n-repeats", type=_COUNT, help="fixed_support: divisions into folds.  [default: 20]"),
    flags.ways_flag,
    click.option(
        "--n-shot",
        metavar="N|A=N,B=N",
        callback=_shots,
        help="Labelled films per finding, or of each by name.  [default: 5]",
    ),
    click.option("--n-query", type=_COUNT, help="Films to classify per finding.  [default: 15]"),
    click.option("--n-episodes", type=_COUNT, help="Episodes.  [default: 1000]"),
    click.option(
        "--prevalence",
        callback=flags.name_in(PREVALENCES, "prevalence"),
        help=f"Of queries: {', '.join(PREVALENCES)}.  [default: balanced]",
    ),
    click.option(
        "--if-too-small",
        callback=flags.name_in(POLICIES, "if_too_small"),
        help=f"Findings with few films: {', '.join(POLICIES)}.  [default: error]",
    ),
    click.option(
        "--allow-patient-overlap",
        is_flag=True,
        default=None,
        help="Let a patient be support and query, to measure that leak only.",
    ),
    flags.draw_seed_flag,
    click.option(
        "--episodes-file",
        "file",
        type=flags.file_path,
        help="Replay the episodes of this file; where there is none yet, draw them and write it.",
    ),
)
"""The flags of the draw, and --episodes-file, as `episodes`."""


@click.command()
@flags.checkpoint_flag
@flags.data_flag
@split_flag
@training_films_flag
@episode_flags
@click.option("--calibrate-split", help="Fit a temperature on this split of the same data; no patient may be in both.")
@rule_flags(f"{name}{' (transductive)' * (name in TRANSDUCTIVE)}" for name in RULES)
@click.option("--patient-interval/--no-patient-interval", default=True, help="Slower, but quotable.")
@click.option(
    "--baselines/--no-baselines",
    "--floors/--no-floors",
    "with_baselines",
    default=True,
    help="Pixels, border and source, classified.",
)
@click.option("--multi-label", is_flag=True, help="Films may show several findings: tell each from its absence.")
@click.option("--csv", "csv_file", type=numbers_file, help="Write the numbers as CSV.")
@click.option("--html", "html_file", type=page_file, help="Write a page to look at.")
@flags.batch_compute_flags
@reading_flags
@flags.json_flag
def command(
    *,
    checkpoint: Path,
    source: str,
    split: str | None,
    allow_training_films: bool,
    episodes: Planner,
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
    """Judge an encoder in few-shot episodes, with intervals over patients, beside simple baselines.

    Support and query never share a patient.

    \b
    Example: fscxr episode-eval --checkpoint run --data split.csv --split test --n-shot 5 --json result.json
             fscxr episode-eval --checkpoint run --data split.csv --split test --protocol novel --novel covid19
             fscxr episode-eval --checkpoint run --data split.csv --split test --episodes-file test.episodes
    """
    encoder = load_encoder(checkpoint)
    test, calibration = _films(source, split, calibrate_split, reading, is_multi_label=multi_label)
    with bars_for(compute) as compute:
        result, films = evaluate_in_episodes(
            encoder,
            test,
            episodes,
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
        say("note: no baselines: they are defined where a film shows one finding")
    # Files first: a reader of the tables may go before their end (`| head`), and takes the command with it.
    write_result(result.to_json(), json_file)
    if csv_file is not None:
        write_text(csv_file, report.numbers_csv(result))
    if html_file is not None:
        facts = (("checkpoint", str(checkpoint)), ("films", source))
        write_page(html_file, report.render_page(report.episode_page(result, facts=facts)))
    show_result(result)
    say_written(csv_file, html_file)


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

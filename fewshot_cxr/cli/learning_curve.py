"""`fscxr learning-curve`: how many labelled films are enough, and what more would bring."""

from collections.abc import Callable
from pathlib import Path

import click

from fewshot_cxr import report  # each name loads when it is asked for: no matplotlib without a figure
from fewshot_cxr.cli import flags
from fewshot_cxr.cli.console import bars_for, say_notes, say_problems, say_written, show_tables, write_result
from fewshot_cxr.cli.exemplars import of_split, rule_flags, split_flag, training_films_flag
from fewshot_cxr.cli.outputs import numbers_file, picture_file
from fewshot_cxr.cli.results import show_warnings
from fewshot_cxr.cli.sources import Reading, read_films, reading_flags
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.evaluation.learning_curve import N_QUERY, SHOTS
from fewshot_cxr.inference import RULES, TRANSDUCTIVE
from fewshot_cxr.records import Records
from fewshot_cxr.report.learning_curve_tables import forecast_table, learning_curve_csv, learning_curve_table
from fewshot_cxr.whole_files import write_text
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.learning_curves import CurveQuestion, measure_curve_of_films


def _counts(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Take the numbers out of "1,2,5"."""
    names = flags.comma_names(context, parameter, value)
    if names is None:
        return None
    if not all(map(flags.is_count, names)) or len(set(map(int, names))) < len(names):
        raise click.UsageError(f"{parameter.opts[0]} {value}: distinct numbers from 1 up were expected, as 1,2,5")
    return tuple(map(int, names))


def _question(novel: tuple[str, ...] | None, **given: object) -> CurveQuestion:
    make: Callable[..., CurveQuestion] = CurveQuestion
    return make(novel=novel or (), **given)


question_flags = flags.as_one(
    "question",
    _question,
    click.option(
        "--shots",
        metavar="N,N",
        callback=_counts,
        default=",".join(map(str, SHOTS)),
        help="Labelled films of each finding.",
    ),
    flags.novel_flag,
    click.option(
        "--ahead",
        metavar="N,N",
        callback=_counts,
        help="Forecast these shots.  [default: 20 more than the largest that was measured]",
    ),
    flags.ways_flag,
    click.option("--n-query", type=click.IntRange(1), default=N_QUERY, help="Films to classify per finding."),
    click.option("--n-episodes", type=click.IntRange(1), default=1000, help="Episodes."),
    flags.draw_seed_flag,
)


@click.command()
@flags.checkpoint_flag
@flags.data_flag
@split_flag
@click.option(
    "--support-split",
    metavar="A,B|all",
    callback=flags.comma_names,
    help="Labelled films are of these splits.  [default: of --split]",
)
@training_films_flag
@question_flags
@rule_flags(f"{name}{' (transductive)' * (name in TRANSDUCTIVE)}" for name in RULES)
@click.option("--csv", "csv_file", type=numbers_file, help="Write the numbers as CSV.")
@click.option("--plot", "plot_file", type=picture_file, help="Draw the curve: .png or .svg.")
@flags.batch_compute_flags
@reading_flags
@flags.json_flag
def command(
    *,
    checkpoint: Path,
    source: str,
    split: str | None,
    support_split: tuple[str, ...] | None,
    allow_training_films: bool,
    question: CurveQuestion,
    rule: ExemplarRule,
    csv_file: Path | None,
    plot_file: Path | None,
    compute: Compute,
    reading: Reading,
    json_file: str | None,
) -> None:
    """Measure how accuracy and recalls grow with labelled films, and forecast what more would bring.

    The support of each number of shots is part of the next one's, and all ask the same films. Numbers of shots that the
    patients do not allow are listed and left out.

    \b
    Example: fscxr learning-curve --checkpoint run --data split.csv --split test --novel covid19 --plot curve.png
             fscxr learning-curve --checkpoint run --data split.csv --split test --support-split train,val
    """
    encoder = load_encoder(checkpoint)
    records = read_films(source, reading, single_label=True)
    test = of_split(records, split, "test", "--split")
    support = test if support_split is None else _support(records, support_split)
    asked, labelled = ({film.path for film in side} for side in (test, support))
    with bars_for(compute) as compute:
        curve, films = measure_curve_of_films(
            encoder,
            records.where(lambda film: film.path in asked | labelled),
            question,
            rule=rule.for_encoder(encoder, checkpoint),
            asked=asked,
            support=labelled,
            checkpoint=checkpoint,
            allow_training_films=allow_training_films,
            compute=compute,
        )
    say_problems(films)
    write_result(curve.to_json(), json_file)
    if csv_file is not None:
        write_text(csv_file, learning_curve_csv(curve))
    if plot_file is not None:
        report.save_figure(report.draw_learning_curve(curve)(), plot_file)
    tables = (learning_curve_table(curve), *([forecast_table(curve)] if curve.forecasts else []))
    show_tables(tables)
    say_notes(curve.notes)
    show_warnings(curve.warnings)
    say_written(csv_file, plot_file)


def _support(records: Records, splits: tuple[str, ...]) -> Records:
    """Return the films of several splits; each must have some."""
    if splits == (flags.ALL,):
        return records
    for name in splits:
        records.of_split(name)
    return records.where(lambda film: film.split in splits)

"""Results on the screen: their tables, and predictions with their exemplars."""

from collections.abc import Sequence

import click

from fewshot_cxr.cli.console import say, say_notes, show_tables
from fewshot_cxr.cli.words import spoken
from fewshot_cxr.evaluation import Result
from fewshot_cxr.inference import Prediction
from fewshot_cxr.report import is_alarm, patients_text, reading_text
from fewshot_cxr.report.episode_words import judged_text
from fewshot_cxr.report.finding_tables import result_tables


def show_result(result: Result, *, is_whole: bool = True, to_stderr: bool = False) -> None:
    """Print every table of a result, or only the first two of episodes; then what to beware of."""
    show_tables(result_tables(result)[: None if is_whole else 2], to_stderr=to_stderr)
    if (asked := result.episodes) is not None:
        say(f"{judged_text(result)}; {asked.episodes_per_second:,.0f} episodes/s")
        if asked.n_patient_episodes and result.replicates is not None and result.replicates.influence:
            say(f"interval {result.interval_over}: {patients_text(result)}")
        say(reading_text(result))
    say_notes(result.notes)
    show_warnings(result.warnings)


def show_warnings(warnings: Sequence[str]) -> None:
    """Print warnings on standard error, in yellow, or red where one is an alarm; colour is for a terminal alone."""
    for warning in warnings:
        # Not through rich: a warning holds names of findings, and a name may look like markup.
        click.secho(f"warning: {spoken(warning)}", fg="red" if is_alarm(warning) else "yellow", bold=True, err=True)


def show_prediction(predictions: Sequence[Prediction], *, to_stderr: bool = False) -> None:
    """Print for each film its finding, its distance to every finding, and the nearest exemplars."""
    for prediction in predictions:
        tied = " (tied)" if len(prediction.findings) > 1 else ""
        click.echo(f"{prediction.path}: {' = '.join(prediction.findings)}{tied}", err=to_stderr)
        ranked = sorted(prediction.distances.items(), key=lambda item: item[1])
        click.echo("  distance to each finding, smaller is closer", err=to_stderr)
        for name, distance in ranked:
            click.echo(f"    {distance:.4f}  {name}", err=to_stderr)
        click.echo("  nearest exemplars", err=to_stderr)
        for exemplar in prediction.exemplars:
            click.echo(f"    {exemplar.distance:.4f}  {exemplar.finding}  {exemplar.path}", err=to_stderr)
        for note in prediction.notes:
            click.echo(f"  note: {note}", err=to_stderr)

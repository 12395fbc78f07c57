"""Result values on the screen: accuracy beside its floor, predictions with their exemplars."""

from collections.abc import Sequence

import click

from fewshot_cxr.cli.console import say, show_table
from fewshot_cxr.evaluation import EpisodicResult
from fewshot_cxr.inference import Prediction
from fewshot_cxr.report import accuracy_table, recall_table


def show_result(result: EpisodicResult, *, to_stderr: bool = False) -> None:
    """Print accuracy beside its floor, and the recall of each finding."""
    accuracy, recall = accuracy_table(result), recall_table(result)
    show_table(accuracy.caption, accuracy.columns, accuracy.rows, to_stderr=to_stderr)
    show_table("", recall.columns, recall.rows, to_stderr=to_stderr)
    say(f"{result.n_films} films of {result.n_patients} patients; {result.episodes_per_second:,.0f} episodes/s")
    say("The intervals are over episodes on these films; they do not cover other patients.")


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

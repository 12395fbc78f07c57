"""`fscxr compare`: two results on the same films, and whether they differ by more than chance."""

from pathlib import Path

import click

from fewshot_cxr.cli.console import say, say_notes, show_tables, write_result
from fewshot_cxr.cli.flags import json_flag, there_file
from fewshot_cxr.evaluation import compare_results
from fewshot_cxr.report.compare_tables import comparison_table
from fewshot_cxr.workflows.run_files import read_result, short_names


@click.command()
@click.argument("first", metavar="A.json", type=there_file)
@click.argument("second", metavar="B.json", type=there_file)
@json_flag
def command(*, first: Path, second: Path, json_file: str | None) -> None:
    """Compare two results of episode-eval, or two of evaluate, that were judged on the very same films.

    The difference is A less B, with its 95 % interval over patients and a two-sided p-value. Results on other episodes,
    films or patients are refused.

    \b
    Example: fscxr compare resnet9.json covidnet.json
    """
    name, other = short_names([first, second])
    comparison = compare_results(read_result(first), read_result(second), names=(name, other))
    show_tables([comparison_table(comparison)])
    say_notes(comparison.notes)
    for warning in comparison.warnings:
        say(f"warning: {warning}")
    write_result(comparison.to_json(), json_file)

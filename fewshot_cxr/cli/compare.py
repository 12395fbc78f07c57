"""`fscxr compare`: two results on the same films, and whether they differ by more than chance."""

import json
from pathlib import Path

import click

from fewshot_cxr.cli.console import check_outputs, say, show_table, write_result
from fewshot_cxr.cli.flags import json_flag
from fewshot_cxr.evaluation import Result, compare_results, result_from_json
from fewshot_cxr.report.compare_tables import comparison_table

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("first", metavar="A.json", type=_file)
@click.argument("second", metavar="B.json", type=_file)
@json_flag
def command(*, first: Path, second: Path, json_file: str | None) -> None:
    """Compare two results of episode-eval, or two of evaluate, that were judged on the very same films.

    The difference is A less B, with its 95 % interval over patients and a two-sided p-value. Results on other episodes,
    films or patients are refused.

    \b
    Example: fscxr compare resnet9.json covidnet.json
    """
    check_outputs(json_file)
    names = (first.stem, second.stem) if first.stem != second.stem else (str(first), str(second))
    comparison = compare_results(_read(first), _read(second), names=names)
    table = comparison_table(comparison)
    show_table(table.caption, table.columns, table.rows, to_stderr=json_file == "-")
    for note in comparison.notes:
        say(f"note: {note}")
    for warning in comparison.warnings:
        say(f"warning: {warning}")
    write_result(comparison.to_json(), json_file)


def _read(path: Path) -> Result:
    try:
        return result_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON ({error}); write a result with --json FILE") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error

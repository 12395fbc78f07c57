"""`fscxr explain`: where a network looks, film by film, with pictures and numbers."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fewshot_cxr.cli.console import check_outputs, progress_bars, say, show_table, write_result
from fewshot_cxr.cli.episode_plan import check_distance
from fewshot_cxr.cli.explained_runs import in_whole_film, load_runs
from fewshot_cxr.cli.flags import ALL, count_or_all, json_flag, seed_flag, set_threads, work_flags
from fewshot_cxr.cli.sources import reading_flags
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.explain import METHODS
from fewshot_cxr.report.heat_sections import focus_difference_table, focus_table, gain_text
from fewshot_cxr.workflows.explaining import EXPLAINED_RULES, QUESTIONS, explain_films
from fewshot_cxr.workflows.explaining.erasing import erase_films
from fewshot_cxr.workflows.explaining.explainer import ATTENTION, RunFilms
from fewshot_cxr.workflows.explaining.folder import FOCUS, PAGE, Explanation, write_explanation
from fewshot_cxr.workflows.explaining.overlays import with_strangers
from fewshot_cxr.workflows.explaining.paired_runs import compare_runs

_SOURCE = "manifest CSV, image folder, or NAME:PATH (data read --help)"
_OF_EXEMPLARS = ("support", "support_split", "n_exemplars", "rule", "distance")
_QUESTIONS = "; ".join(f"{name}: {text}" for name, text in QUESTIONS.items())
_N_STEPS = 10
_MOST_AT_ONCE = 64  # films; a map and its gradient take more room than an embedding
_path = click.Path(exists=True, path_type=Path)


def _counted(flag: str, name: str, default: str, text: str) -> Callable[..., Any]:
    return click.option(
        flag, name, metavar="N|all", default=default, show_default=True, callback=count_or_all, help=text
    )


@click.command()
@click.option("--checkpoint", type=_path, help="Run folder or encoder file.")
@click.option("--classifier", type=_path, help="Run folder or encoder file with a classifier; it needs no exemplars.")
@click.option("--data", "source", required=True, help=f"Films to explain: {_SOURCE}.")
@click.option("--split", help="Take the films of this split.  [default: test, where there is one]")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder to write.")
@click.option("--support", help=f"Labelled films to compare with: {_SOURCE}.  [default: --data]")
@click.option("--support-split", help="Take these of the support only.  [default: train, where there is one]")
@_counted("--n-exemplars", "n_exemplars", ALL, "Per finding, by seed.")
@click.option("--rule", default="mean_distance", show_default=True, help=f"{', '.join(EXPLAINED_RULES)}.")
@click.option("--distance", help=f"{', '.join(DISTANCES)}.  [default: as in training]")
@click.option(
    "--question", default="", help=f"{_QUESTIONS}; finding:NAME: for NAME.  [default: contrast; decision for cam]"
)
@click.option("--method", default="grad_cam", show_default=True, help=f"{', '.join(METHODS)}.")
@click.option("--layer", help="Whose map is drawn.  [default: the encoder's own]")
@click.option("--masks", "mask_folder", type=_path, help="Folder of lung masks.  [default: those that the data names]")
@_counted("--overlays", "n_overlays", "6", "Films of each finding that are shown, half of them the worst.")
@click.option(
    "--deletion", "n_covered", default=32, show_default=True, type=click.IntRange(0), help="Films covered bit by bit."
)
@click.option("--versus", type=_path, help="Another run of the same kind: where does it look on the same films?")
@seed_flag
@work_flags
@reading_flags
@json_flag
def command(*, out: Path, json_file: str | None, **options: Any) -> None:
    """Map where a network looks on each film, and measure the share in the lungs, at the border and in the corners.

    An encoder decides by labelled exemplars of other patients, or a classifier decides by itself. Writes
    OUT/explain.html, focus.csv (every film, worst first), focus_summary.csv and .json, overlays/, sheets/ and charts.

    \b
    Example: fscxr explain --checkpoint run --data split.csv --out heat
             fscxr explain --classifier run --data split.csv --question why --masks masks --out heat
             fscxr explain --checkpoint run --versus cropped --data split.csv --out heat
    """
    _check(out, json_file, options)
    set_threads(options["threads"])
    with progress_bars() as progress:
        runs = load_runs(options, progress)
        explanation = _explain(runs, options, progress)
        drawn = partial(progress, "overlays")
        write_explanation(out, explanation, n_overlays=options["n_overlays"], progress=drawn)
    _show(explanation, to_stderr=json_file == "-")
    say(f"written: {out / PAGE} (open it in a browser), {FOCUS}, overlays, sheets, charts")
    write_result(explanation.to_json(), json_file)


def _check(out: Path, json_file: str | None, options: dict[str, Any]) -> None:
    """Refuse, before any work is done, flags that do not go together; attention explains no number to be deleted."""
    check_outputs(json_file, out / PAGE)
    if (out / PAGE).exists():
        raise click.UsageError(f"{out} holds an explanation already: name another folder (--out)")
    if (options["checkpoint"] is None) == (options["classifier"] is None):
        raise click.UsageError("name an encoder (--checkpoint) or a classifier (--classifier), one of them")
    context = click.get_current_context()
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    given = [name for name in flags if name and context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if options["classifier"] is not None and (idle := [flags[name] for name in given if name in _OF_EXEMPLARS]):
        raise click.UsageError(f"{', '.join(idle)} does not go with --classifier: it compares with no exemplars")
    check_distance(options["rule"], options["distance"])
    if options["method"] == ATTENTION:
        if "n_covered" in given and options["n_covered"]:
            raise click.UsageError("--deletion does not go with --method attention: it explains no number")
        options["n_covered"] = 0


def _explain(runs: list[RunFilms], options: dict[str, Any], progress: Callable[[str, int, int], None]) -> Explanation:
    run, seed = runs[0], options["seed"]
    size = min(options["batch_size"], _MOST_AT_ONCE)
    report = with_strangers(explain_films(run, batch_size=size, progress=partial(progress, "heat")), run.explainer)
    erasure = paired = None
    if options["n_covered"]:
        asked = {"n_films": options["n_covered"], "n_steps": _N_STEPS, "seed": seed}
        erasure = erase_films(run, **asked, progress=partial(progress, "covering films"))
    if len(runs) > 1:
        whole = [in_whole_film(one, options["mask_folder"]) for one in runs]
        paired = compare_runs(*whole, seed=seed, cache_folder=options["cache_folder"], progress=progress)
    return Explanation(run, report, erasure, paired, seed)


def _show(explanation: Explanation, *, to_stderr: bool) -> None:
    tables = [focus_table(explanation.report.summary)]
    if explanation.paired is not None:
        paired = explanation.paired
        tables.append(focus_difference_table(paired.rows, paired.names))
        if paired.inner_rows:
            tables.append(focus_difference_table(paired.inner_rows, paired.names, is_inner=True))
    for table in tables:
        show_table(table.caption, table.columns, table.rows, to_stderr=to_stderr)
        for name, why in table.below:
            say(f"{name}: {why}")
    if explanation.erasure is not None:
        say(f"covering films changes the score: {explanation.erasure.score}")
        for row in explanation.erasure.gains():
            say(f"{row.mode}: {gain_text(row)}")
    for note in explanation.report.notes:
        say(f"note: {note}")

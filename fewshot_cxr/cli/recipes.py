"""`fscxr recipes`: the published systems, each one command."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from fewshot_cxr.cli import console
from fewshot_cxr.cli.app import Group
from fewshot_cxr.cli.flags import compute_flags, json_flag, resume_flag, run_folder_flag, seed_flag, there_path
from fewshot_cxr.cli.outputs import keeps_paths
from fewshot_cxr.cli.results import show_warnings
from fewshot_cxr.cli.sources import reader_and_path
from fewshot_cxr.report.finding_tables import result_tables
from fewshot_cxr.report.tables import interval_text, number_text, value_text
from fewshot_cxr.workflows import recipes
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.run_names import RECIPE_FILES

set_flag = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="key=value of the recipe, such as training.n_epochs=5, or n_epochs=5 where that names one key. Repeatable.",
)


@click.group(cls=Group)
def command() -> None:
    """Run the published systems, each corrected, or as published.

    \b
    Example: fscxr recipes list
             fscxr recipes show resnet9-triplet
             fscxr recipes run resnet9-triplet --data coronahack:/data/coronahack --out run
    """


@command.command("list")
def list_recipes() -> None:
    """List the recipes: system, trainer, data, and what was reported.

    \b
    Example: fscxr recipes list
    """
    found = [recipes.load_recipe(name) for name in recipes.recipe_names()]
    rows = [(one.name, str(one.system), one.trainer, " + ".join(one.data), one.reported) for one in found]
    console.show_table("Recipes", ("recipe", "system", "trainer", "data", "reported"), rows)


@command.command()
@click.argument("name")
@click.option("--published", is_flag=True, help="With the published settings laid over.")
@set_flag
def show(*, name: str, published: bool, settings: Sequence[str]) -> None:
    """Print the file of a recipe; with --published or --set, the settings of such a run.

    \b
    Example: fscxr recipes show covidnet-siamese --published
    """
    recipe = recipes.load_recipe(name)
    if not published and not settings:
        click.echo(recipe.text, nl=False)
        return
    given = dict(map(recipes.parse_setting, settings))
    click.echo(recipes.settled(recipe, published=published, settings=given).to_toml(), nl=False)


@command.command()
@click.argument("name")
@click.option(
    "--data",
    "sources",
    required=True,
    multiple=True,
    help="NAME:PATH as for `data read`, or a manifest CSV; one for each data set of the recipe, or any other films.",
)
@run_folder_flag
@set_flag
@click.option("--published", is_flag=True, help="Take the published settings, where they lead to no wrong number.")
@click.option("--smoke", is_flag=True, help="A trial: one epoch at 64 px; with --published two steps at full size.")
@click.option("--expect", is_flag=True, help="Say whether the result is what the publication says.")
@click.option("--start-from", type=there_path, help="Run folder of the recipe that this one follows.")
@click.option(
    "--keep-out", type=there_path, help="Manifest: leave the patients of its test and val out of the training."
)
@resume_flag
@seed_flag
@compute_flags
@json_flag
def run(
    *,
    name: str,
    sources: Sequence[str],
    out: Path,
    settings: Sequence[str],
    published: bool,
    smoke: bool,
    expect: bool,
    start_from: Path | None,
    keep_out: Path | None,
    resume: bool,
    seed: int,
    compute: Compute,
    json_file: str | None,
) -> None:
    """Train by a recipe and judge on test films, once.

    Writes OUT/result.json, split.csv, recipe.toml, the encoder, tables/ and figures/. Two recipes on the same films
    with the same seed have the same test films: fscxr compare A/result.json B/result.json.

    \b
    Example: fscxr recipes run resnet9-triplet --data coronahack:/data/coronahack --out run
             fscxr recipes run resnet9-triplet --data films.csv --out run --set n_epochs=5
             fscxr recipes run chestxray15 --data chestxray14:/nih --data covid_chestxray:/cohen --out run
    """
    console.check_no_run(out, resume=resume)
    recipe, given = recipes.load_recipe(name), dict(map(recipes.parse_setting, settings))
    recipes.settled(recipe, published=published, smoke=smoke, settings=given)  # a slip, before work
    with console.run_folder(out, resume=resume, more=RECIPE_FILES), console.bars_for(compute) as compute:
        done = recipes.run_recipe(
            recipe,
            [(reader, Path(path)) for reader, path in map(reader_and_path, sources)],
            out=out,
            published=published,
            smoke=smoke,
            expect=expect,
            settings=given,
            start_from=start_from,
            keep_out=keep_out,
            resume=resume,
            seed=seed,
            compute=compute,
            keep_paths=keeps_paths(),
        )
    _show(done)
    console.write_result(done.result.to_json(), json_file)


@command.command()
@click.argument("names", nargs=-1)
@click.option(
    "--data-root",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Holds the folders covidx, coronahack, covid19_radiography, chestxray14 and ieee8023.",
)
@click.option("--only", type=click.Choice(recipes.VARIANTS), help="One variant.  [default: both]")
@seed_flag
@compute_flags
@json_flag
def check(
    *, names: Sequence[str], data_root: Path, only: str | None, seed: int, compute: Compute, json_file: str | None
) -> None:
    """Try recipes (all, if none is named) on small data sets, corrected and as published, and print one table.

    \b
    Example: fscxr recipes check --data-root layouts
             fscxr recipes check resnet9-triplet effnet --data-root layouts --only published
    """
    rows = []
    with console.progress_bars() as progress:
        variants = recipes.VARIANTS if only is None else (only,)
        for row in recipes.check_recipes(data_root, names, variants=variants, seed=seed, compute=compute):
            rows.append(row)
            console.say(f"{row.recipe} ({row.variant}): {row.error or row.number}, {row.seconds:.0f} s")
            n_all = len(names or recipes.recipe_names()) * len(variants)
            progress("recipes", len(rows), n_all)
    console.show_table("Recipes", ("recipe", "variant", "seconds", "films", "result", ""), list(map(_cells, rows)))
    failed = [row for row in rows if row.error]
    for row in failed:
        console.say(f"failed: {row.recipe} ({row.variant}): {row.error}")
    console.write_result([asdict(row) for row in rows], json_file)
    if failed:
        click.get_current_context().exit(1)


def _cells(row: recipes.CheckRow) -> tuple[str, ...]:
    films = "/".join(map(str, row.n_films.values()))
    return row.recipe, row.variant, f"{row.seconds:.0f}", films, row.number, "failed" if row.error else "ok"


def _show(done: recipes.RecipeResult) -> None:
    console.say_notes(done.notes)
    for table in result_tables(done.result):
        console.show_table(table.caption, table.columns, table.rows)
    show_warnings(done.result.warnings)
    if done.episodes is not None:
        episodes = done.episodes
        console.say(f"{episodes.asked.n_way}-way episodes on the test films: accuracy {value_text(episodes.accuracy)}")
    counts = ", ".join(f"{part} {count}" for part, count in done.n_films.items())
    console.say(f"films: {counts}; best epoch {done.trained.card['best_epoch']} of {len(done.trained.history)}")
    console.say(f"reported by the paper, on its own films: {done.recipe.reported}")
    if done.verdict is not None:
        console.say(_verdict_text(done.verdict))
    console.say(f"written: {done.out}, in {done.seconds:.0f} s")


def _verdict_text(found: recipes.Verdict) -> str:
    published, form = found.published, "share" if found.published.n_films else "plain"
    theirs = f"{published.number} {number_text(published.value, form)}"
    if published.n_films:
        theirs += f" ({interval_text(published.interval, form)} for its {published.n_films:,} films)"
    ours = f"{number_text(found.found, form)} ({interval_text(found.ci95, form)})"
    gap = f"{number_text(found.difference, 'signed')} ({interval_text(found.difference_ci95, 'signed')})"
    return f"published: {theirs}; here {ours}; difference {gap}: {found.verdict}"

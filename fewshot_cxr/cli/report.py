"""`fscxr report`: one page on runs and results, to read, print and send."""

from pathlib import Path

import click

from fewshot_cxr.cli.console import bars_for, say, say_notes, say_problems, write_page
from fewshot_cxr.cli.exemplars import of_split, refuse_shared_patients
from fewshot_cxr.cli.flags import compute_flags, seed_flag
from fewshot_cxr.cli.outputs import keep_paths_flag, overwrite_flag, page_file
from fewshot_cxr.cli.sources import Reading, read_films, reader_and_path, reading_flags
from fewshot_cxr.data import support_films
from fewshot_cxr.report import render_page
from fewshot_cxr.report.checklist import CHECKLISTS
from fewshot_cxr.report.run_page import LEFT_OUT
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.run_report import GivenFilms, report_page


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="RUN_OR_JSON...", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=page_file, help="The page to write (HTML).")
@click.option("--data", "source", help="Films to show.  [default: those of the split.csv of the first run]")
@click.option("--split", help="Show the films of this split.  [default: test, where there is one]")
@click.option("--support-split", help="Labelled films for heat maps.  [default: train, where there is one]")
@click.option(
    "--title", default="", show_default=False, help="Of the page.  [default: the names of the runs and results]"
)
@click.option(
    "--checklist", type=click.Choice(sorted(CHECKLISTS)), help="Fill this reporting checklist with what is known."
)
@overwrite_flag
@keep_paths_flag
@seed_flag
@compute_flags
@reading_flags
def command(
    *,
    sources: tuple[Path, ...],
    out: Path,
    source: str | None,
    split: str | None,
    support_split: str | None,
    title: str,
    checklist: str | None,
    seed: int,
    compute: Compute,
    reading: Reading,
) -> None:
    """Write one page on runs and results: numbers, curves, films, where the network looks, comparisons.

    It takes run folders and JSON files of episode-eval, evaluate, compare, learning-curve and data audit, in any mix.
    The page needs no network and prints. What is missing is told on it, with the flag that brings it in.

    \b
    Example: fscxr report run --out report.html
             fscxr report run result.json audit.json --checklist claim --out report.html
             fscxr report run result.json audit.json --data films.csv --split test --out report.html
             fscxr report a.json b.json --out comparison.html
    """
    given = None
    if source is not None:
        given = _films(source, split, support_split, reading)
    elif split is not None or support_split is not None or reading != Reading():
        raise click.UsageError("--split, --support-split and the reading flags go with --data: name the films")
    with bars_for(compute) as compute:
        page = report_page(sources, given=given, title=title, checklist=checklist, seed=seed, compute=compute)
        text = render_page(page)
    write_page(out, text)
    for section in (part for whole in page.sections for part in whole.parts()):
        if section.heading == LEFT_OUT:
            say_notes(section.paragraphs)
    say(f"written: {out}, {len(text.encode(errors='backslashreplace')) / 1e6:.1f} MB")


def _films(source: str, split: str | None, support_split: str | None, reading: Reading) -> GivenFilms:
    """Return the films to show and, where the data has any beside them, labelled ones."""
    records = read_films(source, reading, single_label=True)
    say_problems(records)
    test = of_split(records, split, "test", "--split")
    splits = {film.split for film in records}
    if support_split is None and ("train" not in splits or all(film.split == "train" for film in test)):
        return GivenFilms(test)
    support = support_films(records, support_split)
    say_notes(support.notes[len(records.notes) :])
    reader, _ = reader_and_path(source)
    refuse_shared_patients({"test": (test, reader), "support": (support, reader)})
    return GivenFilms(test, support)

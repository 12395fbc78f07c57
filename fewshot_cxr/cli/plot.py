"""`fscxr plot`: one figure of a result, a training, films or embeddings, as a PNG file."""

from dataclasses import replace
from pathlib import Path

import click

from fewshot_cxr._checks import lookup
from fewshot_cxr._kinds import SPLIT
from fewshot_cxr.cli.console import bars_for, say, say_problems, write_page
from fewshot_cxr.cli.flags import as_one, batch_compute_flags, encoder_path, given_flags, seed_flag, there_file
from fewshot_cxr.cli.outputs import figure_file, keep_paths_flag, overwrite_flag
from fewshot_cxr.cli.sources import READING, Reading, read_films, read_sources, reading_flags
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.report import save_figure
from fewshot_cxr.visualise import THEMES
from fewshot_cxr.visualise.projection import DISTANCES as MAP_DISTANCES
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.plots import PLOTS, PlotInputs, PlotKind, PlotOptions
from fewshot_cxr.workflows.plots.maps import COLOURS, METHODS, PUBLISHED
from fewshot_cxr.workflows.plots.table import EMBEDDINGS, FILMS, HISTORY, MAKES, MAPS, RESULT
from fewshot_cxr.workflows.run_files import read_history, read_result

_ANY_KIND = ("kind", "sources", "out", "theme", "title", "help")
_WITH_CHECKPOINT = ("split", "device", "batch_size", "n_workers", "threads")
_DRAWN_FROM = {RESULT: "a result", HISTORY: "a run folder", FILMS: "films", EMBEDDINGS: "embeddings"}
_HELP = f"""Draw one figure of KIND from SOURCE, at the width of a page.

{chr(8)}
{chr(10).join(f"{name:14}{kind.shows} (of {_DRAWN_FROM[kind.source]})" for name, kind in PLOTS.items())}

A result is a JSON file of evaluate or episode-eval, or the folder of a recipe; embeddings are a file of embed, or
--checkpoint with --data. Where films themselves are drawn beside embeddings, or coloured by split, --data names them.
A projection saved as .html is a page to explore: it pans, zooms, and shows the film under the pointer.

{chr(8)}
Example: fscxr plot confusion result.json --out confusion.png
         fscxr plot samples split.csv --out samples.png
         fscxr plot projection --checkpoint run --data split.csv --split test --method pca --out map.png
         fscxr plot projection test.safetensors --data split.csv --out map.html
"""


def _check_suffix(kind: str, plot: PlotKind, out: Path) -> None:
    if out.suffix.lower() == ".html" and plot.explore is None:
        explored = ", ".join(name for name, one in PLOTS.items() if one.explore is not None)
        raise click.UsageError(f"--out {out}: {kind} is saved as .png; a page to explore is made of {explored} alone")
    if not out.suffix:
        raise click.UsageError(f"--out {out}: figures are saved as .png, and a projection to explore as .html")


@click.command(help=_HELP)
@click.argument("kind")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--out", required=True, type=figure_file, help="A .png; of projection also .html.")
@as_one(
    "look",
    PlotOptions,
    click.option("--theme", type=click.Choice(sorted(THEMES)), default="light"),
    click.option("--title", default="", show_default=False, help="Above the figure."),
    seed_flag,
    click.option("--method", default="tsne", help=f"projection: {', '.join(METHODS)}."),
    click.option("--colour", default="finding", help=f"projection, som: {', '.join(COLOURS)}."),
)
@click.option(
    "--before",
    type=there_file,
    help="projection: embeddings of the same films by another encoder, drawn beside.",
)
@click.option(
    "--film", "queries", multiple=True, metavar="PATH", help="neighbours, ranks: this film, as the data names it."
)
@click.option(
    "--distance",
    help=f"neighbours, ranks: {', '.join(DISTANCES)}; projection, som, som-distance: {', '.join(MAP_DISTANCES)}.  "
    "[default: as in training, or euclidean]",
)
@click.option("--checkpoint", type=encoder_path, help="Run folder or encoder file.")
@click.option("--data", help="Films of the embeddings: manifest CSV, image folder, or NAME:PATH (data read --help).")
@click.option("--split", help="--checkpoint: embed the films of this split only.")
@overwrite_flag
@keep_paths_flag
@batch_compute_flags
@reading_flags
def command(
    *,
    kind: str,
    sources: tuple[str, ...],
    out: Path,
    look: PlotOptions,
    before: Path | None,
    queries: tuple[str, ...],
    distance: str | None,
    checkpoint: Path | None,
    data: str | None,
    split: str | None,
    compute: Compute,
    reading: Reading,
) -> None:
    """Draw one figure; what the kinds are is said in the help."""
    plot = lookup(PLOTS, kind, what="kind of figure")
    _check_suffix(kind, plot, out)
    _refuse_idle_flags(kind, plot, out, look.method, is_embedding=checkpoint is not None)
    with bars_for(compute) as compute:
        if plot.source == EMBEDDINGS and checkpoint is not None:
            if sources or data is None:
                raise click.UsageError(f"{kind}: --checkpoint goes with --data, and with no other source")
            inputs, trained_by = _embedded_now(checkpoint, data, split, reading, compute)
        else:
            inputs, trained_by = _inputs(kind, plot, sources, data, reading), "euclidean"
        if before is not None:
            inputs = replace(inputs, before=_load("projection", before))
        if kind in MAPS and trained_by not in (*MAP_DISTANCES, "squared_euclidean"):
            say(f"note: {kind} knows no distance {trained_by}, by which the encoder was trained: euclidean is taken")
            trained_by = "euclidean"
        look = replace(
            look,
            queries=queries,
            distance=distance or trained_by,
            cache_folder=compute.cache_folder,
            progress=compute.report(kind),
        )
        if plot.explore is not None and out.suffix.lower() == ".html":
            write_page(out, plot.explore(inputs, look))
            say(f"written: {out}, {kind} of {inputs.name}, to explore in a browser")
            return
        figure = plot.draw(inputs, look)
    save_figure(figure, out)
    width, height = figure.get_size_inches()
    say(f"written: {out}, {kind} of {inputs.name}, {width:.1f} x {height:.1f} inches")


def _refuse_idle_flags(kind: str, plot: PlotKind, out: Path, method: str, *, is_embedding: bool) -> None:
    """Refuse flags that would change nothing in this kind of figure."""
    heeded = {*_ANY_KIND, *plot.heeds}
    if plot.source in (FILMS, EMBEDDINGS):
        heeded |= {*READING, "cache_folder"}
    if plot.source == EMBEDDINGS:
        heeded |= {"checkpoint", "data", *(_WITH_CHECKPOINT if is_embedding else ())}
    if method == PUBLISHED:
        heeded -= {"seed"}  # it has its own
    if out.suffix.lower() == ".html":
        heeded -= {"theme"}  # the reader's browser chooses
    idle = [flag for name, flag in given_flags().items() if name not in heeded]
    if idle:
        raise click.UsageError(f"{', '.join(idle)} would change nothing in {kind} of {_DRAWN_FROM[plot.source]}")


def _inputs(kind: str, plot: PlotKind, sources: tuple[str, ...], data: str | None, reading: Reading) -> PlotInputs:
    """Read what the figure is drawn from."""
    if not sources or (len(sources) > 1 and plot.source != FILMS):
        raise click.UsageError(f"{kind} is drawn from {MAKES[plot.source]}; got {len(sources) or 'no'} sources")
    if plot.source == FILMS:
        for source in sources:
            if (Path(source) / SPLIT).is_file():  # it holds pictures, but no films
                raise click.UsageError(f"{source} is a run folder; its films are in {Path(source) / 'split.csv'}")
        films = read_sources(sources, reading, as_splits=True)
        say_problems(films)
        return PlotInputs(name=", ".join(sources), films=films)
    path = Path(sources[0])
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; {kind} is drawn from {MAKES[plot.source]}")
    if plot.source == RESULT:
        return PlotInputs(name=str(path), result=read_result(path))
    if plot.source == HISTORY:
        history, best_epoch = read_history(path)
        return PlotInputs(name=str(path), history=history, best_epoch=best_epoch)
    films_of = None if data is None else read_films(data, reading, allow_leak=True)
    return PlotInputs(name=str(path), embeddings=_load(kind, path), films=films_of)


def _load(kind: str, path: Path) -> Embeddings:
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: {kind} is drawn from {MAKES[EMBEDDINGS]}")
    try:
        return Embeddings.load(path)
    except ValueError as error:
        raise ValueError(f"{error}; {kind} is drawn from {MAKES[EMBEDDINGS]}") from error


def _embedded_now(
    checkpoint: Path, data: str, split: str | None, reading: Reading, compute: Compute
) -> tuple[PlotInputs, str]:
    """Embed the films; return them, and the distance that the encoder was trained by."""
    encoder = load_encoder(checkpoint)
    records = read_films(data, reading, single_label=True, allow_leak=True)
    films = compute.decode(records if split is None else records.of_split(split), encoder.image_spec)
    embedded = compute.embed(encoder, films)
    say_problems(films.records)
    inputs = PlotInputs(name=f"{data} by {checkpoint}", embeddings=embedded, films=films.records)
    return inputs, encoder.card.get("distance", "euclidean")

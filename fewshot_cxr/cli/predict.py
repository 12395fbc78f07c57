"""`fscxr predict`: what is nearest to a new film, and which exemplars say so."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from fewshot_cxr.cli.console import progress_bars, say, say_problems, write_result
from fewshot_cxr.cli.flags import checkpoint_flag, json_flag, seed_flag, set_threads, work_flags
from fewshot_cxr.cli.results import show_prediction
from fewshot_cxr.cli.sources import read_films, reading_flags, take_reading
from fewshot_cxr.data import cache_films, is_image_name
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.inference import RULES, embed_files, embed_films, predict, sample_exemplars, template_options
from fewshot_cxr.records import Records


@click.command()
@click.argument("films", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@checkpoint_flag
@click.option(
    "--support", required=True, help="Labelled films: manifest CSV, image folder, or NAME:PATH (data read --help)."
)
@click.option("--support-split", help="Take these of the support only.  [default: train, where there is one]")
@click.option(
    "--n-exemplars", default=20, show_default=True, type=click.IntRange(1), help="Per finding, drawn by seed."
)
@click.option("--n-nearest", default=3, show_default=True, type=click.IntRange(1), help="Exemplars shown.")
@click.option("--rule", default="mean_distance", show_default=True, help=f"{', '.join(RULES)}.")
@click.option("--distance", help=f"{', '.join(DISTANCES)}.  [default: as in training]")
@seed_flag
@work_flags
@reading_flags
@json_flag
def command(
    *,
    films: tuple[Path, ...],
    checkpoint: Path,
    support: str,
    support_split: str | None,
    n_exemplars: int,
    json_file: str | None,
    **options: Any,
) -> None:
    """Name the finding of FILMS (files, or folders of films) by their distance to labelled exemplars.

    Distances are in the unit of the embedding: smaller is closer. They are not probabilities.

    \b
    Example: fscxr predict new.png --checkpoint run --support split.csv --n-exemplars 20
    """
    set_threads(options.pop("threads"))
    cache = {"folder": options.pop("cache_folder"), "n_workers": options.pop("n_workers")}
    work = {"device": options.pop("device"), "batch_size": options.pop("batch_size")}
    encoder = load_encoder(checkpoint)
    labelled = _support(read_films(support, take_reading(options), single_label=True), support_split)
    exemplars = sample_exemplars(labelled, n_exemplars, seed=options.pop("seed"))
    with progress_bars() as progress:
        cached = cache_films(exemplars, encoder.image_spec, **cache)
        known = embed_films(encoder, cached, **work)
        vectors, read, problems = embed_files(encoder, _files(films), **work, progress=partial(progress, "films"))
    distance = options.pop("distance") or encoder.card.get("distance", "euclidean")
    learned = template_options(encoder, checkpoint) if options["rule"] == "template" else {}
    names = [str(path) for path in read]
    predictions = predict(vectors, names, known, distance=distance, options=learned, **options)
    say_problems(cached.records)
    for problem in problems:
        say(f"left out: {problem.path}: {problem.reason}")
    show_prediction(predictions, to_stderr=json_file == "-")
    write_result([prediction.to_json() for prediction in predictions], json_file)


def _support(records: Records, split: str | None) -> Records:
    if split is None and any(film.split == "train" for film in records):
        say("note: exemplars come from the split train (--support-split)")
        split = "train"
    return records if split is None else records.of_split(split)


def _files(films: tuple[Path, ...]) -> list[Path]:
    files: list[Path] = []
    for path in films:
        inside = sorted(file for file in path.rglob("*") if is_image_name(file.name)) if path.is_dir() else [path]
        files += inside
    return files

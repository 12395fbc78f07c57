"""`fscxr episode-eval`: accuracy in few-shot episodes, beside the floor that pixels alone reach."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from fewshot_cxr.cli.console import progress_bars, say_problems, write_result
from fewshot_cxr.cli.flags import checkpoint_flag, json_flag, seed_flag, set_threads, work_flags
from fewshot_cxr.cli.results import show_result
from fewshot_cxr.cli.sources import read_films, reading_flags, take_reading
from fewshot_cxr.data import cache_films
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.evaluation import evaluate_episodes
from fewshot_cxr.inference import RULES, embed_films, embed_pixels


@click.command()
@checkpoint_flag
@click.option(
    "--data",
    "source",
    required=True,
    help="Manifest CSV, image folder, or NAME:PATH (names and flags: data read --help).",
)
@click.option("--split", help="Take the films of this split only, such as test.")
@click.option("--n-way", type=click.IntRange(2), help="Findings in an episode.  [default: all]")
@click.option("--n-shot", default=5, show_default=True, type=click.IntRange(1), help="Labelled films per finding.")
@click.option("--n-query", default=15, show_default=True, type=click.IntRange(1), help="Films to classify per finding.")
@click.option("--n-episodes", default=1000, show_default=True, type=click.IntRange(1), help="Episodes.")
@click.option("--rule", default="mean_distance", show_default=True, help=f"{', '.join(RULES)}.")
@click.option("--distance", help=f"{', '.join(DISTANCES)}.  [default: as in training]")
@seed_flag
@work_flags
@reading_flags
@json_flag
def command(
    *, checkpoint: Path, source: str, split: str | None, distance: str | None, json_file: str | None, **options: Any
) -> None:
    """Judge an encoder in few-shot episodes; support and query never share a patient.

    \b
    Example: fscxr episode-eval --checkpoint run --data split.csv --split test --n-way 3 --n-shot 5 --json result.json
    """
    set_threads(options.pop("threads"))
    cache = {"folder": options.pop("cache_folder"), "n_workers": options.pop("n_workers")}
    work = {"device": options.pop("device"), "batch_size": options.pop("batch_size")}
    encoder = load_encoder(checkpoint)
    records = read_films(source, take_reading(options), single_label=True)
    records = records if split is None else records.of_split(split)
    with progress_bars() as progress:
        films = cache_films(records, encoder.image_spec, **cache, progress=partial(progress, "decoding"))
        embeddings = embed_films(encoder, films, **work, progress=partial(progress, "embedding"))
        result = evaluate_episodes(
            embeddings,
            distance=distance or encoder.card.get("distance", "euclidean"),
            floor=embed_pixels(films),
            progress=partial(progress, "episodes"),
            **options,
        )
    say_problems(films.records)
    show_result(result, to_stderr=json_file == "-")
    write_result(result.to_json(), json_file)

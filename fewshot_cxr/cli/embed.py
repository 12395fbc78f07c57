"""`fscxr embed`: embeddings of films in one file."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from fewshot_cxr.cli.console import progress_bars, say, say_problems
from fewshot_cxr.cli.flags import checkpoint_flag, set_threads, work_flags
from fewshot_cxr.cli.sources import read_films, reading_flags, take_reading
from fewshot_cxr.data import cache_films
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.inference import embed_films


@click.command()
@checkpoint_flag
@click.option(
    "--data",
    "source",
    required=True,
    help="Manifest CSV, image folder, or NAME:PATH (names and flags: data read --help).",
)
@click.option("--split", help="Take the films of this split only.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="A .safetensors file.")
@work_flags
@reading_flags
def command(checkpoint: Path, source: str, split: str | None, out: Path, **options: Any) -> None:
    """Embed films, each once, into a safetensors file (vectors, findings, patients, paths).

    \b
    Example: fscxr embed --checkpoint run --data split.csv --split test --out test.safetensors
    """
    set_threads(options.pop("threads"))
    encoder = load_encoder(checkpoint)
    records = read_films(source, take_reading(options), single_label=True)
    records = records if split is None else records.of_split(split)
    with progress_bars() as progress:
        cache = {"folder": options["cache_folder"], "n_workers": options["n_workers"]}
        films = cache_films(records, encoder.image_spec, **cache, progress=partial(progress, "decoding"))
        work = {"device": options["device"], "batch_size": options["batch_size"]}
        embeddings = embed_films(encoder, films, **work, progress=partial(progress, "embedding"))
    embeddings.save(out)
    say_problems(films.records)
    say(f"written: {out}, {len(embeddings)} films, dim {embeddings.vectors.shape[1]}")

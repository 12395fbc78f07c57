"""`fscxr embed`: embeddings of films in one file."""

from pathlib import Path

import click

from fewshot_cxr import engines
from fewshot_cxr.cli.console import bars_for, say, say_notes, say_problems
from fewshot_cxr.cli.flags import batch_compute_flags, checkpoint_flag, data_flag
from fewshot_cxr.cli.outputs import embeddings_file, overwrite_flag
from fewshot_cxr.cli.shards import Sharding, make_shards, say_shards, shards_flags
from fewshot_cxr.cli.sources import Reading, read_films, reading_flags
from fewshot_cxr.encoders import Encoder, load_encoder
from fewshot_cxr.workflows.compute import Compute


@click.command()
@checkpoint_flag
@data_flag
@click.option("--split", help="Take the films of this split only.")
@click.option("--out", type=embeddings_file, help="A .safetensors, .csv or .npy file; of shards, if wanted.")
@shards_flags
@overwrite_flag
@batch_compute_flags
@reading_flags
def command(
    *,
    checkpoint: Path,
    source: str,
    split: str | None,
    out: Path | None,
    sharding: Sharding,
    compute: Compute,
    reading: Reading,
) -> None:
    """Embed films, each once, into one file.

    A .safetensors holds all that other commands ask for. A .csv is a table of path, finding, patient (a number), source
    and the values; a .npy holds the vectors alone, in the order of the films.

    Of a table that is too large for one go, CSV or Parquet, --shards keeps what is made, and goes on where it ended.

    \b
    Example: fscxr embed --checkpoint run --data split.csv --split test --out test.safetensors
             fscxr embed --checkpoint run --data many.csv --shards many --engine ray --out many.npy
    """
    if out is None and sharding.folder is None:
        raise click.UsageError("say where embeddings go: --out FILE, or --shards FOLDER for very many")
    encoder = load_encoder(checkpoint)
    if sharding.folder is not None:
        _embed_shards(encoder, source, sharding, compute, reading, split=split, out=out)
        return
    assert out is not None
    records = read_films(source, reading, single_label=True)
    records = records if split is None else records.of_split(split)
    with bars_for(compute) as compute:
        films = compute.decode(records, encoder.image_spec)
        embeddings = compute.embed(encoder, films)
    embeddings.save(out)
    say_notes(records.notes)
    say_problems(films.records)
    say(f"written: {out}, {len(embeddings)} films, dim {embeddings.vectors.shape[1]}")


def _embed_shards(
    encoder: Encoder,
    source: str,
    sharding: Sharding,
    compute: Compute,
    reading: Reading,
    *,
    split: str | None,
    out: Path | None,
) -> None:
    plan = make_shards(engines.Embedding(encoder), source, sharding, compute, reading, split=split)
    say_shards(plan)
    if out is None:
        return
    if out.suffix.lower() == ".npy":  # of any size
        engines.save_vectors(plan, out)
    else:
        engines.merged_embeddings(plan, encoder).save(out)
    say(f"written: {out}")

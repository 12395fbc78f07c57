"""`fscxr data cache`: films are decoded once, now."""

from functools import partial
from pathlib import Path

import click

from fewshot_cxr.cli.console import progress_bars, say, say_problems
from fewshot_cxr.cli.flags import crop_flag, decoding_flag, depth_flag, resize_flag
from fewshot_cxr.cli.sources import Reading, read_films, reading_flags
from fewshot_cxr.data import cache_films
from fewshot_cxr.image_spec import ImageSpec


@click.command()
@click.argument("source")
@click.option("--image-size", "size_px", default=ImageSpec().size_px, help="Side in pixels.")
@crop_flag
@resize_flag
@depth_flag
@click.option("--cache-dir", type=click.Path(path_type=Path), help="[default: FSCXR_CACHE, or ~/.cache/fewshot_cxr]")
@decoding_flag
@reading_flags
def command(
    *,
    source: str,
    size_px: int,
    crop: str,
    resize: str,
    bit_depth: int | None,
    cache_dir: Path | None,
    n_workers: int | None,
    reading: Reading,
) -> None:
    """Decode the films of SOURCE into the cache; what is there already is kept. Stopped, it goes on where it was.

    SOURCE is a manifest CSV, an image folder, or NAME:PATH. Size, crop, filter and bit depth must be the training's.

    \b
    Example: fscxr data cache films.csv --image-size 96
    """
    records = read_films(source, reading, allow_leak=True)
    spec = ImageSpec(size_px=size_px, crop=crop, bit_depth=bit_depth, resize=resize)
    with progress_bars() as progress:
        films = cache_films(
            records, spec, folder=cache_dir, n_workers=n_workers, progress=partial(progress, "decoding")
        )
    say_problems(films.records)
    say(f"{len(films)} films of {spec.size_px} px in {len(films.packs)} packs below {films.packs[0].parent}")

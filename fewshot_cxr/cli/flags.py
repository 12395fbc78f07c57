"""Flags that several commands share, and how they become values."""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from fewshot_cxr.data import READERS, read_dataset
from fewshot_cxr.records import Records

Command = TypeVar("Command", bound=Callable[..., Any])
_READING = {
    "root": ("--root", "Folder that the manifest's paths start from."),
    "path_column": ("--path-column", "Manifest column with the file."),
    "label_column": ("--label-column", "Manifest column with the finding."),
    "group_column": ("--group-column", "Manifest column that joins films of one patient."),
    "patient_column": ("--patient-column", "Manifest column with the patient."),
    "patient_pattern": ("--patient-pattern", "Image folder: regular expression; its first group is the patient."),
}


def _several(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    return lambda command: reduce(lambda inner, option: option(inner), reversed(options), command)


def reading_flags(command: Command) -> Command:
    """Add the flags that say how `--data` is read."""
    flags = [click.option(flag, name, help=text) for name, (flag, text) in _READING.items()]
    return _several(*flags)(command)


def work_flags(command: Command) -> Command:
    """Add --batch-size, for films that are embedded, and the machine's flags."""
    option = click.option(
        "--batch-size", default=128, show_default=True, type=click.IntRange(1), help="Films at a time."
    )
    return machine_flags(option(command))


def machine_flags(command: Command) -> Command:
    """Add --device, --workers, --threads, --cache-dir."""
    return _several(
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option(
            "--workers", "n_workers", type=click.IntRange(1), help="Threads that decode films.  [default: all cores]"
        ),
        click.option("--threads", type=click.IntRange(1), help="Processor threads.  [default: all cores]"),
        click.option(
            "--cache-dir",
            "cache_folder",
            type=click.Path(path_type=Path),
            help="Decoded films.  [default: FSCXR_CACHE, else ~/.cache/fewshot_cxr]",
        ),
    )(command)


json_flag = click.option("--json", "json_file", metavar="FILE", help="Write the result as JSON; - is standard output.")
seed_flag = click.option("--seed", default=0, show_default=True, help="Of every draw.")
checkpoint_flag = click.option(
    "--checkpoint", required=True, type=click.Path(exists=True, path_type=Path), help="Run folder or encoder file."
)


def read_films(source: str, reading: dict[str, Any]) -> Records:
    """Read `NAME:PATH`, or a path alone: a manifest CSV or an image folder.

    Only a known reader's name is split off, so that C:\\films stays a path.
    """
    name, colon, rest = source.partition(":")
    if not colon or name not in READERS:
        name, rest = ("image_folder" if Path(source).is_dir() else "manifest"), source
    given = {key: value for key, value in reading.items() if value is not None}
    own = {"image_folder": {"patient_pattern"}}.get(name, set(_READING) - {"patient_pattern"})
    foreign = [_READING[key][0] for key in given if key not in own]
    if foreign:
        raise click.UsageError(f"{', '.join(foreign)} does not fit {name} data")
    if not Path(rest).exists():
        raise click.UsageError(f"--data {source}: no such file or folder")
    return read_dataset(name, rest, **given)


def take_reading(options: dict[str, Any]) -> dict[str, Any]:
    """Take the reading flags out of a command's options."""
    return {name: options.pop(name, None) for name in _READING}


def set_threads(threads: int | None) -> None:
    """Limit torch's threads."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)

"""Flags that several commands share."""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

ALL = "all"
Command = TypeVar("Command", bound=Callable[..., Any])


def several(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return a decorator that adds several options, in this order."""
    return lambda command: reduce(lambda inner, option: option(inner), reversed(options), command)


def work_flags(command: Command) -> Command:
    """Add --batch-size, for films that are embedded, and the machine's flags."""
    option = click.option(
        "--batch-size", default=128, show_default=True, type=click.IntRange(1), help="Films at a time."
    )
    return machine_flags(option(command))


def machine_flags(command: Command) -> Command:
    """Add --device, --workers, --threads, --cache-dir."""
    return several(
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


json_flag = click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write the result as JSON; - is standard output.",
)
seed_flag = click.option("--seed", default=0, show_default=True, help="Of every draw.")
checkpoint_flag = click.option(
    "--checkpoint", required=True, type=click.Path(exists=True, path_type=Path), help="Run folder or encoder file."
)


def count_or_all(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """Take a number of 1 or more, or None for "all"."""
    if value == ALL:
        return None
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a number of 1 or more nor {ALL!r}")
    return int(value)


def set_threads(threads: int | None) -> None:
    """Limit torch's threads."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)

"""Flags that several commands share."""

import os
from collections.abc import Callable, Mapping
from functools import reduce, wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fewshot_cxr._checks import lookup
from fewshot_cxr._kinds import ENCODER_FILE
from fewshot_cxr._visible import one_form
from fewshot_cxr.cli.outputs import json_file, keep_paths_flag, overwrite_flag
from fewshot_cxr.image_spec import CROPS, RESIZES
from fewshot_cxr.workflows.compute import Compute

ALL = "all"
_OF_FILES = ("overwrite", "keep_paths")  # flags by which nothing else is found
Flag = Callable[[Callable[..., Any]], Callable[..., Any]]
"""What adds a flag, or several, to a command."""


def several(*flags: Flag) -> Flag:
    """Return what adds several flags, in this order."""
    return lambda command: reduce(lambda inner, flag: flag(inner), reversed(flags), command)


def as_one(name: str, build: Callable[..., object], *flags: Flag) -> Flag:
    """Return what adds flags whose values the command takes as one.

    Args:
        name: of the command's argument.
        build: takes the values of the flags by their names, and returns the argument.
        flags: to add.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def call(**given: object) -> object:
            value = build(**{flag: given.pop(flag) for flag in names})
            return command(**given, **{name: value})

        known = _parameters(call)
        names = [one.name for one in _parameters(several(*flags)(call))[len(known) :] if one.expose_value]
        return call

    return add


def _parameters(command: Callable[..., Any]) -> list[click.Parameter]:
    """Return what click has noted so far, the last one first."""
    return [*getattr(command, "__click_params__", ())]


def given_flags() -> dict[str, str]:
    """Return the flags that were typed and change what a command finds, by the names of their parameters."""
    context = click.get_current_context()
    is_typed = ParameterSource.COMMANDLINE
    typed = [one for one in context.command.params if context.get_parameter_source(one.name or "") is is_typed]
    return {one.name or "": one.opts[0] for one in typed if one.name not in _OF_FILES}


def refuse_flags(is_idle: Callable[[str], bool], other: str, why: str) -> None:
    """Refuse typed flags that would change nothing.

    Args:
        is_idle: takes the name of a parameter.
        other: flag beside which they are idle.
        why: for the error.

    Raises:
        click.UsageError: one or more were typed.
    """
    if idle := [flag for name, flag in given_flags().items() if is_idle(name)]:
        raise click.UsageError(f"{', '.join(idle)} does not go with {other}: {why}")


def comma_names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Take the names out of "A,B,C"; none at all is wrong use of the flag."""
    if value is None:
        return None
    found = tuple(one_form(name.strip()) for name in value.split(",") if name.strip())
    if not found:
        flag = parameter.opts[0]
        raise click.UsageError(f"{flag} {value!r} names nothing; write {flag} A,B,C")
    return found


def is_count(text: str) -> bool:
    """Return whether a text is a number of 1 or more."""
    return text.strip().isdecimal() and int(text) > 0


def count_or_all(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """Take a number of 1 or more, or None for "all"."""
    if value == ALL:
        return None
    if not is_count(value):
        raise click.BadParameter(f"{value!r} is neither a number of 1 or more nor {ALL!r}")
    return int(value)


def name_in(table: Mapping[str, object], what: str) -> Callable[..., str | None]:
    """Return what refuses a name that a table lacks, before any film is read.

    Args:
        table: such as RULES.
        what: such as "rule".
    """

    def check(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None:
            lookup(table, value, what=what)
        return value

    return check


def _set_threads(context: click.Context, parameter: click.Parameter, value: int | None) -> None:
    if value is not None:
        import torch

        torch.set_num_threads(value)


file_path = click.Path(dir_okay=False, path_type=Path)
folder_path = click.Path(file_okay=False, path_type=Path)
there_file = click.Path(exists=True, dir_okay=False, path_type=Path)
there_path = click.Path(exists=True, path_type=Path)


class _Run(click.Path):
    """A run folder, or a file of an encoder: a folder without one is wrong use, and is refused before any work."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the folder."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.is_dir() and not (path / ENCODER_FILE).is_file():
            inner = next((file.parent for file in sorted(path.glob(f"*/{ENCODER_FILE}"))), None)
            hint = f"; {inner} holds one" if inner else "; name a run folder of `fscxr train`"
            self.fail(f"{path} holds no {ENCODER_FILE}{hint}", param, ctx)
        return path


encoder_path = _Run(exists=True, path_type=Path)

json_flag = several(
    click.option(
        "--json", "json_file", metavar="FILE", type=json_file, help="Write the result as JSON; - is standard output."
    ),
    overwrite_flag,
    keep_paths_flag,
)
seed_flag = click.option("--seed", default=0, help="Of every draw.")
device_flag = click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
threads_flag = click.option(
    "--threads",
    type=click.IntRange(1),
    expose_value=False,
    callback=_set_threads,
    help="Processor threads.  [default: all cores]",
)
decoding_flag = click.option(
    "--workers", "n_workers", type=click.IntRange(1), help="Threads that decode films.  [default: all cores]"
)
cache_flag = click.option(
    "--cache-dir",
    "cache_folder",
    type=click.Path(path_type=Path),
    help="Decoded films.  [default: FSCXR_CACHE, else ~/.cache/fewshot_cxr]",
)
batch_flag = click.option("--batch-size", default=128, type=click.IntRange(1), help="Films at a time.")
machine_flags = several(device_flag, decoding_flag, threads_flag, cache_flag)
compute_flags = as_one("compute", Compute, machine_flags)
batch_compute_flags = as_one("compute", Compute, machine_flags, batch_flag)

checkpoint_flag = click.option("--checkpoint", required=True, type=encoder_path, help="Run folder or encoder file.")
data_flag = click.option(
    "--data",
    "source",
    required=True,
    help="Manifest CSV, image folder, or NAME:PATH (names and flags: data read --help).",
)
novel_flag = click.option(
    "--novel", metavar="A,B", callback=comma_names, help="Findings not trained on.  [default: as the checkpoint says]"
)
ways_flag = click.option("--n-way", type=click.IntRange(2), help="Findings in an episode.  [default: all]")
draw_seed_flag = click.option("--seed", default=0, help="Of the episodes.")
run_folder_flag = click.option("--out", required=True, type=folder_path, help="The run folder to write.")
resume_flag = click.option("--resume", is_flag=True, help="Go on from OUT/last.ckpt, with the same settings.")
crop_flag = click.option("--crop", default="square", type=click.Choice(CROPS), help="How a film becomes square.")
resize_flag = click.option(
    "--resize", default="bilinear", type=click.Choice(RESIZES), help="How its pixels are averaged."
)
depth_flag = click.option(
    "--bit-depth", type=click.IntRange(8, 16), help="Of 16-bit files.  [default: from each file's maximum]"
)

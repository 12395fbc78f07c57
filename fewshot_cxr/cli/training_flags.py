"""Flags that both trainings share, and how they become a trainer's settings."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fewshot_cxr.cli.console import check_no_run
from fewshot_cxr.cli.flags import (
    Flag,
    as_one,
    crop_flag,
    data_flag,
    depth_flag,
    machine_flags,
    resume_flag,
    run_folder_flag,
    seed_flag,
    several,
)
from fewshot_cxr.encoders import ENCODERS
from fewshot_cxr.image_spec import EQUALISERS, ImageSpec
from fewshot_cxr.training import OPTIMIZERS, PRECISIONS, SCHEDULES, STANDARDISATIONS, ClassifierTrainer, SiameseTrainer

Trainer = SiameseTrainer | ClassifierTrainer
_OF_THE_IMAGE = ("size_px", "n_channels", "crop", "top_crop", "border_crop", "equalise", "bit_depth")
_OF_THE_ENCODER = ("embedding_dim", "weights", "pretrained")
_HAVE_FLAGS = {"seed": "--seed", "image_spec": "--image-size and its like"}


def choices(names: Iterable[str]) -> str:
    """Name what a flag may be."""
    return f"{', '.join(names)}."


@dataclass(frozen=True)
class Run:
    """The films that a run is trained on, its folder, and whether it goes on from there.

    Raises:
        click.UsageError: a run lies there already, and none is to go on.
    """

    source: str
    out: Path
    resume: bool

    def __post_init__(self) -> None:
        check_no_run(self.out, resume=self.resume)


run_flags = as_one("run", Run, data_flag, run_folder_flag, resume_flag)


def trainer_flags(default: Trainer, *flags: Flag) -> Flag:
    """Return what adds all that a trainer is made of, as `trainer`.

    Args:
        default: says which trainer, and what holds where a flag is not given.
        flags: of this trainer alone.
    """

    def build(*, encoder_options: dict[str, Any], augment: bool, **given: object) -> Trainer:
        settings: dict[str, Any] = {**given} if augment else {**given, "augmentation": None}
        spec = ImageSpec(**{name: settings.pop(name) for name in _OF_THE_IMAGE})
        chosen = {name: settings.pop(name, None) for name in _OF_THE_ENCODER}
        encoder_options |= {name: value for name, value in chosen.items() if value}
        return type(default)(**settings, image_spec=spec, encoder_options=encoder_options)

    return as_one("trainer", build, _encoder_flags(default), *flags, _schedule_flags(default), seed_flag, machine_flags)


def _encoder_flags(default: Trainer) -> Flag:
    """Return what says which encoder it is, and what its pixels mean."""
    return several(
        click.option(
            "--encoder",
            default=default.encoder,
            show_default=True,
            help=choices([*ENCODERS, "timm:<any name>", "timm:hf-hub:<owner/name>", "xrv:<weights>"]),
        ),
        click.option(
            "--encoder-option",
            "encoder_options",
            multiple=True,
            metavar="NAME=VALUE",
            callback=_encoder_options,
            help="As width=64.",
        ),
        click.option("--pretrained", is_flag=True, help="Take the published weights (timm, xrv)."),
        click.option(
            "--weights", type=click.Path(exists=True, dir_okay=False), help="Start from this file of weights."
        ),
        click.option(
            "--freeze",
            callback=_groups,
            help="So many groups of layers from the stem on, or backbone.  [default: none]",
        ),
        click.option("--layer-decay", default=1.0, show_default=True, help="Of the rate, from the head to the stem."),
        click.option(
            "--image-size", "size_px", default=default.image_spec.size_px, show_default=True, help="Side in pixels."
        ),
        click.option(
            "--channels", "n_channels", default=1, show_default=True, help="1, or 3 for weights of colour pictures."
        ),
        crop_flag,
        click.option("--top-crop", default=0.0, show_default=True, help="Share of the height cut off at the top."),
        click.option("--border-crop", default=0.0, show_default=True, help="Share cut off at each border."),
        click.option("--equalise", default="none", show_default=True, type=click.Choice(EQUALISERS), help="Contrast."),
        depth_flag,
        click.option("--standardisation", default="spec", show_default=True, help=choices(STANDARDISATIONS)),
        click.option("--augment/--no-augment", default=True, show_default=True, help="Of training films."),
    )


def _schedule_flags(default: Trainer) -> Flag:
    """Return what says how the training goes."""
    return several(
        click.option("--epochs", "n_epochs", default=default.n_epochs, show_default=True, type=click.IntRange(1)),
        click.option(
            "--batches",
            "n_batches",
            type=click.IntRange(1),
            help="In an epoch.  [default: about as many as cover the films]",
        ),
        click.option("--optimizer", default=default.optimizer, show_default=True, help=choices(OPTIMIZERS)),
        click.option("--lr", default=default.lr, show_default=True, help="Peak learning rate."),
        click.option("--weight-decay", default=default.weight_decay, show_default=True),
        click.option("--clip-value", type=float, help="Largest value in the gradient, beside its norm."),
        click.option("--restart-every", type=click.IntRange(1), help="Epochs after which the optimiser begins anew."),
        click.option("--schedule", default=default.schedule, show_default=True, help=choices(SCHEDULES)),
        click.option("--precision", default="auto", show_default=True, help=choices(PRECISIONS)),
        click.option(
            "--patience",
            type=click.IntRange(1),
            default=default.patience,
            show_default=default.patience is not None,
            help="Stop after so many epochs that were no better.",
        ),
        click.option("--max-minutes", type=float, help="Begin no epoch that would end later."),
    )


def _groups(context: click.Context, parameter: click.Parameter, value: str | None) -> int | str:
    """Take a number of groups of layers, or a name."""
    return 0 if value is None else int(value) if value.isdigit() else value


def _encoder_options(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
    return dict(map(_option, texts))


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--encoder-option {text}: NAME=VALUE was expected")
    if name in _HAVE_FLAGS:
        raise click.UsageError(f"--encoder-option {text}: {name} has a flag of its own, {_HAVE_FLAGS[name]}")
    if value.lower() in ("true", "false"):
        return name, value.lower() == "true"
    for parse in (lambda: tomllib.loads(f"value = {value}")["value"], lambda: float(value)):
        try:
            return name, parse()
        except ValueError:  # of tomllib too
            continue
    return name, value  # a bare word is a text

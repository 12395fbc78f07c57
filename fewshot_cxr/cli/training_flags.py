"""Flags that both trainings share, and how they become a trainer's settings."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fewshot_cxr.cli.flags import Command, several
from fewshot_cxr.encoders import ENCODERS
from fewshot_cxr.image_spec import CROPS, EQUALISERS, ImageSpec
from fewshot_cxr.training import OPTIMIZERS, PRECISIONS, SCHEDULES, STANDARDISATIONS, ClassifierTrainer, SiameseTrainer

Trainer = SiameseTrainer | ClassifierTrainer
_IMAGE_FLAGS = {
    "size_px": "image_size",
    "n_channels": "channels",
    "crop": "crop",
    "top_crop": "top_crop",
    "border_crop": "border_crop",
    "equalise": "equalise",
    "bit_depth": "bit_depth",
}

_HAVE_FLAGS = {"seed": "--seed", "image_spec": "--image-size and its like"}


def choices(names: Any) -> str:
    """Name what a flag may be."""
    return f"{', '.join(names)}."


def film_flags(command: Command) -> Command:
    """Add --data, --out, --resume."""
    return several(
        click.option(
            "--data",
            "source",
            required=True,
            help="Manifest CSV, image folder, or NAME:PATH (names and flags: data read --help).",
        ),
        click.option(
            "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The run folder to write."
        ),
        click.option("--resume", is_flag=True, help="Go on from OUT/last.ckpt, with the same settings."),
    )(command)


def encoder_flags(default: Trainer) -> Callable[[Command], Command]:
    """Return a decorator that adds what says which encoder it is, and what its pixels mean."""
    return several(
        click.option(
            "--encoder",
            default=default.encoder,
            show_default=True,
            help=choices([*ENCODERS, "timm:<any name>", "timm:hf-hub:<owner/name>", "xrv:<weights>"]),
        ),
        click.option("--encoder-option", "encoder_options", multiple=True, metavar="NAME=VALUE", help="As width=64."),
        click.option("--pretrained", is_flag=True, help="Take the published weights (timm, xrv)."),
        click.option(
            "--weights", type=click.Path(exists=True, dir_okay=False), help="Start from this file of weights."
        ),
        click.option("--freeze", help="So many groups of layers from the stem on, or backbone.  [default: none]"),
        click.option("--layer-decay", default=1.0, show_default=True, help="Of the rate, from the head to the stem."),
        click.option("--image-size", default=default.image_spec.size_px, show_default=True, help="Side in pixels."),
        click.option("--channels", default=1, show_default=True, help="1, or 3 for weights of colour pictures."),
        click.option(
            "--crop", default="square", show_default=True, type=click.Choice(CROPS), help="How a film becomes square."
        ),
        click.option("--top-crop", default=0.0, show_default=True, help="Share of the height cut off at the top."),
        click.option("--border-crop", default=0.0, show_default=True, help="Share cut off at each border."),
        click.option("--equalise", default="none", show_default=True, type=click.Choice(EQUALISERS), help="Contrast."),
        click.option(
            "--bit-depth", type=click.IntRange(8, 16), help="Of 16-bit files.  [default: from each file's maximum]"
        ),
        click.option("--standardisation", default="spec", show_default=True, help=choices(STANDARDISATIONS)),
        click.option("--augment/--no-augment", default=True, show_default=True, help="Of training films."),
    )


def course_flags(default: Trainer) -> Callable[[Command], Command]:
    """Return a decorator that adds what says how the training goes."""
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


def trainer_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Turn the flags of a training into the settings of its trainer."""
    spec = ImageSpec(**{name: options.pop(flag) for name, flag in _IMAGE_FLAGS.items()})
    encoder_options = dict(_option(text) for text in options.pop("encoder_options"))
    for name in ("embedding_dim", "weights"):
        value = options.pop(name, None)
        encoder_options |= {} if value is None else {name: value}
    encoder_options |= {"pretrained": True} if options.pop("pretrained") else {}
    if not options.pop("augment"):
        options["augmentation"] = None
    freeze = options.pop("freeze")
    options["freeze"] = 0 if freeze is None else int(freeze) if freeze.isdigit() else freeze
    return {**options, "image_spec": spec, "encoder_options": encoder_options}


def refuse_old_run(out: Path, resume: bool) -> None:
    """Refuse to begin where a run lies already."""
    if not resume and (out / "last.ckpt").exists():
        raise click.UsageError(f"--out {out} holds a run already: add --resume, or name another folder")


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

"""Flags that say which encoder it is, what it starts from, and what its pixels mean."""

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

import click

from fewshot_cxr.cli.console import say_notes
from fewshot_cxr.cli.flags import Flag, several
from fewshot_cxr.encoders import ENCODERS, PUBLISHED, unsaid_statistics, weights_spec, with_given
from fewshot_cxr.image_spec import CROPS, EQUALISERS, RESIZES, ImageSpec

ENCODER_NAMES = (*ENCODERS, *PUBLISHED, "timm:<any name>", "timm:hf-hub:<owner/name>", "xrv:<weights>")
_OF_THE_IMAGE = ("size_px", "n_channels", "crop", "top_crop", "border_crop", "equalise", "bit_depth", "resize")
_HAVE_FLAGS = {"seed": "--seed", "image_spec": "--image-size and its like"}


def choices(names: Iterable[str]) -> str:
    """Name what a flag may be."""
    return f"{', '.join(names)}."


def chosen_spec(flags: dict[str, Any], usual: ImageSpec, name: str, start: Mapping[str, Any]) -> ImageSpec:
    """Return what the images of an encoder are: as the flags say, else as its weights say, else as usual.

    Args:
        flags: of which those of `image_flags` are taken out.
        usual: holds where neither says.
        name: of the encoder.
        start: "weights" and "pretrained", as far as they were given.
    """
    given = {field: flags.pop(field) for field in _OF_THE_IMAGE}
    given = {field: value for field, value in given.items() if value is not None}
    if start.get("weights") and (note := unsaid_statistics(name, start["weights"])):
        say_notes([note])
    own = weights_spec(name, weights=start.get("weights"), pretrained=bool(start.get("pretrained")))
    return with_given(own or usual, given)


def image_flags(default: ImageSpec) -> Flag:
    """Return what adds the flags of an image spec, whose values are None as far as they are not given."""
    return several(
        click.option(
            "--image-size",
            "size_px",
            type=int,
            help=f"Side in pixels.  [default: that of the weights, else {default.size_px}]",
        ),
        click.option(
            "--channels",
            "n_channels",
            type=int,
            help="1, or 3 for weights of colour pictures.  [default: those of the weights, else 1]",
        ),
        click.option("--crop", type=click.Choice(CROPS), help="How a film becomes square.  [default: square]"),
        click.option("--top-crop", type=float, help="Share of the height cut off at the top.  [default: 0]"),
        click.option("--border-crop", type=float, help="Share cut off at each border.  [default: 0]"),
        click.option("--equalise", type=click.Choice(EQUALISERS), help="Contrast.  [default: none]"),
        click.option(
            "--resize",
            type=click.Choice(RESIZES),
            help="How pixels are averaged.  [default: as for the weights, else bilinear]",
        ),
        click.option(
            "--bit-depth", type=click.IntRange(8, 16), help="Of 16-bit files.  [default: from each file's maximum]"
        ),
    )


start_flags = several(
    click.option("--pretrained", is_flag=True, help="Take the published weights (efficientnet_lite0, timm, xrv)."),
    click.option("--weights", type=click.Path(exists=True, dir_okay=False), help="Start from this file of weights."),
)


def _read_options(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
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


encoder_option_flag = click.option(
    "--encoder-option",
    "encoder_options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_read_options,
    help="As width=64.",
)

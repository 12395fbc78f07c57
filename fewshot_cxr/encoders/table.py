"""The encoders by name, and how one is built."""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import timm

from fewshot_cxr._checks import lookup
from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.covidnet import CovidNet
from fewshot_cxr.encoders.efficientnet_attention import EfficientNetAttention
from fewshot_cxr.encoders.resnet9 import ResNet9
from fewshot_cxr.encoders.timm_encoder import TimmEncoder
from fewshot_cxr.encoders.weights import load_weights
from fewshot_cxr.seeding import seeded_torch

ENCODERS: dict[str, Callable[..., Encoder]] = {
    "resnet9": ResNet9,
    "covidnet": CovidNet,
    "efficientnet_attention": EfficientNetAttention,
}
_TIMM = "timm:"


def build_encoder(name: str, *, seed: int = 0, weights: str | Path | None = None, **options: Any) -> Encoder:
    """Build an encoder, in training mode.

    Args:
        name: in ENCODERS, or "timm:" and a name of timm.
        seed: of the initial weights; torch's global generator is left as it was.
        weights: start from this file, of `save_encoder` or of timm; see `load_weights`.
        options: of the encoder; a misspelt one is Python's own TypeError.

    Returns:
        The encoder. Its `recipe` holds every option, defaults too, so that a later default changes no saved encoder.

    Raises:
        ValueError: unknown name, or weights that do not fit.
        FileNotFoundError: no such file of weights.
        OSError: weights that cannot be read, or downloaded (`pretrained`).
    """
    make = _maker(name)
    if weights is not None and options.get("pretrained"):
        raise ValueError("pretrained and weights both say where to start from; give one of them")
    with seeded_torch(seed, "init"):
        encoder = make(**options)
    if weights is not None:
        load_weights(encoder, weights)
    bound = inspect.signature(make).bind(**options)
    bound.apply_defaults()
    kept = {option: value for option, value in bound.arguments.items() if option != "image_spec"}
    encoder.recipe = {"encoder": name, "options": kept | {"weights": None if weights is None else str(weights)}}
    return encoder


def _maker(name: str) -> Callable[..., Encoder]:
    if name.startswith(_TIMM):
        return partial(TimmEncoder, name.removeprefix(_TIMM))
    if name not in ENCODERS and timm.is_model(name):
        raise ValueError(f"unknown encoder {name!r} (did you mean '{_TIMM}{name}'?)")
    return lookup(ENCODERS | {f"{_TIMM}<any name>": TimmEncoder}, name, what="encoder")

"""The encoders by name, and how one is built."""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fewshot_cxr._checks import lookup
from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.covidnet import CovidNet
from fewshot_cxr.encoders.described import described_encoder, read_folder, read_hub
from fewshot_cxr.encoders.efficientnet_attention import EfficientNetAttention
from fewshot_cxr.encoders.joined import join_as_told
from fewshot_cxr.encoders.published.facts import weight_facts
from fewshot_cxr.encoders.published.lite0 import efficientnet_lite0
from fewshot_cxr.encoders.published.models import PUBLISHED, published_encoder
from fewshot_cxr.encoders.resnet9 import ResNet9
from fewshot_cxr.encoders.timm_encoder import TimmEncoder
from fewshot_cxr.encoders.vgg16 import Vgg16
from fewshot_cxr.encoders.weights import file_facts, load_weights, weights_name
from fewshot_cxr.encoders.xrv_encoder import xrv_encoder
from fewshot_cxr.storage import tensor_hash
from fewshot_cxr.torch_seeding import seeded_torch

# Where timm has several published weights of a network, torchvision's are taken, as the transfer systems did.
ENCODERS: dict[str, Callable[..., Encoder]] = {
    "resnet9": ResNet9,
    "covidnet": CovidNet,
    "efficientnet_attention": EfficientNetAttention,
    "efficientnet_lite0": efficientnet_lite0,
    "densenet121": partial(TimmEncoder, "densenet121.tv_in1k"),
    "resnet18": partial(TimmEncoder, "resnet18.tv_in1k"),
    "resnet50": partial(TimmEncoder, "resnet50.tv_in1k"),
    "vgg16": Vgg16,
}
# What stands before the colon says who knows the name behind it.
_FAMILIES: dict[str, Callable[..., Encoder]] = {
    "timm:hf-hub": partial(described_encoder, read_hub),
    "timm:local-dir": partial(described_encoder, read_folder),
    "timm": TimmEncoder,
    "xrv": xrv_encoder,
}


def build_encoder(
    name: str,
    *,
    seed: int = 0,
    weights: str | Path | None = None,
    n_basis: int | None = None,
    n_directions: int | None = None,
    **options: Any,
) -> Encoder:
    """Build an encoder, in training mode.

    Args:
        name: in ENCODERS or PUBLISHED; "timm:" and a name of timm, "hf-hub:<owner>/<name>" or "local-dir:<folder>"; or
            "xrv:" and a name in XRV_WEIGHTS.
        seed: of the initial weights; torch's global generator is left as it was.
        weights: start from this file, of `save_encoder`, timm or torchvision; see `load_weights`.
        n_basis: of a saved encoder with a `JoinedHead`, which `join` notes; else None.
        n_directions: likewise.
        options: of the encoder; a misspelt one is Python's own TypeError.

    Returns:
        The encoder. Its `recipe` holds every option, defaults too, so that a later default changes no saved encoder.

    Raises:
        ValueError: unknown name, or weights that do not fit.
        FileNotFoundError: no such file of weights.
        OSError: weights that cannot be read, or downloaded (`pretrained`).

    Examples:
        >>> encoder = build_encoder("resnet9", embedding_dim=64)
        >>> encoder.embedding_dim, encoder.image_spec.size_px, encoder.recipe["options"]["width"]
        (64, 224, 32)
    """
    make = _maker(name)
    if weights is not None and options.get("pretrained"):
        raise ValueError("pretrained and weights both say where to start from; give one of them")
    if "pretrained" in options and "pretrained" not in inspect.signature(make).parameters:
        raise ValueError(f"{name} has no published weights: leave pretrained out, or take efficientnet_lite0")
    with seeded_torch(seed, "init"):
        encoder = make(**options)
    if weights is not None:
        load_weights(encoder, weights)
        encoder.origin = file_facts(name, weights)
    elif options.get("pretrained"):
        own = encoder.origin or {"sha256_of_tensors": tensor_hash(encoder.backbone.state_dict())}
        said = getattr(encoder.backbone, "pretrained_cfg", {}).get("license")
        encoder.origin = weight_facts(name, licence=said).to_json() | own
    signature = inspect.signature(make)
    defaults = {name: item.default for name, item in signature.parameters.items() if item.default is not item.empty}
    kept = {name: value for name, value in {**defaults, **options}.items() if name != "image_spec"}
    kept["weights"] = None if weights is None else weights_name(weights)
    # An encoder that came by a description elsewhere knows a name that needs no network.
    encoder.recipe = {"encoder": encoder.recipe.get("encoder", name), "options": kept}
    join_as_told(encoder, {"n_basis": n_basis, "n_directions": n_directions})
    return encoder


def is_built_in(name: str) -> bool:
    """Return whether a name is built from nothing that lies elsewhere, neither on the hub nor in a folder.

    Examples:
        >>> is_built_in("resnet9"), is_built_in("timm:resnet18"), is_built_in("timm:hf-hub:owner/network")
        (True, True, False)
    """
    return name.count(":") < 2 and "/" not in name


def encoder_options(name: str) -> tuple[str, ...]:
    """Return the options that an encoder takes in `build_encoder`, `weights` among them; nothing is built.

    Raises:
        ValueError: unknown name.

    Examples:
        >>> encoder_options("resnet9")
        ('width', 'stem_pool', 'embedding_dim', 'output', 'dropout', 'weights')
    """
    own = inspect.signature(_maker(name)).parameters
    return (*(option for option in own if option != "image_spec"), "weights")


def _maker(name: str) -> Callable[..., Encoder]:
    if name in ENCODERS:
        return ENCODERS[name]
    published: dict[str, Callable[..., Encoder]] = {known: partial(published_encoder, known) for known in PUBLISHED}
    if name in published:
        return published[name]
    for family, make in _FAMILIES.items():
        if isinstance(name, str) and name.startswith(f"{family}:"):
            return partial(make, name.removeprefix(f"{family}:"))
    import timm

    if timm.is_model(name):
        raise ValueError(f"unknown encoder {name!r} (did you mean 'timm:{name}'?)")
    families = {f"{known}:<any name>": make for known, make in _FAMILIES.items()}
    return lookup(ENCODERS | published | families, name, what="encoder")

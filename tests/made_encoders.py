"""Small encoders with settled statistics, and images for them."""

from collections.abc import Iterable
from copy import deepcopy
from functools import lru_cache
from typing import Any

import pytest
from torch import Generator as TorchGenerator
from torch import Tensor, nn, no_grad, rand
from torch.nn import functional

from fewshot_cxr.encoders import Encoder, build_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.objectives import LinearHead
from fewshot_cxr.torch_seeding import seeded_torch

SMALL = {  # smaller is quicker
    "covidnet": {"width": 32},
    "efficientnet_attention": {"gate_width": 16},
    "vgg16": {"fc_width": 64},
}
TINY = {
    "covidnet": {"width": 8},
    "efficientnet_attention": {"gate_width": 8},
    "resnet9": {"width": 8},
    "vgg16": {"fc_width": 8},
}
DEEP = {"densenet121", "efficientnet_attention", "resnet50", "vgg16"}


def slow_if_deep(names: Iterable[str]) -> list[Any]:
    """Return parameters of a test: the deep networks, which together take most of a table's time, are slow ones."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in DEEP), id=name) for name in names]


def make_images(n_images: int, size_px: int = 64, seed: int = 0, n_channels: int = 1) -> Tensor:
    """Return soft clouds, float (n_images, n_channels, size_px, size_px), with mean about 0, the channels alike."""
    coarse = rand(n_images, 1, 6, 6, generator=TorchGenerator().manual_seed(seed))
    clouds = (functional.interpolate(coarse, size=size_px, mode="bilinear") - 0.5) / 0.25
    return clouds.repeat(1, n_channels, 1, 1)


def made_head(n_classes: int = 3) -> LinearHead:
    """Return a head for the embeddings of `settled_encoder`, the same each time."""
    with seeded_torch(0, "test-head"):
        return LinearHead(8, n_classes)


def settled_encoder(name: str, *, seed: int = 0, size_px: int = 64, **options: object) -> Encoder:
    """Return a small encoder of one's own whose batch normalisation knows `make_images`, as after training.

    It is in eval mode, and a copy: to draw the weights takes longer.
    """
    return deepcopy(_settled(name, seed, size_px, tuple(options.items())))


@lru_cache(maxsize=16)
def _settled(name: str, seed: int, size_px: int, given: tuple[tuple[str, object], ...]) -> Encoder:
    options = SMALL.get(name, {}) | dict(given)
    encoder = build_encoder(name, image_spec=ImageSpec(size_px=size_px), embedding_dim=8, seed=seed, **options)
    return settle(encoder, make_images(8, size_px))


def settle(encoder: Encoder, images: Tensor) -> Encoder:
    """Give batch normalisation the statistics of these images, as training would, and switch to eval mode."""
    norms = [layer for layer in encoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with no_grad():
        encoder.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return encoder.eval()

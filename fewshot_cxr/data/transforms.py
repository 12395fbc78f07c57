"""From decoded films to what an encoder sees, and augmentation of whole batches on whatever device they are on."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr.image_spec import ImageSpec


def to_images(films: Tensor, spec: ImageSpec) -> Tensor:
    """Turn decoded films into an encoder's input.

    Args:
        films: uint8, shape (N, S, S).
        spec: channels, mean and std.

    Returns:
        float32, shape (N, n_channels, S, S), standardised.
    """
    return standardise(films.unsqueeze(1).float() / 255, spec)


def standardise(images: Tensor, spec: ImageSpec) -> Tensor:
    """Repeat the gray channel as often as `spec` says, subtract mean and divide by std.

    Args:
        images: float, shape (N, 1, S, S), 0..1.
        spec: channels, mean and std.
    """
    mean, std = (torch.tensor(values, device=images.device).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
    return (images.expand(-1, spec.n_channels, -1, -1) - mean) / std


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far a training film may be moved and its exposure changed; every film draws its own values.

    Args:
        rotation_degrees: either way.
        shift: share of the side, either way, along both axes.
        zoom: smallest and largest magnification.
        flip: probability of a left-right mirror image.
        gamma: smallest and largest exponent of the gray values.
        crop: smallest share of the side that is kept, a random square enlarged to the whole; 1: none.
    """

    rotation_degrees: float = 10.0
    shift: float = 0.08
    zoom: tuple[float, float] = (0.85, 1.15)
    flip: float = 0.5
    gamma: tuple[float, float] = (0.7, 1.4)
    crop: float = 1.0

    def __post_init__(self) -> None:
        for name in ("zoom", "gamma"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf:
                raise ValueError(f"{name} must be a smallest and a largest value above 0, got {(low, high)}")
        if not 0 <= self.flip <= 1 or not 0 < self.crop <= 1:
            raise ValueError(f"flip must be in 0..1 and crop above 0 and at most 1, got {self.flip} and {self.crop}")
        for name, most in (("rotation_degrees", 180), ("shift", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be in 0..{most}, got {getattr(self, name)}")


def augment(images: Tensor, augmentation: Augmentation, *, generator: torch.Generator) -> Tensor:
    """Move, mirror and re-expose each film of a batch, in one resampling.

    Args:
        images: float, shape (N, 1, S, S), 0..1. For training films only.
        augmentation: the ranges.
        generator: on the CPU; so the same draw serves every device.

    Returns:
        Same shape, dtype and device, 0..1. Beyond the film's border its edge is repeated: black corners would be a
        mark that only training films bear.
    """
    n_films = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(n_films).uniform_(low, high, generator=generator)

    angle = uniform(-augmentation.rotation_degrees, augmentation.rotation_degrees) * (math.pi / 180)
    kept = uniform(augmentation.crop, 1.0)
    scale = kept / uniform(*augmentation.zoom)
    mirror = torch.where(torch.rand(n_films, generator=generator) < augmentation.flip, -1.0, 1.0)
    # affine_grid maps output to input places, in units of half a side: hence 2 x shift, and 1 - kept for the crop.
    moves = [2 * uniform(-augmentation.shift, augmentation.shift) + (1 - kept) * uniform(-1, 1) for _ in range(2)]
    rows = (
        torch.stack([scale * angle.cos() * mirror, -scale * angle.sin(), moves[0]], dim=1),
        torch.stack([scale * angle.sin() * mirror, scale * angle.cos(), moves[1]], dim=1),
    )
    theta = torch.stack(rows, dim=1).to(images.device)
    exponent = uniform(*augmentation.gamma).to(images.device).view(-1, 1, 1, 1)
    # In half precision, which autocast would choose for the grid, its places are off by up to half a pixel.
    with torch.autocast(images.device.type, enabled=False):
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        moved = functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return (moved.clamp(0, 1) ** exponent).to(images.dtype)

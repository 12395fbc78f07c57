"""From square films to what a network sees: augmentation and scaling."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr._checks import lookup
from fewshot_cxr.image_spec import ImageSpec

FILLS = {"edge": "border", "black": "zeros"}  # as grid_sample calls them
_LARGEST = {"rotation_degrees": 180.0, "shift": 1.0, "stretch": 0.5}


def to_images(films: Tensor, spec: ImageSpec) -> Tensor:
    """Turn decoded films into an encoder's input.

    Args:
        films: uint8, shape (N, S, S), or float of 0..1, shape (N, C, S, S).
        spec: channels, mean and std.

    Returns:
        float32, shape (N, n_channels, S, S), standardised (0..1 where the spec is `per_pixel`).

    Examples:
        >>> films = torch.full((2, 8, 8), 255, dtype=torch.uint8)
        >>> images = to_images(films, ImageSpec(size_px=8, n_channels=3, mean=(0.5,), std=(0.25,)))
        >>> images.shape, float(images.max())
        (torch.Size([2, 3, 8, 8]), 2.0)
    """
    return standardise(scale_films(films), spec)


def scale_films(films: Tensor) -> Tensor:
    """Return decoded films, uint8 (N, S, S), as float32 (N, 1, S, S) of 0..1; float images (N, C, S, S) as they are.

    Examples:
        >>> scale_films(torch.tensor([[[0, 51, 255]]], dtype=torch.uint8))
        tensor([[[[0.0000, 0.2000, 1.0000]]]])
    """
    return films if films.is_floating_point() else films.unsqueeze(1).float() / 255


def standardise(images: Tensor, spec: ImageSpec) -> Tensor:
    """Repeat the gray channel as often as `spec` says, subtract mean and divide by std.

    Args:
        images: float, shape (N, 1, S, S), 0..1.
        spec: channels, mean and std; where it is `per_pixel` the channel is repeated and no more: the encoder, which
            holds the mean and std images, does the rest.

    Examples:
        >>> standardise(torch.tensor([[[[0.0, 0.5, 1.0]]]]), ImageSpec(mean=(0.5,), std=(0.25,)))
        tensor([[[[-2.,  0.,  2.]]]])
    """
    if spec.per_pixel:
        return images.expand(-1, spec.n_channels, -1, -1)
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
        brightness: smallest and largest factor of the gray values.
        contrast: smallest and largest factor of their distance from the film's mean.
        stretch: largest share by which the aspect ratio changes, either way: one axis shrinks, none is cut.
        fill: what lies beyond the film: "edge" repeats its border, "black" is a mark that training films alone bear
            (the published COVID-Net's, kept for comparison).

    Examples:
        >>> still = Augmentation(rotation_degrees=0, shift=0, zoom=(1, 1), flip=0, gamma=(1, 1))  # changes nothing
        >>> still.crop, still.stretch
        (1.0, 0.0)
    """

    rotation_degrees: float = 10.0
    shift: float = 0.08
    zoom: tuple[float, float] = (0.85, 1.15)
    flip: float = 0.5
    gamma: tuple[float, float] = (0.7, 1.4)
    crop: float = 1.0
    brightness: tuple[float, float] = (1.0, 1.0)
    contrast: tuple[float, float] = (1.0, 1.0)
    stretch: float = 0.0
    fill: str = "edge"

    def __post_init__(self) -> None:
        for name in ("zoom", "gamma", "brightness", "contrast"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf:
                raise ValueError(f"{name} must be a smallest and a largest value above 0, got {(low, high)}")
            object.__setattr__(self, name, (low, high))  # a recipe's file gives lists
        if not 0 <= self.flip <= 1 or not 0 < self.crop <= 1:
            raise ValueError(f"flip must be in 0..1 and crop above 0 and at most 1, got {self.flip} and {self.crop}")
        for name, most in _LARGEST.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be in 0..{most:g}, got {getattr(self, name)}")
        lookup(FILLS, self.fill, what="fill")


def augment(
    images: Tensor, augmentation: Augmentation, *, generator: torch.Generator, chosen: Tensor | None = None
) -> Tensor:
    """Move, mirror and re-expose each film of a batch, in one resampling.

    Args:
        images: float, shape (N, 1, S, S), 0..1. For training films only.
        augmentation: the ranges.
        generator: on the CPU; so the same draw serves every device.
        chosen: bool, shape (N,): films that are augmented; the others pass as they are. None: all. What a film draws
            does not depend on who else is chosen.

    Returns:
        Same shape, dtype and device, 0..1. Beyond the film's border its edge is repeated (but see
        `Augmentation.fill`): black corners would be a mark that only training films bear.

    Raises:
        ValueError: `chosen` is no bool of shape (N,).

    Examples:
        >>> mirror = Augmentation(rotation_degrees=0, shift=0, zoom=(1, 1), flip=1, gamma=(1, 1))
        >>> images = torch.tensor([[[[0.25, 0.75], [0.25, 0.75]]]])
        >>> augment(images, mirror, generator=torch.Generator().manual_seed(0))
        tensor([[[[0.7500, 0.2500],
                  [0.7500, 0.2500]]]])
    """
    if chosen is not None and (chosen.dtype != torch.bool or chosen.shape != (len(images),)):
        raise ValueError(f"chosen must be bool of shape ({len(images)},), got {chosen.dtype} of {tuple(chosen.shape)}")
    theta, gamma, brightness, contrast = (
        values.to(images.device) for values in _sample(len(images), augmentation, generator)
    )
    # In half precision, which autocast would choose for the grid, its places are off by up to half a pixel.
    with torch.autocast(images.device.type, enabled=False):
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        moved = functional.grid_sample(images.float(), grid, padding_mode=FILLS[augmentation.fill], align_corners=False)
    exposed = moved.clamp(0, 1) ** gamma
    if augmentation.brightness != (1, 1):
        exposed = (exposed * brightness).clamp(0, 1)
    if augmentation.contrast != (1, 1):
        mean = exposed.mean(dim=(1, 2, 3), keepdim=True)
        exposed = (mean + (exposed - mean) * contrast).clamp(0, 1)
    made = exposed.to(images.dtype)
    return made if chosen is None else torch.where(chosen.to(images.device).view(-1, 1, 1, 1), made, images)


def _sample(n_films: int, augmentation: Augmentation, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Return, on the CPU, places (N, 2, 3) for affine_grid, and gamma, brightness and contrast, each (N, 1, 1, 1).

    The order of the draws is part of every published result, so new ones come last.
    """

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(n_films).uniform_(low, high, generator=generator)

    def uniform_if_on(low: float, high: float) -> Tensor:
        return uniform(low, high) if low < high else torch.full((n_films,), low)

    angle = uniform(-augmentation.rotation_degrees, augmentation.rotation_degrees) * (math.pi / 180)
    kept = uniform(augmentation.crop, 1.0)
    scale = kept / uniform(*augmentation.zoom)
    mirror = torch.where(torch.rand(n_films, generator=generator) < augmentation.flip, -1.0, 1.0)
    # affine_grid maps output to input places, in units of half a side: hence 2 x shift, and 1 - kept for the crop.
    moves = [2 * uniform(-augmentation.shift, augmentation.shift) + (1 - kept) * uniform(-1, 1) for _ in range(2)]
    gamma = uniform(*augmentation.gamma)
    brightness, contrast = uniform_if_on(*augmentation.brightness), uniform_if_on(*augmentation.contrast)
    ratio = uniform_if_on(1 - augmentation.stretch, 1 + augmentation.stretch)  # of the width to the height
    rows = (
        torch.stack([scale * angle.cos() * mirror, -scale * angle.sin(), moves[0]], dim=1),
        torch.stack([scale * angle.sin() * mirror, scale * angle.cos(), moves[1]], dim=1),
    )
    shrinks = torch.stack([ratio.clamp(max=1), (1 / ratio).clamp(max=1)], dim=1)
    theta = torch.stack(rows, dim=1) / shrinks.unsqueeze(2)
    return theta, *(values.view(-1, 1, 1, 1) for values in (gamma, brightness, contrast))

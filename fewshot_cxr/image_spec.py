"""What a pixel means: the one description shared by preprocessing, encoder and checkpoint."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from fewshot_cxr._checks import check_bool, check_whole

CROPS = ("square", "none", "pad")
RESIZES = ("bilinear", "bicubic")
EQUALISERS = ("none", "clahe")
LARGEST_PX = 4096  # of a side; a larger one is a slip of the hand
BORDER_SHARE = 1 / 8  # of the side, on each of the four: there are markers, collimation and the bed, but little lung


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """How a film becomes what an encoder sees: cut in the order below, resized once, equalised, standardised.

    Args:
        size_px: side of the square image.
        n_channels: 1, or 3 (the gray channel repeated, for weights pretrained on colour pictures).
        crop: "square" cuts the centre square, "none" squeezes the whole film into the square (on sets where
            the aspect ratio betrays the source, that is a shortcut), "pad" adds black until it is a square.
        mean: of the images scaled to 0..1, one number for all channels or one per channel.
        std: of the images scaled to 0..1, the same.
        bit_depth: of 16-bit files; None takes the smallest of 8/10/12/14/16 that holds a file's maximum.
        top_crop: share of the height that is cut off at the top, before `crop`: there stand the letters.
        border_crop: share of each side that is cut off at both its ends, after `crop`.
        equalise: "clahe" spreads the gray values of each neighbourhood (needs `fewshot_cxr[clahe]`), "none" does not.
        per_pixel: the encoder subtracts the mean image of the training films and divides by their std image; `mean`
            and `std` then play no part.
        resize: "bilinear" or "bicubic", each widened where it shrinks, so that nothing is left out (antialiasing).

    Examples:
        >>> import torch
        >>> from fewshot_cxr.data import to_images
        >>> spec = ImageSpec(size_px=128, n_channels=3, mean=(0.5,), std=(0.25,))
        >>> images = to_images(torch.zeros(1, 128, 128, dtype=torch.uint8), spec)
        >>> images.shape, images.unique().tolist()  # black is (0 - 0.5) / 0.25
        (torch.Size([1, 3, 128, 128]), [-2.0])
    """

    size_px: int = 224
    n_channels: int = 1
    crop: str = "square"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    bit_depth: int | None = None
    top_crop: float = 0.0
    border_crop: float = 0.0
    equalise: str = "none"
    per_pixel: bool = False
    resize: str = "bilinear"

    def __post_init__(self) -> None:
        check_whole(self.size_px, "size_px", 8)
        if self.size_px > LARGEST_PX:
            raise ValueError(f"size_px must be at most {LARGEST_PX}, got {self.size_px}")
        check_whole(self.n_channels, "n_channels")
        if self.bit_depth is not None:
            check_whole(self.bit_depth, "bit_depth", 1)
        if self.n_channels not in (1, 3):
            raise ValueError(f"n_channels must be 1 or 3, got {self.n_channels}")
        for name, choices in (("crop", CROPS), ("resize", RESIZES), ("equalise", EQUALISERS)):
            if (chosen := getattr(self, name)) not in choices:
                raise ValueError(f"{name} must be one of {choices}, got {chosen!r}")
        check_bool(self.per_pixel, "per_pixel")
        for name in ("top_crop", "border_crop"):
            share = float(getattr(self, name))
            if not 0 <= share < 0.5:
                raise ValueError(f"{name} must be a share of the side, 0 or more and below 0.5, got {share}")
            object.__setattr__(self, name, share)
        for name in ("mean", "std"):
            given = getattr(self, name)
            values = () if isinstance(given, str) else tuple(float(value) for value in given)
            if len(values) not in (1, self.n_channels):
                raise ValueError(f"{name} must hold 1 or {self.n_channels} numbers, got {len(values)}")
            object.__setattr__(self, name, values)
        if not all(map(math.isfinite, self.mean)):
            raise ValueError(f"mean must be finite, got {self.mean}")
        if not all(0 < value < math.inf for value in self.std):
            raise ValueError(f"std must be above 0 and finite, got {self.std}")

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a card; what has come since the first cards is left out where it is off."""
        fields = asdict(self)
        return {name: value for name, value in fields.items() if (name, value) != ("resize", "bilinear")}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "ImageSpec":
        """Rebuild a spec from `to_json`; an unknown field is Python's own TypeError."""
        return cls(**fields)

"""From a film of any shape to the square of uint8 that is cached. Change a pixel here, and RECIPE_VERSION goes up."""

import numpy as np
from PIL import Image

from fewshot_cxr.image_spec import ImageSpec

RECIPE_VERSION = 1


def to_square(image: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Crop and resize as `spec` says.

    Args:
        image: uint8, shape (H, W).
        spec: its `crop` and `size_px` count here.

    Returns:
        uint8, shape (size_px, size_px).

    Raises:
        ValueError: `image` is no gray film of 8 bits.
    """
    if image.dtype != np.uint8 or image.ndim != 2 or image.size == 0:
        raise ValueError(f"image must be uint8 of shape (H, W), got {image.dtype} of {image.shape}; see read_gray")
    picture = Image.fromarray(image)
    box = _centre_square(picture.size) if spec.crop == "square" else None
    # Bilinear with Pillow's antialiasing: as sharp as area averaging when it shrinks, smooth when it enlarges.
    resized = picture.resize((spec.size_px, spec.size_px), Image.Resampling.BILINEAR, box=box)
    return np.array(resized)


def _centre_square(size: tuple[int, int]) -> tuple[float, float, float, float]:
    width, height = size
    side = min(size)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side

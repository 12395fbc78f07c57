"""From a decoded film to a square one: crop, size and equalisation."""

from dataclasses import replace

import numpy as np
from PIL import Image

from fewshot_cxr.image_spec import ImageSpec

RECIPE_VERSION = 1
_CLIP_LIMIT = 2.0
_TILES = (4, 4)
# Pillow's widen when they shrink: bilinear is as sharp as area averaging then, and smooth when it enlarges.
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def to_square(image: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Crop, resize and equalise as `spec` says.

    All crops make one box, and the film is resampled once, from its own pixels. The published border crop resized to
    224, cut that to 183 and enlarged it to 224 again: two blurs, and a third of the pixels made up.

    Args:
        image: uint8, shape (H, W).
        spec: its crops, `size_px`, `resize` and `equalise` count here.

    Returns:
        uint8, shape (size_px, size_px).

    Raises:
        ValueError: `image` is no gray film of 8 bits.
        ImportError: `equalise` is "clahe" and OpenCV is not installed.

    Examples:
        >>> film = np.zeros((8, 16), dtype=np.uint8)
        >>> film[:, 4:12] = 200  # the film lies between two black borders
        >>> square = to_square(film, ImageSpec(size_px=8))
        >>> square.shape, int(square.min())
        ((8, 8), 200)
    """
    if image.dtype != np.uint8 or image.ndim != 2 or image.size == 0:
        raise ValueError(f"image must be uint8 of shape (H, W), got {image.dtype} of {image.shape}; see read_gray")
    picture = Image.fromarray(_padded(image, spec) if spec.crop == "pad" else image)
    box = _box(picture.size, replace(spec, top_crop=0.0) if spec.crop == "pad" else spec)
    resized = picture.resize((spec.size_px, spec.size_px), _FILTERS[spec.resize], box=box)
    return _clahe(np.asarray(resized)) if spec.equalise == "clahe" else np.array(resized)


def _padded(image: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Cut off the top, in whole rows, and add black on both short sides until the film is a square."""
    image = image[round(len(image) * spec.top_crop) :]
    missing = [max(image.shape) - side for side in image.shape]
    return np.pad(image, [(lack // 2, lack - lack // 2) for lack in missing])


def _box(size: tuple[int, int], spec: ImageSpec) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of what is kept of a film of (width, height), in pixels and their parts."""
    left, top, right, bottom = 0.0, size[1] * spec.top_crop, float(size[0]), float(size[1])
    if spec.crop == "square":
        side = min(right - left, bottom - top)
        left, top = left + (right - left - side) / 2, top + (bottom - top - side) / 2
        right, bottom = left + side, top + side
    across, down = (right - left) * spec.border_crop, (bottom - top) * spec.border_crop
    return left + across, top + down, right - across, bottom - down


def _clahe(image: np.ndarray) -> np.ndarray:
    """Spread the gray values tile by tile, with a clipped histogram, blended between tiles.

    Source: Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV, 1994.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError("equalise='clahe' needs OpenCV: pip install fewshot_cxr[clahe]") from error
    return np.asarray(cv2.createCLAHE(_CLIP_LIMIT, _TILES).apply(image), dtype=np.uint8)

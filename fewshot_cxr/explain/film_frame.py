"""Heat back into the square that was cut out of the film, so that runs with and without border crop are comparable."""

import math
from dataclasses import replace

import numpy as np

from fewshot_cxr.image_spec import ImageSpec


def film_frame_spec(spec: ImageSpec) -> ImageSpec:
    """Return the spec of the frame that `in_film_frame` gives: by it films and masks are decoded to lie under the heat.

    It has no border crop. Runs of other `crop` or `top_crop` have another frame: their heat is measured on another part
    of the film, and what those cut off cannot be put back without the film's own shape.
    """
    return replace(spec, border_crop=0.0)


def uncropped(size_px: int, border_crop: float) -> np.ndarray:
    """Return which pixels of the film's square a border crop leaves whole, bool, shape (size_px, size_px)."""
    first = math.ceil(size_px * border_crop)
    kept = np.zeros((size_px, size_px), dtype=bool)
    kept[first : size_px - first, first : size_px - first] = True
    return kept


def in_film_frame(heat: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Put the heat of border-cropped images back into the square before that crop.

    Each pixel's heat is shared out over the smaller area that the pixel covers there, by exact overlap: the total stays
    as it was, what was cut off has 0. Crops before the border crop are not undone; see `film_frame_spec`.

    Args:
        heat: float32, shape (N, S, S), in the frame of the encoder's images, S = spec.size_px.
        spec: of the encoder.

    Returns:
        float32, shape (N, S, S); the heat itself where `border_crop` is 0.

    Raises:
        ValueError: the heat has another shape.
    """
    heat = np.asarray(heat, dtype=np.float32)
    if heat.ndim != 3 or heat.shape[1:] != (spec.size_px, spec.size_px):
        raise ValueError(
            f"heat must have the shape (N, {spec.size_px}, {spec.size_px}) of the encoder's images, got {heat.shape}"
        )
    if spec.border_crop == 0:
        return heat
    shares = _overlaps(spec.size_px, spec.border_crop)
    return np.asarray(shares @ heat @ shares.T, dtype=np.float32)


def _overlaps(size_px: int, border_crop: float) -> np.ndarray:
    """Return which share of each of the cropped image's columns lies in each column of the square: float32, (S, S)."""
    edges = np.arange(size_px + 1, dtype=np.float64)
    moved = border_crop * size_px + (1 - 2 * border_crop) * edges
    overlap = np.minimum(edges[1:, None], moved[None, 1:]) - np.maximum(edges[:-1, None], moved[None, :-1])
    return np.asarray(np.maximum(overlap, 0) / (1 - 2 * border_crop), dtype=np.float32)

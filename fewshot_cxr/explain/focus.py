"""Where in the film a map of heat lies: the film's frame, its lungs, border and corners."""

import math
from dataclasses import replace

import numpy as np

from fewshot_cxr.image_spec import BORDER_SHARE, ImageSpec


def film_frame_spec(spec: ImageSpec) -> ImageSpec:
    """Return the spec of the frame that `in_film_frame` gives: by it films and masks are decoded to lie under the heat.

    It has no border crop. Runs of other `crop` or `top_crop` have another frame: their heat is measured on another part
    of the film, and what those cut off cannot be put back without the film's own shape.

    Examples:
        >>> frame = film_frame_spec(ImageSpec(border_crop=0.1, top_crop=0.2))
        >>> frame.border_crop, frame.top_crop
        (0.0, 0.2)
    """
    return replace(spec, border_crop=0.0)


def uncropped(size_px: int, border_crop: float) -> np.ndarray:
    """Return which pixels of the film's square a border crop leaves whole, bool, shape (size_px, size_px).

    Examples:
        >>> uncropped(8, 0.25).sum(axis=0).tolist()  # the middle 4 x 4 pixels are left
        [0, 0, 4, 4, 4, 4, 0, 0]
    """
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

    Examples:
        >>> heat = np.ones((1, 8, 8))
        >>> framed = in_film_frame(heat, ImageSpec(size_px=8, border_crop=0.25))
        >>> framed[0, 4].tolist(), framed.sum().item()  # the same heat on a quarter of the area
        ([0.0, 0.0, 4.0, 4.0, 4.0, 4.0, 0.0, 0.0], 64.0)
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


_CORNER_SHARE = 1 / 4  # of the side: markers and letters stand there


def focus_shares(
    heat: np.ndarray, lungs: np.ndarray | None = None, *, has_lungs: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Measure which share of each film's positive heat lies where.

    Args:
        heat: float, shape (N, S, S); what is below 0 speaks against the target, and does not count.
        lungs: masks in the frame of the heat, bool, shape (N, S, S); None: there are none.
        has_lungs: which films have a mask, bool, shape (N,); None: all.

    Returns:
        "lungs" (only where masks are given); "border", the outer eighth of each side; "corners", the four squares of a
        quarter of the side, which lie over the border in part. float64, shape (N,), 0..1; NaN where a film has no
        positive heat, or no mask.

    Raises:
        ValueError: wrong shapes, heat that is not finite, masks that are not bool, or `has_lungs` without masks.

    Examples:
        >>> heat = np.zeros((1, 8, 8))
        >>> heat[0, 4, 4], heat[0, 0, 0] = 3, 1  # most in the middle, some at a marker in the corner
        >>> {name: share.tolist() for name, share in focus_shares(heat, heat > 2).items()}
        {'lungs': [0.75], 'border': [0.25], 'corners': [0.25]}
    """
    heat = np.asarray(heat)
    if heat.ndim != 3 or not np.isfinite(heat).all():
        raise ValueError(f"heat must be finite numbers of shape (N, S, S), got {heat.dtype} of {heat.shape}")
    has_mask = _checked_masks(heat, lungs, has_lungs)
    positive = np.maximum(heat, 0)
    total = positive.sum(axis=(1, 2), dtype=np.float64)
    places = _regions(*heat.shape[1:]) if lungs is None else {"lungs": lungs, **_regions(*heat.shape[1:])}
    whole = np.where(total > 0, total, np.nan)
    shares = {name: (positive * place).sum(axis=(1, 2), dtype=np.float64) / whole for name, place in places.items()}
    return shares if lungs is None else shares | {"lungs": np.where(has_mask, shares["lungs"], np.nan)}


def area_shares(
    shape: tuple[int, ...],
    lungs: np.ndarray | None = None,
    *,
    has_lungs: np.ndarray | None = None,
    spec: ImageSpec | None = None,
) -> dict[str, np.ndarray]:
    """Return `focus_shares` of a flat map: what a network that looks everywhere alike would have.

    Args:
        shape: of the heat, (N, S, S).
        lungs: as for `focus_shares`.
        has_lungs: as for `focus_shares`.
        spec: of heat that went through `in_film_frame`: chance does not look at what was cut off either.

    Examples:
        >>> {name: share.tolist() for name, share in area_shares((1, 8, 8)).items()}  # 28 and 16 of 64 pixels
        {'border': [0.4375], 'corners': [0.25]}
    """
    flat = np.ones(shape, dtype=np.float32)
    return focus_shares(flat if spec is None else in_film_frame(flat, spec), lungs, has_lungs=has_lungs)


def _regions(height: int, width: int) -> dict[str, np.ndarray]:
    """Return border and corners, bool, shape (height, width) each."""
    border, corners = np.ones((height, width), dtype=bool), np.ones((height, width), dtype=bool)
    margin, side = max(1, round(width * BORDER_SHARE)), max(1, round(width * _CORNER_SHARE))
    border[margin:-margin, margin:-margin] = False
    corners[side : height - side] = False
    corners[:, side : width - side] = False
    return {"border": border, "corners": corners}


def _checked_masks(heat: np.ndarray, lungs: np.ndarray | None, has_lungs: np.ndarray | None) -> np.ndarray:
    """Return which films have a mask, bool, shape (N,)."""
    n_films = len(heat)
    if lungs is not None and (lungs.dtype != bool or lungs.shape != heat.shape):
        raise ValueError(f"lungs must be bool of the heat's shape {heat.shape}, got {lungs.dtype} of {lungs.shape}")
    if has_lungs is None:
        return np.full(n_films, lungs is not None)
    has_mask = np.asarray(has_lungs)
    if lungs is None or has_mask.dtype != bool or has_mask.shape != (n_films,):
        raise ValueError(f"has_lungs must say True or False for each of {n_films} films and goes with lungs only")
    return has_mask

"""Burnt-in text: letters, side markers and dates that are part of the picture.

No letter is read. A letter is known by its look: thin strokes that stand out sharply from what lies around them, of a
letter's size, outside the lungs; faint ones count as well where three stand in a row. Letters of lead, of a stamp or of
a viewer's overlay look the same and are all meant.

benchmarks/burnt_in_text.py measures it on drawn films: at 256 px and above it meets its goals, at 128 px it does not.
On real films it is a hint. It names 78 % of the set cxr3, most of which do carry a side marker; of 40 named films three
showed wires or a shutter instead, and about half of 40 others had a marker that is faint, or that the edge cuts off.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fewshot_cxr.data.film_marks import Film, shrunk

# Larger films are averaged down to this: text that can be read on a screen is still some pixels high.
_WORK_PX = 512
# All gray values are of 0..255. A pixel belongs to a stroke from the first on; the mean of a letter that stands alone
# must reach the second or the third. Dark ones need more: gaps between arm, chest wall and table are dark as well.
_STROKE, _BRIGHT_LETTER, _DARK_LETTER = 40, 56, 72
# Shares of the longer side: the widest stroke, the lowest and the highest letter, the widest run of touching letters.
_STROKE_WIDTH, _LOWEST, _HIGHEST, _WIDEST = 1 / 36, 0.012, 0.11, 0.25
# Of a letter's height over its surroundings, how much is gained within one pixel of its outline.
_SHARPNESS = 0.85
# A letter that stands alone fills at most this share of its box, and is at most so many times longer than wide: solid
# blocks say nothing, and slivers lie along shutters and arms.
_SOLID, _SLIVER = 0.85, 6
# Where the lungs lie, as shares of width and height: vessels, ribs and bronchi there look like letters.
_LUNGS_LEFT, _LUNGS_RIGHT, _LUNGS_TOP, _LUNGS_BOTTOM = 0.14, 0.86, 0.22, 0.86


class Box(NamedTuple):
    """A rectangle in pixels of the film."""

    top: int
    left: int
    height: int
    width: int


class _Strokes(NamedTuple):
    """Connected strokes in the order of their labels, each array (n_strokes,); lengths in pixels, heights in grays."""

    top: NDArray[np.intp]
    left: NDArray[np.intp]
    height: NDArray[np.intp]
    width: NDArray[np.intp]
    n_pixels: NDArray[np.intp]
    relief: NDArray[np.float64]
    rise: NDArray[np.float64]


def burnt_in_text(gray: Film) -> tuple[Box, ...]:
    """Find letters that are part of the picture, bright or dark; those over the lungs are not looked for.

    Args:
        gray: uint8, shape (H, W).

    Returns:
        One box per letter, per run of letters that touch, or per ring around a letter, from the top down. Letters
        lower than about 1.2 % of the film's longer side are missed.
    """
    film, factor = shrunk(gray, _WORK_PX)
    found = _outermost([*_letters(film, _BRIGHT_LETTER), *_letters(255 - film, _DARK_LETTER)])
    return tuple(Box(*(factor * length for length in box)) for box in found)


def _letters(film: Film, least_relief: int) -> list[Box]:
    """Find the letters that are brighter than their surroundings."""
    strokes = _find_strokes(film)
    side_px = max(film.shape)
    lowest_px = max(4, _LOWEST * side_px)
    is_letter = (
        (strokes.n_pixels >= 5)  # film grain makes thousands of specks
        & (strokes.height >= lowest_px)
        & (strokes.height <= _HIGHEST * side_px)
        & (strokes.width <= _WIDEST * side_px)
        & (strokes.rise >= _SHARPNESS * strokes.relief)
        & _beside_lungs(strokes, film.shape)
    )
    strokes = _Strokes(*(values[is_letter] for values in strokes))
    is_clear = (
        (strokes.relief >= least_relief)
        & (strokes.width >= 3)
        & (strokes.n_pixels <= _SOLID * strokes.height * strokes.width)
        & (np.maximum(strokes.height, strokes.width) <= _SLIVER * np.minimum(strokes.height, strokes.width))
    )
    return [
        Box(int(top), int(left), int(height), int(width))
        for top, left, height, width in np.stack(strokes[:4], axis=1)[is_clear | _in_a_row(strokes)]
    ]


def _outermost(boxes: list[Box]) -> list[Box]:
    """Sort boxes, without those that lie in another: the hole of an A is itself a small dark letter."""
    ordered = sorted(set(boxes))
    top, left, height, width = np.array(ordered, dtype=np.intp).reshape(-1, 4).T
    bottom, right = top + height, left + width
    is_within = (
        (top[:, None] >= top) & (left[:, None] >= left) & (bottom[:, None] <= bottom) & (right[:, None] <= right)
    )
    return [box for box, n_around in zip(ordered, is_within.sum(axis=1), strict=True) if n_around == 1]


def _find_strokes(film: Film) -> _Strokes:
    """Measure everything thin that stands out from its surroundings."""
    relief = _relief(film, max(5, round(_STROKE_WIDTH * max(film.shape))))
    rise = _extreme(relief, 3, np.maximum) - _extreme(relief, 3, np.minimum)
    is_stroke = relief > _STROKE
    labels, n_labels = ndimage.label(is_stroke, np.ones((3, 3)))
    is_outline = is_stroke & ~_extreme(is_stroke, 3, np.logical_and)
    # Only strokes are looked at from here on, one in a hundred pixels; those of one label lie together, from the top.
    pixels = np.flatnonzero(is_stroke)
    pixels = pixels[np.argsort(labels.flat[pixels], kind="stable")]
    own, rows, columns = labels.flat[pixels], *np.divmod(pixels, film.shape[1])
    counts = np.bincount(own, minlength=n_labels + 1)[1:]
    firsts = np.cumsum(counts) - counts
    top, left, right = rows[firsts], *(pick.reduceat(columns, firsts) for pick in (np.minimum, np.maximum))
    return _Strokes(
        top=top,
        left=left,
        height=rows[firsts + counts - 1] + 1 - top,
        width=right + 1 - left,
        n_pixels=counts,
        relief=_means(relief.flat[pixels], own, n_labels),
        rise=_means(rise.flat[pixels], np.where(is_outline.flat[pixels], own, 0), n_labels),
    )


def _relief(film: Film, width_px: int) -> Film:
    """How far each pixel stands above what a square of `width_px` sees around it: a top-hat, blind to broad shapes.

    Source: Serra, "Image Analysis and Mathematical Morphology", 1982, chapter 12.
    """
    # Averaged first, or the square would follow the darkest grains.
    calm = _calmed(_calmed(film.T).T)
    ground = _extreme(_extreme(calm, width_px, np.minimum), width_px, np.maximum)
    relief: Film = film - np.minimum(film, ground)
    return relief


def _calmed(film: Film) -> Film:
    """Average each pixel with its neighbours to the left and to the right: what SciPy's does on bytes, faster."""
    padded = _padded(film, 1, 1, axis=1).astype(np.uint16)
    return ((padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) // 3).astype(np.uint8)


def _padded(film: NDArray[Any], before: int, after: int, axis: int) -> NDArray[Any]:
    """Repeat the first and the last line: a tenth of the time of NumPy's own on a small film."""
    first, last = (film[:1], film[-1:]) if axis == 0 else (film[:, :1], film[:, -1:])
    return np.concatenate([first.repeat(before, axis), film, last.repeat(after, axis)], axis)


def _extreme(film: NDArray[Any], width_px: int, pick: Callable[..., NDArray[Any]]) -> NDArray[Any]:
    """Replace each pixel by the extreme of a square around it: twenty times faster than SciPy's on bytes."""
    before = width_px // 2 if pick is np.minimum else (width_px - 1) // 2
    for axis in range(2):
        done, film = 1, _padded(film, before, width_px - 1 - before, axis)
        while done < width_px:
            step = min(done, width_px - done)
            film = pick(film[step:], film[:-step]) if axis == 0 else pick(film[:, step:], film[:, :-step])
            done += step
    return film


def _means(values: Film, labels: NDArray[np.int32], n_labels: int) -> NDArray[np.float64]:
    """Average the values of each label; those of label 0 do not count."""
    sums, counts = np.bincount(labels, values, n_labels + 1), np.bincount(labels, minlength=n_labels + 1)
    return np.asarray(sums / np.maximum(counts, 1))[1:]


def _beside_lungs(strokes: _Strokes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Leave out what lies over the lungs, or touches the edge of the film, where a table or a shutter is cut off."""
    bottom, right = strokes.top + strokes.height, strokes.left + strokes.width
    across = (strokes.left + right) / 2 / shape[1]
    down = (strokes.top + bottom) / 2 / shape[0]
    is_over_lungs = (across > _LUNGS_LEFT) & (across < _LUNGS_RIGHT) & (down > _LUNGS_TOP) & (down < _LUNGS_BOTTOM)
    touches_edge = (strokes.top == 0) | (strokes.left == 0) | (bottom == shape[0]) | (right == shape[1])
    return np.asarray(~is_over_lungs & ~touches_edge)


def _in_a_row(strokes: _Strokes) -> NDArray[np.bool_]:
    """Find letters of a word: as high as the ones to the left and to the right, and on one line with them."""
    top, height = strokes.top, strokes.height
    margin = np.maximum(1, 0.2 * height)[:, None]
    on_line = (np.abs(top[:, None] - top) <= margin) & (np.abs(height[:, None] - height) <= margin)
    gap = strokes.left - (strokes.left + strokes.width)[:, None]
    follows = on_line & (gap >= 0) & (gap <= height[:, None])
    is_middle = follows.any(axis=0) & follows.any(axis=1)
    return np.asarray(is_middle | (follows & is_middle).any(axis=1) | (follows.T & is_middle).any(axis=1))

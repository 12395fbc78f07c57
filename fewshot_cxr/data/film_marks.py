"""What the pixels of a single film tell without an encoder: whether it is empty, a negative, and like a frontal chest.

An encoder says how far a picture lies from films; these few numbers say what kind of picture lies so far away.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Film = NDArray[np.uint8]

# A film whose grays span less than this shows nothing; lossy files of one plain gray reach about half of it.
_LEAST_SPAN = 8
# Of one gray, give or take what a lossy file adds. Real films in a wide black frame reach 0.51.
_EMPTY_SHARE, _EMPTY_TOLERANCE = 0.9, 2
# Of 1,432 real films, frontal and lateral, the lowest likeness is 0.05, and 0.63 the usual one.
_INVERTED_BELOW = -0.08
_GRID, _FINE = 16, 128
_WORK_PX = 256
# The spine is looked for in the upper half, above the belly, and up to two cells of 32 beside the middle.
_COLUMNS, _MOST_ASIDE = 32, 2
_UPPER_HALF = slice(_FINE // 20, _FINE // 2)
_AROUND_SPINE, _TO_LUNG = 0.3, 0.186  # shares of the width: how far is looked, and where the lungs are darkest
# Weights and bounds of `frontal`: fitted to half of the patients of two sets of films, a third of the weight each for
# adults of the one, adults of the other and children, against side views, slices and photographs.
_OF_CHEST, _OF_DETAIL = 1 / 3, 2.5
_FRONTAL_ABOVE, _STRANGE_BELOW = 0.3, 0.1


@dataclass(frozen=True)
class FilmMarks:
    """A few numbers of a film's pixels; see `film_marks`.

    Args:
        span: its brightest gray less its darkest.
        plain: share of the pixels that have one gray. Frames, empty exposures.
        chest: likeness to a rough chest, -1..1. A negative has the same with the other sign.
        spine: how much the upper half is bright in the middle between two dark lungs, -1..1. From the side it is not.
        flat: share of one gray within plain edges. Beside a body in profile, around a slice and in drawings it is high.
        detail: share of the contrast finer than a sixteenth of the film. Photographs, slices and text have more.
        negative_spine: `spine` of the negative.
    """

    span: int
    plain: float
    chest: float
    spine: float
    flat: float
    detail: float
    negative_spine: float

    @property
    def is_constant(self) -> bool:
        """Whether there is no contrast."""
        return self.span < _LEAST_SPAN

    @property
    def is_nearly_empty(self) -> bool:
        """Whether one gray fills almost the whole frame."""
        return self.is_constant or self.plain >= _EMPTY_SHARE

    @property
    def is_inverted(self) -> bool:
        """Whether it is photometrically negative, the lungs white; of an empty film this cannot be said."""
        return not self.is_nearly_empty and self.chest < _INVERTED_BELOW

    @property
    def frontal(self) -> float:
        """How much it looks like a frontal film of the chest; half of them reach 0.75, and side views seldom 0.2."""
        return self.spine + self._frame + _OF_CHEST * self.chest

    @property
    def is_frontal(self) -> bool:
        """Whether it looks like a frontal film; three in a hundred do not, of children five."""
        return self.frontal > _FRONTAL_ABOVE

    @property
    def is_strange(self) -> bool:
        """Whether it looks so little like a frontal film that no encoder need be asked; one film in a hundred does."""
        return self.frontal < _STRANGE_BELOW

    @property
    def is_frontal_negative(self) -> bool:
        """Whether it is inverted, and its negative looks like a frontal film."""
        return self.is_inverted and self.negative_spine + self._frame - _OF_CHEST * self.chest > _FRONTAL_ABOVE

    @property
    def _frame(self) -> float:
        return -self.flat - _OF_DETAIL * self.detail


def film_marks(gray: Film) -> FilmMarks:
    """Measure a film's pixels.

    Plain edges are cut off first, and nothing depends on size, brightness or contrast but `span`, `plain` and `flat`.

    Args:
        gray: uint8, shape (H, W); whole or cut to a square.

    Raises:
        TypeError: not uint8.
        ValueError: not two-dimensional, or without pixels.
    """
    if gray.dtype != np.uint8:
        raise TypeError(f"gray must be uint8, got {gray.dtype}; read_gray gives such films")
    if gray.ndim != 2 or not gray.size:
        raise ValueError(f"gray must have shape (H, W), got {gray.shape}; read_gray gives such films")
    film, _ = shrunk(gray, _WORK_PX)
    inside = _without_plain_edges(film)
    grid = np.asarray(_resized(inside, _FINE), dtype=np.float64)
    spine, negative_spine = _spine(grid)
    return FilmMarks(
        span=int(np.ptp(film)),
        plain=_largest_share(film),
        chest=chest_likeness(film),
        spine=spine,
        flat=_largest_share(inside),
        detail=_detail(grid),
        negative_spine=negative_spine,
    )


def chest_likeness(gray: Film) -> float:
    """Correlate a film with a rough chest: bright spine and belly, dark lungs, dark beside the neck.

    Plain edges are cut off first and 16 x 16 means compared, so size, brightness, contrast and padding do not count.

    Args:
        gray: uint8, shape (H, W).

    Returns:
        -1..1; the negative of a film has the same number with the other sign. 0 where nothing is left to compare.
    """
    cells = np.asarray(_resized(_without_plain_edges(gray), _GRID), dtype=np.float64)
    return _correlation(cells, _CHEST)


def shrunk(gray: Film, most_px: int) -> tuple[Film, int]:
    """Average blocks of a large film until it fits a square.

    Args:
        gray: uint8, shape (H, W).
        most_px: side of the square.

    Returns:
        The smaller film, or the same where it fits, and the side of a block in pixels.
    """
    factor = -(-max(gray.shape) // most_px)
    return (gray if factor == 1 else np.asarray(Image.fromarray(np.ascontiguousarray(gray)).reduce(factor))), factor


def _largest_share(gray: Film) -> float:
    """Return the share of the pixels that have the most frequent gray, or one that differs from it by 2 at most."""
    counts = np.bincount(gray.ravel(), minlength=256)
    return float(np.convolve(counts, np.ones(2 * _EMPTY_TOLERANCE + 1)).max()) / gray.size


def _resized(gray: Film, side_px: int) -> Image.Image:
    return Image.fromarray(gray).resize((side_px, side_px), Image.Resampling.BOX, reducing_gap=2.0)


def _spine(grid: NDArray[np.float64]) -> tuple[float, float]:
    """Correlate the columns' means, and their negative, with a bright line between dark bands where it fits best."""
    columns = grid[_UPPER_HALF].mean(axis=0).reshape(_COLUMNS, -1).mean(axis=1)
    across = (np.arange(_COLUMNS) + 0.5) / _COLUMNS - 0.5
    found = []
    for aside in range(-_MOST_ASIDE, _MOST_ASIDE + 1):
        from_spine = across - aside / _COLUMNS
        near = np.abs(from_spine) <= _AROUND_SPINE
        found.append(_correlation(columns[near], np.cos(np.pi * from_spine[near] / _TO_LUNG)))
    return max(found), -min(found)


def _detail(grid: NDArray[np.float64]) -> float:
    """Return the share of the variance that is left within the cells of a coarse grid."""
    side = _FINE // _GRID
    blocks = grid.reshape(_GRID, side, _GRID, side)
    total = float(grid.var())
    return float(blocks.var(axis=(1, 3)).mean()) / total if total > 0 else 0.0


def _correlation(values: NDArray[np.float64], pattern: NDArray[np.float64]) -> float:
    """Return Pearson's correlation; 0 where one of the two is constant."""
    values, pattern = values - values.mean(), pattern - pattern.mean()
    spread = float(np.sqrt(np.square(values).sum() * np.square(pattern).sum()))
    return float((values * pattern).sum()) / spread if spread > 0 else 0.0


def _without_plain_edges(gray: Film) -> Film:
    """Cut off rows and columns of one gray from every side: frames, letter boxes and lead shutters."""
    for _ in range(2):
        is_plain = np.ptp(gray, axis=1) < _LEAST_SPAN
        rows = np.flatnonzero(~is_plain)
        if not len(rows):
            return gray
        gray = gray[rows[0] : rows[-1] + 1].T
    return gray


def _rough_chest() -> NDArray[np.float64]:
    """The film every chest resembles a little."""
    steps = (np.arange(_GRID) + 0.5) * (2 / _GRID) - 1
    across, down = np.abs(steps)[None, :], steps[:, None]
    lungs = np.exp(-np.square((across - 0.45) / 0.25) - np.square((down + 0.1) / 0.45))
    spine = np.exp(-np.square(across / 0.2))
    belly = np.clip(down, 0, 1) * (across < 0.8)
    beside_neck = (down < -0.6) * (across > 0.5)
    return np.asarray(2.0 * spine + 2.25 * belly - 2.0 * lungs - 1.5 * beside_neck)


_CHEST = _rough_chest()

"""What the pixels of a single film tell without an encoder: whether it is empty, a negative, and like a frontal chest.

An encoder says how far a picture lies from films; these few numbers say what kind of picture lies so far away.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Film = NDArray[np.uint8]

# A film whose grays span less than this shows nothing; lossy files of one plain gray reach about half of it.
LEAST_SPAN = 8
# Of one gray, give or take what a lossy file adds. Real films in a wide black frame reach 0.51.
EMPTY_SHARE, _EMPTY_TOLERANCE = 0.9, 2
# Of 1,432 real films, frontal and lateral, the lowest likeness is 0.05, and 0.63 the usual one.
INVERTED_BELOW = -0.08
_GRID = 16


def chest_likeness(gray: Film) -> float:
    """Correlate a film with a rough chest: bright spine and belly, dark lungs, dark beside the neck.

    Plain edges are cut off first and 16 x 16 means compared, so size, brightness, contrast and padding do not count.

    Args:
        gray: uint8, shape (H, W).

    Returns:
        -1..1; the negative of a film has the same number with the other sign. 0 where nothing is left to compare.
    """
    shrunk = Image.fromarray(_without_plain_edges(gray)).resize((_GRID, _GRID), Image.Resampling.BOX, reducing_gap=2.0)
    cells = np.asarray(shrunk, dtype=np.float64)
    spread = float(cells.std())
    return float(np.mean((cells - cells.mean()) * _CHEST)) / spread if spread > 0 else 0.0


def largest_share(gray: Film) -> float:
    """Return the share of the pixels that have the most frequent gray, or one that differs from it by 2 at most."""
    counts = np.bincount(gray.ravel(), minlength=256)
    return float(np.convolve(counts, np.ones(2 * _EMPTY_TOLERANCE + 1)).max()) / gray.size


def _without_plain_edges(gray: Film) -> Film:
    """Cut off rows and columns of one gray from every side: frames, letter boxes and lead shutters."""
    for _ in range(2):
        is_plain = np.ptp(gray, axis=1) < LEAST_SPAN
        rows = np.flatnonzero(~is_plain)
        if not len(rows):
            return gray
        gray = gray[rows[0] : rows[-1] + 1].T
    return gray


def _rough_chest() -> NDArray[np.float64]:
    """The film every chest resembles a little, with mean 0 and standard deviation 1."""
    steps = (np.arange(_GRID) + 0.5) * (2 / _GRID) - 1
    across, down = np.abs(steps)[None, :], steps[:, None]
    lungs = np.exp(-np.square((across - 0.45) / 0.25) - np.square((down + 0.1) / 0.45))
    spine = np.exp(-np.square(across / 0.2))
    belly = np.clip(down, 0, 1) * (across < 0.8)
    beside_neck = (down < -0.6) * (across > 0.5)
    chest = 2.0 * spine + 2.25 * belly - 2.0 * lungs - 1.5 * beside_neck
    return np.asarray((chest - chest.mean()) / chest.std())


_CHEST = _rough_chest()

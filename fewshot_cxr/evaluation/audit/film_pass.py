"""One pass over the films: what is kept of each, and what is wrong with it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewshot_cxr.data import DecodingFacts, decode_film, takes_any_modality
from fewshot_cxr.data.packs import file_hash
from fewshot_cxr.data.reading import read_all
from fewshot_cxr.evaluation.audit.burnt_in import burnt_in_text, shrink
from fewshot_cxr.evaluation.audit.near_duplicates import fingerprint
from fewshot_cxr.evaluation.audit.perceptual_hash import frame_bits
from fewshot_cxr.records import Problem, Record, Records

# A film whose grays span less than this shows nothing; lossy files of one plain gray reach about half of it.
_LEAST_SPAN = 8
# Of one gray, give or take what a lossy file adds. Real films in a wide black frame reach 0.51.
_EMPTY_SHARE, _EMPTY_TOLERANCE = 0.9, 2
# Of 1,432 real films, frontal and lateral, the lowest likeness is 0.05, and 0.63 the usual one.
_INVERTED_BELOW = -0.08
_GRID = 16


def film_marks(gray: NDArray[np.uint8]) -> tuple[str, ...]:
    """Name what is wrong with a film.

    "constant": no contrast. "nearly_empty": one gray fills almost the whole frame. "inverted": photometrically
    negative, the lungs are white. "burnt_in_text": letters or side markers are part of the picture. A constant film is
    nothing else, and whether a nearly empty one is inverted cannot be said.

    Args:
        gray: uint8, shape (H, W).

    Returns:
        The names, in this order; none for a good film.

    Raises:
        TypeError: not uint8.
        ValueError: not two-dimensional, or without pixels.
    """
    if gray.dtype != np.uint8:
        raise TypeError(f"gray must be uint8, got {gray.dtype}; read_gray gives such films")
    if gray.ndim != 2 or not gray.size:
        raise ValueError(f"gray must have shape (H, W), got {gray.shape}; read_gray gives such films")
    film, _ = shrink(gray)
    if np.ptp(film) < _LEAST_SPAN:
        return ("constant",)
    is_empty = _largest_share(film) >= _EMPTY_SHARE
    claims = {
        "nearly_empty": is_empty,
        "inverted": not is_empty and chest_likeness(film) < _INVERTED_BELOW,
        "burnt_in_text": bool(burnt_in_text(film)),
    }
    return tuple(name for name, is_true in claims.items() if is_true)


def chest_likeness(gray: NDArray[np.uint8]) -> float:
    """Correlate a film with a rough chest: bright spine and belly, dark lungs, dark beside the neck.

    Plain edges are cut off first and 16 x 16 means compared, so size, brightness, contrast and padding do not count.

    Args:
        gray: uint8, shape (H, W).

    Returns:
        -1..1; the negative of a film has the same number with the other sign. 0 where nothing is left to compare.
    """
    inside = _without_plain_edges(gray)
    shrunk = Image.fromarray(inside).resize((_GRID, _GRID), Image.Resampling.BOX, reducing_gap=2.0)
    cells = np.asarray(shrunk, dtype=np.float64)
    spread = float(cells.std())
    return float(np.mean((cells - cells.mean()) * _CHEST)) / spread if spread > 0 else 0.0


def _largest_share(gray: NDArray[np.uint8]) -> float:
    counts = np.bincount(gray.ravel(), minlength=256)
    return float(np.convolve(counts, np.ones(2 * _EMPTY_TOLERANCE + 1)).max()) / gray.size


def _without_plain_edges(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut off rows and columns of one gray from every side: frames, letter boxes and lead shutters."""
    for _ in range(2):
        is_plain = np.ptp(gray, axis=1) < _LEAST_SPAN
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


Progress = Callable[[int, int], None]
THUMBNAIL_PX = 16
BORDER_SHARE = 0.04  # of the shorter side: collimator edges and letters live there, hardly any lung does


@dataclass(frozen=True, eq=False)
class FilmFacts:
    """What is kept of one film.

    `byte_hash` and `pixel_hash` (with the shape) are hex; `fingerprint` and `small` serve `near_duplicates`,
    `frame` is of `frame_bits`; `thumbnail` is uint8 (16, 16); `border` is uint8 (64,): top, bottom, left, right, 16
    means each; `decoding` says what of the file is odd.
    """

    byte_hash: str
    pixel_hash: str
    fingerprint: np.ndarray
    small: np.ndarray
    frame: np.ndarray
    marks: tuple[str, ...]
    width_px: int
    height_px: int
    thumbnail: np.ndarray
    border: np.ndarray
    decoding: DecodingFacts


def read_films(
    records: Records, *, n_workers: int | None = None, progress: Progress | None = None
) -> tuple[list[FilmFacts | None], tuple[Problem, ...]]:
    """Decode every film once.

    Args:
        records: the films.
        n_workers: threads; None: one for each processor.
        progress: called with (films done, films in all).

    Returns:
        The facts in the order of `records`, None for a film that cannot be read, and these as problems.
    """
    found = read_all(partial(_facts, records), records.films, n_workers=n_workers, progress=progress)
    facts: list[FilmFacts | None] = []
    problems: list[Problem] = []
    for film, fact in zip(records, found, strict=True):
        if isinstance(fact, str):
            problems.append(Problem(None, film.path, fact, "unreadable"))
        facts.append(None if isinstance(fact, str) else fact)
    return facts, tuple(problems)


def border_means(gray: np.ndarray) -> np.ndarray:
    """Return the means of 16 pieces of each side's strip, BORDER_SHARE of the shorter side wide.

    Args:
        gray: uint8, shape (H, W).

    Returns:
        uint8, shape (64,): top and bottom from left to right, left and right from top to bottom.
    """
    depth = max(1, round(BORDER_SHARE * min(gray.shape)))
    strips = (gray[:depth], gray[-depth:], gray[:, :depth].T, gray[:, -depth:].T)
    return np.concatenate([_shrink(strip, (THUMBNAIL_PX, 1)).ravel() for strip in strips])


def _facts(records: Records, film: Record) -> FilmFacts:
    file = records.file(film)
    decoded = decode_film(file)  # first: its errors say what is wrong with the film
    if decoded.facts.stranger and not takes_any_modality(film):
        raise OSError(decoded.facts.refusal)
    gray = decoded.gray
    thumbnail = _shrink(gray, (THUMBNAIL_PX, THUMBNAIL_PX))
    # A film and its negative are compared as one, as it looks more like a chest.
    positive = 255 - gray if chest_likeness(thumbnail) < 0 else gray
    hashes, small = fingerprint(positive)
    digest = hashlib.blake2b(repr(gray.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(gray).data)
    return FilmFacts(
        byte_hash=file_hash(file),
        pixel_hash=digest.hexdigest(),
        fingerprint=hashes,
        small=small,
        frame=frame_bits(positive),
        marks=film_marks(gray),
        width_px=gray.shape[1],
        height_px=gray.shape[0],
        thumbnail=thumbnail,
        border=border_means(gray),
        decoding=decoded.facts,
    )


def _shrink(gray: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BOX))

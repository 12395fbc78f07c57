"""One pass over the films: what is kept of each, and what is wrong with it."""

import hashlib
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewshot_cxr._progress import Bar
from fewshot_cxr.data import DecodingFacts, decode_film, takes_any_modality
from fewshot_cxr.data.film_marks import chest_likeness, film_marks
from fewshot_cxr.data.packs import file_hash
from fewshot_cxr.data.reading import read_all
from fewshot_cxr.evaluation.audit.burnt_in import burnt_in_text
from fewshot_cxr.evaluation.audit.near_duplicates import fingerprint
from fewshot_cxr.evaluation.audit.perceptual_hash import frame_bits
from fewshot_cxr.records import Problem, Record, Records


def film_faults(gray: NDArray[np.uint8]) -> tuple[str, ...]:
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
    marks = film_marks(gray)
    if marks.is_constant:
        return ("constant",)
    claims = {
        "nearly_empty": marks.is_nearly_empty,
        "inverted": marks.is_inverted,
        "burnt_in_text": bool(burnt_in_text(gray)),
    }
    return tuple(name for name, is_true in claims.items() if is_true)


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
    records: Records, *, n_workers: int | None = None, progress: Bar | None = None
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
    decoded = decode_film(file, any_modality=takes_any_modality(film))  # first: its errors say what is wrong
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
        marks=film_faults(gray),
        width_px=gray.shape[1],
        height_px=gray.shape[0],
        thumbnail=thumbnail,
        border=border_means(gray),
        decoding=decoded.facts,
    )


def _shrink(gray: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(gray)).resize(size, Image.Resampling.BOX))

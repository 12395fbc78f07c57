"""Mean and spread of the training films: of all pixels together, and of each pixel of the square."""

from dataclasses import dataclass

import numpy as np

from fewshot_cxr._checks import check_at_least
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.data.cache import CachedFilms

_CHUNK_PIXELS = 2**22  # gathered at a time, so that memory does not grow with the films
_GRAY_LEVEL = 1 / 255


@dataclass(frozen=True, eq=False)
class FilmStatistics:
    """Of films scaled to 0..1, with N - 1 in the variance.

    Args:
        mean: of all pixels of all films, for `ImageSpec.mean`.
        std: of all pixels of all films, for `ImageSpec.std`.
        pixel_mean: the mean film, float32, shape (S, S).
        pixel_std: of each pixel over the films, float32, shape (S, S), never below one gray level (1/255): a pixel that
            is black on every training film must not divide by nothing.

    Examples:
        >>> flat = np.full((8, 8), 0.5, dtype=np.float32)
        >>> statistics = FilmStatistics(mean=0.5, std=0.25, pixel_mean=flat, pixel_std=flat / 2)
        >>> (1.0 - statistics.mean) / statistics.std  # what white becomes
        2.0
    """

    mean: float
    std: float
    pixel_mean: np.ndarray
    pixel_std: np.ndarray


def film_statistics(films: CachedFilms, *, progress: Bar | None = None) -> FilmStatistics:
    """Measure decoded films, a few at a time from the memory map.

    Pixels are whole numbers of 0..255, so their sums and sums of squares are exact in int64 (to 11 million films), and
    nothing cancels.

    Args:
        films: those of training alone; statistics of a test film would leak.
        progress: called with (films done, films in all).

    Raises:
        ValueError: there are fewer than two films.

    Examples:
        >>> from fewshot_cxr import ImageSpec
        >>> from fewshot_cxr.data import DatasetFilms
        >>> scans = [(np.zeros((8, 8), np.uint8), "normal"), (np.full((8, 8), 255, np.uint8), "covid19")]
        >>> statistics = film_statistics(DatasetFilms(scans, ImageSpec(size_px=8)))
        >>> statistics.mean, round(statistics.std, 3), statistics.pixel_mean.shape
        (0.5, 0.502, (8, 8))
    """
    n_films, size_px = len(films), films.size_px
    check_at_least(n_films, 2, "the number of films to measure")
    sums, squares = np.zeros((2, size_px, size_px), dtype=np.int64)
    chunk = max(1, _CHUNK_PIXELS // size_px**2)
    for first in range(0, n_films, chunk):
        last = min(first + chunk, n_films)
        images = films.rows(np.arange(first, last))
        sums += images.sum(axis=0, dtype=np.int64)
        squares += np.square(images, dtype=np.uint16).sum(axis=0, dtype=np.int64)  # 255 squared is 65,025
        tell(progress, last, n_films)
    # n times the squared differences is n * squares - sums^2, whole numbers still; only the quotient is rounded.
    pixel_variance = (n_films * squares - sums**2) / (n_films * (n_films - 1))
    n_pixels, total, total_squares = n_films * size_px**2, int(sums.sum()), int(squares.sum())
    variance = (n_pixels * total_squares - total**2) / (n_pixels * (n_pixels - 1))
    return FilmStatistics(
        mean=total / n_pixels / 255,
        std=variance**0.5 / 255,
        pixel_mean=(sums / n_films / 255).astype(np.float32),
        pixel_std=np.maximum(np.sqrt(pixel_variance) / 255, _GRAY_LEVEL).astype(np.float32),
    )

"""Near duplicates: the same film saved twice, told by its registered pixels."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewshot_cxr._checks import check_at_least
from fewshot_cxr._processors import n_processors
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.evaluation.audit.perceptual_hash import candidate_pairs, check_gray, equalised, perceptual_hash
from fewshot_cxr.evaluation.audit.registration import registered_correlations
from fewshot_cxr.evaluation.episodic.threads import in_order

SMALL_PX = 64
# Among the candidates of 1,432 real films (2026-11-21) the weakest pair that the eye calls one exposure has 0.959
# (re-cropped, arrows drawn in), the strongest that it calls two has 0.912 (one patient, a moment apart).
MIN_CORRELATION = 0.935
_TILE = 256  # films that are compared with as many others: what each brings is made once for all of these pairs
_MOST_PAIRS = 4096  # at once of these


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two films that are one and the same: their rows, the bits in which their hashes differ, their correlation."""

    a: int
    b: int
    hamming: int
    correlation: float


def fingerprint(gray: np.ndarray) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Shrink a decoded film to what near duplicates are found by.

    Args:
        gray: uint8, shape (H, W).

    Returns:
        Its hashes, uint64, shape (2,): as it is, and equalised. And the small film, uint8 (64, 64): squeezed into the
        square, not letterboxed, because registration scales each axis by itself and a re-crop changes the aspect.

    Raises:
        ValueError: not a uint8 film of two dimensions.
    """
    picture = Image.fromarray(check_gray(gray)).resize((SMALL_PX, SMALL_PX), Image.Resampling.BOX)
    small = np.asarray(picture)
    return np.array([perceptual_hash(small), perceptual_hash(equalised(small))]), small


def near_duplicates(
    hashes: np.ndarray,
    small_films: np.ndarray,
    *,
    min_correlation: float = MIN_CORRELATION,
    n_workers: int | None = None,
    progress: Bar | None = None,
) -> tuple[NearPair, ...]:
    """Find films that are one and the same: a hash proposes, the registered correlation confirms.

    Both look at the films as they are and equalised: a copy may have another contrast.

    Args:
        hashes: uint64, shape (n, 2), of `fingerprint`.
        small_films: of `fingerprint`, uint8, shape (n, 64, 64), in memory or mapped from a file.
        min_correlation: of the small films after registration.
        n_workers: threads that correlate; None: one for each processor.
        progress: called with (candidates looked at, candidates in all).

    Returns:
        The pairs with a < b, sorted. Exact copies are among them. Where more than 32 films share their hashes they are
        chained, not paired each with each.

    Raises:
        ValueError: as many hashes as films are needed.
    """
    if len(hashes) != len(small_films):
        raise ValueError(f"each film needs its hash, got {len(hashes)} hashes of {len(small_films)} small films")
    check_at_least(min_correlation, -1, "min_correlation")
    pairs, hamming = candidate_pairs(hashes)
    found, n_done, work = [], 0, partial(_confirm_part, small_films, pairs)
    for rows, correlations in in_order(work, _parts(pairs), n_workers or n_processors()):
        for place in np.flatnonzero(correlations >= min_correlation):
            a, b = pairs[rows[place]].tolist()
            found.append(NearPair(a, b, int(hamming[rows[place]]), float(correlations[place])))
        n_done += len(rows)
        tell(progress, n_done, len(pairs))
    return tuple(sorted(found, key=lambda pair: (pair.a, pair.b)))


def _confirm_part(films: np.ndarray, pairs: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return confirm(films, pairs[rows])


def _parts(pairs: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Divide pairs so that those of one part share their films: rows of `pairs`."""
    tiles = pairs // _TILE
    order = np.lexsort((tiles[:, 1], tiles[:, 0]))
    ends = np.flatnonzero(np.any(np.diff(tiles[order], axis=0), axis=1)) + 1
    return [
        part[first : first + _MOST_PAIRS]
        for part in np.split(order, ends)
        for first in range(0, len(part), _MOST_PAIRS)
    ]


def confirm(films: np.ndarray, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Correlate pairs of films equalised, and as they are where that leaves it open.

    Args:
        films: uint8, shape (n, S, S).
        pairs: rows of `films`, shape (n_pairs, 2).

    Returns:
        The higher correlation of each pair, as of `registered_correlations`.
    """
    rows, places = np.unique(pairs, return_inverse=True)
    own, pairs = films[rows], places.reshape(pairs.shape)
    evened = np.array([equalised(film) for film in own], np.uint8).reshape(own.shape)
    best = registered_correlations(evened, pairs)
    is_open = np.flatnonzero(best > 0)
    best[is_open] = np.maximum(best[is_open], registered_correlations(own, pairs[is_open]))
    return best

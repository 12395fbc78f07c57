"""Near duplicates: the same film saved twice, resized, re-contrasted, with a border or slightly re-cropped."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fewshot_cxr.evaluation.audit.perceptual_hash import candidate_pairs, check_gray, perceptual_hash
from fewshot_cxr.evaluation.audit.registration import registered_correlations

SMALL_PX = 64
# Among the candidates of 1,432 real films (2026-11-21) the weakest pair that the eye calls one exposure has 0.959
# (re-cropped, arrows drawn in), the strongest that it calls two has 0.912 (one patient, a moment apart).
MIN_CORRELATION = 0.935
_BATCH = 128


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two films that are one and the same: their rows, the bits in which their hashes differ, their correlation."""

    a: int
    b: int
    hamming: int
    correlation: float


def fingerprint(gray: np.ndarray) -> tuple[np.uint64, np.ndarray]:
    """Shrink a decoded film to what near duplicates are found by.

    Args:
        gray: uint8, shape (H, W).

    Returns:
        Its hash, and the small film, uint8 (64, 64): squeezed into the square, not letterboxed, because registration
        scales each axis by itself and a re-crop changes the aspect.

    Raises:
        ValueError: not a uint8 film of two dimensions.
    """
    picture = Image.fromarray(check_gray(gray)).resize((SMALL_PX, SMALL_PX), Image.Resampling.BOX)
    small = np.asarray(picture)
    return perceptual_hash(small), small


def near_duplicates(
    hashes: np.ndarray,
    small_films: np.ndarray,
    *,
    max_hamming: int = 10,
    min_correlation: float = MIN_CORRELATION,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NearPair, ...]:
    """Find films that are one and the same: the hash proposes, the registered correlation confirms.

    Args:
        hashes: uint64, shape (n,), of `fingerprint`.
        small_films: of `fingerprint`, uint8, shape (n, 64, 64), in memory or mapped from a file.
        max_hamming: bits in which two hashes may differ, 0..15.
        min_correlation: of the small films after registration.
        progress: called with (candidates looked at, candidates in all).

    Returns:
        The pairs with a < b, sorted. Exact copies are among them. Where more than 32 films share a hash they are
        chained, not paired each with each.

    Raises:
        ValueError: as many hashes as films are needed, or `max_hamming` out of range.
    """
    if len(hashes) != len(small_films):
        raise ValueError(f"each film needs its hash, got {len(hashes)} hashes of {len(small_films)} small films")
    pairs, hamming = candidate_pairs(hashes, max_hamming=max_hamming)
    found = []
    for first in range(0, len(pairs), _BATCH):
        batch = pairs[first : first + _BATCH]
        correlations = registered_correlations(small_films[batch[:, 0]], small_films[batch[:, 1]])
        for row in np.flatnonzero(correlations >= min_correlation):
            a, b = batch[row].tolist()
            found.append(NearPair(a, b, int(hamming[first + row]), float(correlations[row])))
        if progress is not None:
            progress(first + len(batch), len(pairs))
    return tuple(found)

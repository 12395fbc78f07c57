"""Near duplicates: the same film saved twice, told by its registered pixels."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from fewshot_cxr._checks import check_at_least
from fewshot_cxr._processors import n_processors
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.evaluation.audit.perceptual_hash import candidate_pairs, check_gray, equalised, perceptual_hash

Planes = NDArray[np.float32]

_RIM = 0.1  # share of each side that may hold a border, or lie outside the other film
_STEPS = 4
_FARTHEST_SHIFT, _FARTHEST_SCALE = 0.25, 1.3  # of half a side, and as a factor
_LARGEST_STEP = 0.08
_BLUR_PX = 64 / 24
# Gray values over all pixels: a constant film, but for rounding, correlates with nothing.
_NO_DETAIL = np.float32(0.1)
_WORTHWHILE = 0.78  # correlation after coarse registration below which the fine one cannot be high


def registered_correlations(a: np.ndarray, b: np.ndarray) -> Planes:
    """Correlate pairs of small films after registration.

    Both are freed of their coarse light and dark, which all chests share and contrast changes; each film is moved onto
    the other, first at half the size, and the better of both ways counts. The outer tenth of the resting film is left
    out.

    Args:
        a: uint8, shape (n, S, S), S even and at least 32; films squeezed into the square.
        b: the other film of each pair, alike.

    Returns:
        float32, shape (n,), -1..1; 0 where the inner part of one of the two is constant, or where the pair is plainly
        different.

    Raises:
        ValueError: shapes differ or are not square.

    Source: inverse compositional alignment, Baker and Matthews, "Lucas-Kanade 20 Years On", IJCV 2004, section 3.2;
    normalised images as in Evangelidis and Psarakis, "Parametric Image Alignment Using Enhanced Correlation
    Coefficient Maximization", PAMI 2008.
    """
    if a.shape != b.shape or a.ndim != 3 or a.shape[1] != a.shape[2] or a.shape[1] % 2:
        raise ValueError(f"small films must be two stacks (n, S, S) of one even side, got {a.shape} and {b.shape}")
    check_at_least(a.shape[1], 32, "the side of a small film")
    best = np.zeros(len(a), np.float32)
    halves, whole = (_without_light(_halved(a)), _without_light(_halved(b))), (_without_light(a), _without_light(b))
    pose = _align(*halves, _at_rest(len(a)))[1]
    rows = np.flatnonzero(_correlations_at(*whole, pose) > _WORTHWHILE)
    if len(rows):
        halves, whole = (halves[1][rows], halves[0][rows]), (whole[0][rows], whole[1][rows])
        back = _align(*halves, _at_rest(len(rows)))[1]
        best[rows] = np.maximum(_align(*whole, pose[rows])[0], _align(*whole[::-1], back)[0])
    return best


def correlation_in_place(a: np.ndarray, b: np.ndarray) -> float:
    """Correlate two small films, freed of coarse light and dark, without moving one onto the other.

    Args:
        a: uint8, shape (S, S).
        b: uint8, shape (S, S).

    Returns:
        -1..1; 0 where one of the two is constant.
    """
    planes = _without_light(np.stack([a, b])).reshape(2, -1).astype(float)
    planes -= planes.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(planes, axis=1)
    return float(planes[0] @ planes[1] / lengths.prod()) if lengths.min() > _NO_DETAIL else 0.0


def _halved(films: np.ndarray) -> Planes:
    n, side = films.shape[:2]
    halved: Planes = films.reshape(n, side // 2, 2, side // 2, 2).mean((2, 4), dtype=np.float32)
    return halved


def _at_rest(n_pairs: int) -> Planes:
    """Return poses (n, 4): shift and scale downwards, shift and scale to the right; shifts in half sides."""
    return np.tile(np.array([0, 1, 0, 1], np.float32), (n_pairs, 1))


def _without_light(films: np.ndarray) -> Planes:
    """Subtract the surroundings: what differs from a Gaussian of 1/24 of the side (1/12 of a halved film)."""
    side = films.shape[1]
    blur: Planes = gaussian_filter1d(np.eye(side, dtype=np.float32), _BLUR_PX, axis=0)
    surroundings: Planes = np.asarray(blur @ films @ blur.T, np.float32)
    return films - surroundings


def _align(resting: Planes, moving: Planes, pose: Planes) -> tuple[Planes, Planes]:
    """Move films onto resting ones by Gauss-Newton steps; return the best correlation on the way, and its pose."""
    inner, places = _inner(resting.shape[1])
    still = _normalised(resting[:, inner, inner])
    steepest, solve = _steepest(resting, still, inner, places)
    best, best_pose = np.full(len(resting), -1, np.float32), pose
    for step in range(_STEPS + 1):
        moved = _normalised(_moved(moving, pose, places))
        correlation = (moved * still).sum((1, 2))
        is_better = correlation > best
        best = np.where(is_better, correlation, best)
        best_pose = np.where(is_better[:, None], pose, best_pose)
        if step < _STEPS:
            error = (moved - still).reshape(len(moved), -1, 1)
            pose = _stepped(pose, (solve @ (steepest.transpose(0, 2, 1) @ error))[:, :, 0])
    return best, best_pose


def _correlations_at(resting: Planes, moving: Planes, pose: Planes) -> Planes:
    inner, places = _inner(resting.shape[1])
    still, moved = _normalised(resting[:, inner, inner]), _normalised(_moved(moving, pose, places))
    correlations: Planes = (moved * still).sum((1, 2))
    return correlations


def _inner(side: int) -> tuple[slice, Planes]:
    """Return the pixels within the rim, and their centres; from edge to edge of the film it is -1..1."""
    rim = round(_RIM * side)
    inner = slice(rim, side - rim)
    return inner, ((np.arange(side, dtype=np.float32) - (side - 1) / 2) / (side / 2))[inner]


def _normalised(films: Planes) -> Planes:
    films = films - films.mean((1, 2), keepdims=True)
    lengths = np.sqrt((films * films).sum((1, 2), keepdims=True)) + _NO_DETAIL
    normalised: Planes = films / lengths
    return normalised


def _steepest(resting: Planes, still: Planes, inner: slice, places: Planes) -> tuple[Planes, Planes]:
    """Return how the resting film changes with its pose, (n, pixels, 4), and the inverse of its normal matrix."""
    side = resting.shape[1]
    own = resting[:, inner, inner]
    unit = side / 2 / (own.std((1, 2), keepdims=True) * np.sqrt(own[0].size) + _NO_DETAIL)
    down, right = (np.gradient(resting, axis=axis)[:, inner, inner] * unit for axis in (1, 2))
    change = np.stack((down, down * places[:, None], right, right * places), axis=-1).reshape(len(resting), -1, 4)
    change -= change.mean(1, keepdims=True)
    # What only brightens or stretches the gray values is no motion.
    flat = still.reshape(len(still), -1, 1)
    change -= flat * (flat * change).sum(1, keepdims=True)
    normal = change.transpose(0, 2, 1) @ change
    damping = 1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-9
    return change, np.linalg.inv(normal + damping * np.eye(4, dtype=np.float32))


def _moved(films: Planes, pose: Planes, places: Planes) -> Planes:
    """Sample films (n, S, S) at pose * places by linear interpolation; beyond the edge the edge goes on."""
    side = films.shape[1]
    rows, columns = (
        np.clip((pose[:, k, None] + pose[:, k + 1, None] * places) * (side / 2) + (side - 1) / 2, 0, side - 1)
        for k in (0, 2)
    )
    pixels = np.arange(side, dtype=np.float32)
    take_rows, take_columns = (np.maximum(0, 1 - np.abs(axis[:, :, None] - pixels)) for axis in (rows, columns))
    moved: Planes = take_rows @ films @ take_columns.transpose(0, 2, 1)
    return moved


def _stepped(pose: Planes, step: Planes) -> Planes:
    """Put the inverse of a step before the pose, and keep the pose among those worth trying."""
    step = np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
    scale = pose[:, 1::2] / (1 + step[:, 1::2])
    shift = pose[:, ::2] - scale * step[:, ::2]
    stepped = np.empty_like(pose)
    stepped[:, ::2] = np.clip(shift, -_FARTHEST_SHIFT, _FARTHEST_SHIFT)
    stepped[:, 1::2] = np.clip(scale, 1 / _FARTHEST_SCALE, _FARTHEST_SCALE)
    return stepped


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
    max_hamming: int = 10,
    min_correlation: float = MIN_CORRELATION,
    n_workers: int | None = None,
    progress: Bar | None = None,
) -> tuple[NearPair, ...]:
    """Find films that are one and the same: a hash proposes, the registered correlation confirms.

    Both look at the films as they are and equalised: a copy may have another contrast.

    Args:
        hashes: uint64, shape (n, 2), of `fingerprint`.
        small_films: of `fingerprint`, uint8, shape (n, 64, 64), in memory or mapped from a file.
        max_hamming: bits in which two hashes may differ, 0..64.
        min_correlation: of the small films after registration.
        n_workers: threads that correlate; None: one for each processor.
        progress: called with (candidates looked at, candidates in all).

    Returns:
        The pairs with a < b, sorted. Exact copies are among them. Where more than 32 films share their hashes they are
        chained, not paired each with each.

    Raises:
        ValueError: as many hashes as films are needed, or `max_hamming` out of range.
    """
    if len(hashes) != len(small_films):
        raise ValueError(f"each film needs its hash, got {len(hashes)} hashes of {len(small_films)} small films")
    check_at_least(min_correlation, -1, "min_correlation")
    pairs, hamming = candidate_pairs(hashes, max_hamming=max_hamming)
    starts = range(0, len(pairs), _BATCH)
    found = []
    pool = ThreadPoolExecutor(n_workers or n_processors())
    try:
        batches = pool.map(lambda first: confirm(small_films, pairs[first : first + _BATCH]), starts)
        for first, correlations in zip(starts, batches, strict=True):
            for row in np.flatnonzero(correlations >= min_correlation) + first:
                a, b = pairs[row].tolist()
                found.append(NearPair(a, b, int(hamming[row]), float(correlations[row - first])))
            tell(progress, first + len(correlations), len(pairs))
    finally:
        pool.shutdown(cancel_futures=True)  # so that a stop by hand waits for no queue
    return tuple(found)


def confirm(films: np.ndarray, pairs: NDArray[np.int64]) -> Planes:
    """Correlate pairs of films equalised, and as they are where that leaves it open.

    Args:
        films: uint8, shape (n, S, S).
        pairs: rows of `films`, shape (n_pairs, 2).

    Returns:
        The higher correlation of each pair, as of `registered_correlations`.
    """
    a, b = films[pairs[:, 0]], films[pairs[:, 1]]
    best = registered_correlations(*(np.stack([equalised(film) for film in own]) for own in (a, b)))
    rows = np.flatnonzero(best > 0)
    if len(rows):
        best[rows] = np.maximum(best[rows], registered_correlations(a[rows], b[rows]))
    return best

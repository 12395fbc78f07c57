"""Cover a film bit by bit where the heat says, and measure what the answer loses."""

import zlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr._checks import check_whole, lookup
from fewshot_cxr.explain.focus_summary import mean_over_patients
from fewshot_cxr.metrics import Estimate, Interval, t_interval
from fewshot_cxr.patient_ids import known_patients
from fewshot_cxr.seeding import generator

MODES = {"deletion": True, "insertion": False}
"""Whether pixels go, starting from the film, or come, starting from what stands in their place."""
_CELLS = 16  # of the random order, along a side: blots as coarse as the cells of a Grad-CAM map
_BLUR_CELLS = 8


def deletion_curve(
    score: Callable[[Tensor], Tensor],
    images: Tensor,
    heat: np.ndarray,
    *,
    n_steps: int = 20,
    mode: str = "deletion",
    fill: str = "mean",
    seed: int = 0,
) -> np.ndarray:
    """Replace pixels in order of falling heat and note the score after each step.

    A map that shows what the network needs makes the score fall early (deletion), or rise early (insertion). Compare
    with the random order: pass heat that is the same everywhere. Pixels of equal heat go in random blots and not pixel
    by pixel, because scattered pixels would break every edge of the film at once, and any map would look good beside
    that. The blots follow from `seed` and the film's own pixels, so films may come in batches of any size.

    Args:
        score: images to one number each, shape (N,), larger is more so: of an encoder in eval mode. It is asked
            n_steps + 1 times, for all N images at once and without gradient.
        images: what the encoder takes, float, shape (N, C, S, S); they are left as they are.
        heat: float32, shape (N, S, S), as `heat_maps` gives it.
        n_steps: how many equal parts the pixels are replaced in.
        mode: one of MODES.
        fill: one of FILLS, what stands in for a pixel. "mean", the film's mean: nothing of the film stays; the edges of
            the patches are new to the network, but so are those of the random order. "blur", the film's own means over
            an eighth of the side, smoothly joined: fewer new edges, but large shadows stay half visible, and a network
            may answer from these as before (a classifier of three findings kept 0.56 of its probability of 0.86).
        seed: of the order of pixels of equal heat.

    Returns:
        float64, shape (N, n_steps + 1): column t after t / n_steps of the pixels.

    Raises:
        ValueError: wrong shapes, heat that is not finite, an unknown mode or fill, or n_steps outside 1..S^2.

    Examples:
        >>> films, heat = torch.zeros(1, 1, 4, 4), np.zeros((1, 4, 4))
        >>> films[0, 0, 0, 0], heat[0, 0, 0] = 16, 1  # one bright spot, and the map finds it
        >>> deletion_curve(lambda images: images[:, 0, 0, 0], films, heat, n_steps=4).tolist()  # 1 is the film's mean
        [[16.0, 1.0, 1.0, 1.0, 1.0]]

    Source: Petsiuk, Das, Saenko, "RISE: randomized input sampling for explanation of black-box models", 2018,
    arXiv:1806.07421, section 4.1.
    """
    goes = lookup(MODES, mode, what="mode")
    make_fill = lookup(FILLS, fill, what="fill")
    heat = np.asarray(heat)
    if images.ndim != 4 or heat.shape != (len(images), *images.shape[2:]) or not np.isfinite(heat).all():
        raise ValueError(
            f"heat must be finite and of the shape (N, S, S) of the images {tuple(images.shape)}, got {heat.shape}"
        )
    n_pixels = heat[0].size if len(heat) else 1
    check_whole(n_steps, "n_steps", 1)
    if n_steps > n_pixels:
        raise ValueError(f"n_steps must be at most the {n_pixels} pixels of an image, got {n_steps}")
    with torch.no_grad():
        images = images.detach()
        other = make_fill(images)
        before, after = (images, other) if goes else (other, images)
        ranks = torch.from_numpy(_ranks(heat, images, seed)).to(images.device).unsqueeze(1)
        counts = [round(n_pixels * step / n_steps) for step in range(n_steps + 1)]
        steps = [score(torch.where(ranks < count, after, before)) for count in counts]
    if any(scores.shape != (len(images),) for scores in steps):
        raise ValueError(f"score must give one number for each of {len(images)} images, got {tuple(steps[0].shape)}")
    return np.stack([scores.double().cpu().numpy() for scores in steps], axis=1)


def area_under(curves: np.ndarray) -> np.ndarray:
    """Return the mean height of curves (N, n_steps + 1), by trapezoids: float64, shape (N,), in the unit of the score.

    Small for a good map in deletion, large in insertion; only against the same films in random order does it say
    anything.

    Examples:
        >>> area_under(np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])).tolist()  # the first map is the better
        [0.25, 0.75]
    """
    curves = np.asarray(curves, dtype=np.float64)
    if curves.ndim != 2 or curves.shape[1] < 2:
        raise ValueError(f"curves must have the shape (N, n_steps + 1), got {curves.shape}")
    return np.asarray((curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2)


def _ranks(heat: np.ndarray, images: Tensor, seed: int) -> np.ndarray:
    """Return at which place each pixel's turn is, 0 for the hottest: int64, shape (N, S, S)."""
    ranks = np.empty((len(heat), heat[0].size if len(heat) else 0), dtype=np.int64)
    for row, (own, film) in enumerate(zip(heat, images.cpu(), strict=True)):
        draw = generator(seed, "order of equal heat", zlib.crc32(film.contiguous().numpy().tobytes()))
        order = np.lexsort((_blots(own.shape, draw).ravel(), -own.ravel()))
        ranks[row, order] = np.arange(len(order))
    return ranks.reshape(heat.shape)


def _blots(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    cells = torch.from_numpy(draw.random((1, 1, _CELLS, _CELLS)))
    smooth: np.ndarray = functional.interpolate(cells, size=shape, mode="bicubic")[0, 0].numpy()
    return smooth


def _blur(images: Tensor) -> Tensor:
    cells = functional.interpolate(images, size=min(_BLUR_CELLS, images.shape[-1]), mode="area")
    return functional.interpolate(cells, size=images.shape[2:], mode="bilinear", align_corners=False)


def _mean(images: Tensor) -> Tensor:
    return images.mean(dim=(2, 3), keepdim=True).expand_as(images)


FILLS: dict[str, Callable[[Tensor], Tensor]] = {"blur": _blur, "mean": _mean}


@dataclass(frozen=True)
class GainRow:
    """How much better than chance heat maps order the pixels of films, in the unit of the score.

    Args:
        mode: "deletion" or "insertion".
        n_films: films whose map is not the same everywhere.
        n_patients: their patients.
        n_without_heat: films that are left out, because their map is: it gives no order.
        gain: the mean over films with its interval over patients; above 0 the hot places matter more than any.
        share_gaining: films whose own gain is above 0, 0..1.
        n_films_without_patient: of the films; each counts as a patient of its own.
    """

    mode: str
    n_films: int
    n_patients: int
    n_without_heat: int
    gain: Estimate
    share_gaining: float | None
    n_films_without_patient: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        counts = {name: value for name, value in vars(self).items() if name not in ("gain", "share_gaining")}
        found = {"mean": self.gain.mean, "ci95": self.gain.ci95, "share_gaining": self.share_gaining}
        return counts | found | {"reason": self.gain.reason}


def summarise_gains(
    gains: Mapping[str, np.ndarray], *, patients: Sequence[Hashable], n_without_heat: int = 0
) -> tuple[GainRow, ...]:
    """Average the gains of films in each mode: Student's t interval, with films of one patient as one cluster.

    Args:
        gains: mode -> float, shape (N,).
        patients: of the N films; None, NaN or "" is unknown.
        n_without_heat: films that are not among them.

    Raises:
        ValueError: the lengths differ.

    Source: the linearised variance of a mean of clusters: Cochran, "Sampling techniques", 1977, chapter 9A.
    """
    lengths = {mode: len(values) for mode, values in gains.items()}
    if set(lengths.values()) - {len(patients)}:
        raise ValueError(f"each film needs one gain in each mode, got {lengths} for {len(patients)} films")
    return tuple(_row(mode, np.asarray(values), patients, n_without_heat) for mode, values in gains.items())


def _row(mode: str, values: np.ndarray, patients: Sequence[Hashable], n_without_heat: int) -> GainRow:
    numbers, is_known = known_patients(len(patients), patients)
    gain = mean_over_patients(values, numbers, _interval, nothing="no film has heat")
    share = float((values > 0).mean()) if len(values) else None
    return GainRow(mode, len(values), len(np.unique(numbers)), n_without_heat, gain, share, int((~is_known).sum()))


def _interval(mean: float, variance: float, degrees: int) -> Interval | None:
    return None if variance == 0 else t_interval(mean, variance, degrees)

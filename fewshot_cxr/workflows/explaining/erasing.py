"""Does the answer hang on the places of the heat? Films covered bit by bit, hottest places first, and at random."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.data import CachedFilms
from fewshot_cxr.explain.deletion import MODES, area_under, deletion_curve
from fewshot_cxr.seeding import hashed_bits, text_key
from fewshot_cxr.workflows.explaining.explainer import ATTENTION, Explainer

Progress = Callable[[int, int], None]
BY_HEAT, AT_RANDOM = "by heat", "at random"
_BATCH = 32


@dataclass(frozen=True, eq=False)
class Erasure:
    """How the target changes while films are covered (deletion) or uncovered (insertion).

    Attributes:
        curves: mode -> order ("by heat", "at random") -> the target, float64, shape (N, n_steps + 1).
        paths: of the N films.
        seed: of the draw of films and of the random order.
    """

    curves: dict[str, dict[str, np.ndarray]]
    paths: tuple[str, ...]
    seed: int

    def gains(self) -> dict[str, np.ndarray]:
        """Return by mode how much better than chance the map orders each film, shape (N,), in the target's unit.

        That is the area between the two curves: above 0, the hot places matter more than any.
        """
        return {
            mode: (-1 if mode == "deletion" else 1) * (area_under(orders[BY_HEAT]) - area_under(orders[AT_RANDOM]))
            for mode, orders in self.curves.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "n_films": len(self.paths),
            "seed": self.seed,
            "curves": {
                mode: {order: scores.mean(axis=0).tolist() for order, scores in orders.items()}
                for mode, orders in self.curves.items()
            },
            "gain_over_random": {mode: float(gains.mean()) for mode, gains in self.gains().items()},
        }


def erase_films(
    explainer: Explainer,
    films: CachedFilms,
    *,
    n_films: int = 64,
    n_steps: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
) -> Erasure:
    """Cover and uncover some films in the order of their heat, and in random blots.

    Args:
        explainer: what is asked, of which encoder.
        films: one finding each; at most `n_films` of them are drawn, by seed and path.
        n_films: each costs 4 (n_steps + 1) passes through the encoder.
        n_steps: parts that a film is covered in.
        seed: of the draw and of the random order.
        progress: called with (films done, films in all).

    Raises:
        ValueError: n_films is below 1, or the method is attention, which explains no number.
    """
    check_at_least(n_films, 1, "n_films")
    if explainer.method == ATTENTION:
        raise ValueError("attention maps explain no number that could change: leave --deletion out, or take grad_cam")
    keys = [int(hashed_bits(seed, text_key(film.path))) for film in films.records]
    chosen = sorted(sorted(range(len(films)), key=keys.__getitem__)[:n_films])
    parts: dict[tuple[str, str], list[np.ndarray]] = {}
    for first in range(0, len(chosen), _BATCH):
        rows = chosen[first : first + _BATCH]
        images = films.rows(rows)
        decided, truths = explainer.decide(images), [films.records[row].finding for row in rows]
        heat = explainer.heat(images, decided, truths)
        score, inputs = explainer.score(explainer.target(decided, truths)), explainer.images(images)
        for mode in MODES:
            for order, values in ((BY_HEAT, heat), (AT_RANDOM, np.zeros_like(heat))):
                curve = deletion_curve(score, inputs, values, n_steps=n_steps, mode=mode, seed=seed)
                parts.setdefault((mode, order), []).append(curve)
        if progress is not None:
            progress(first + len(rows), len(chosen))
    curves = {mode: {order: np.concatenate(parts[mode, order]) for order in (BY_HEAT, AT_RANDOM)} for mode in MODES}
    return Erasure(curves, tuple(films.records[row].path for row in chosen), seed)

"""Does the answer hang on the places of the heat? Films covered bit by bit, hottest places first, and at random."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_at_least
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.data import patient_ids
from fewshot_cxr.explain.deletion import MODES, GainRow, area_under, deletion_curve, summarise_gains
from fewshot_cxr.seeding import hashed_bits, text_key
from fewshot_cxr.workflows.explaining.deciders import ByExemplars
from fewshot_cxr.workflows.explaining.explainer import ATTENTION, Explainer, RunFilms

BY_HEAT, AT_RANDOM = "by heat", "at random"
_BATCH = 32
_FILL = "mean"


@dataclass(frozen=True, eq=False)
class Erasure:
    """How the target changes while films are covered (deletion) or uncovered (insertion).

    Attributes:
        curves: mode -> order ("by heat", "at random") -> the target, float64, shape (N, n_steps + 1).
        paths, patients: of the N films; a patient is a number that stands for it here alone,
            None where it is unknown.
        n_without_heat: films that were drawn too, but whose map is the same everywhere and gives no order.
        score: what the target is, in words.
        fill: a name in FILLS: what covers a film.
        seed: of the draw of films and of the random order.
    """

    curves: dict[str, dict[str, np.ndarray]]
    paths: tuple[str, ...]
    patients: tuple[int | None, ...]
    n_without_heat: int
    score: str
    fill: str
    seed: int

    def gains(self) -> tuple[GainRow, ...]:
        """Return by mode how much better than chance the maps order the films: the area between the two curves."""
        gains = {
            mode: (-1 if mode == "deletion" else 1) * (area_under(orders[BY_HEAT]) - area_under(orders[AT_RANDOM]))
            for mode, orders in self.curves.items()
        }
        return summarise_gains(gains, patients=self.patients, n_without_heat=self.n_without_heat)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        curves = {
            mode: {order: scores.mean(axis=0).tolist() for order, scores in orders.items()}
            for mode, orders in self.curves.items()
            if self.paths
        }
        return {
            "n_films": len(self.paths),
            "n_without_heat": self.n_without_heat,
            "seed": self.seed,
            "score": self.score,
            "fill": self.fill,
            "curves": curves,
            "gain_over_random": [row.to_json() for row in self.gains()],
        }


def erase_films(
    run: RunFilms, *, n_films: int = 64, n_steps: int = 20, seed: int = 0, progress: Bar | None = None
) -> Erasure:
    """Cover and uncover some films in the order of their heat, and in random blots.

    Films without heat are drawn, counted and left out: their map gives no order.

    Args:
        run: what is asked, of which encoder; of its films at most `n_films` are drawn, by seed and path.
        n_films: each costs 4 (n_steps + 1) passes through the encoder.
        n_steps: parts that a film is covered in.
        seed: of the draw and of the random order.
        progress: called with (films done, films in all).

    Raises:
        ValueError: n_films is below 1, or the method is attention, which explains no number.
    """
    check_at_least(n_films, 1, "n_films")
    explainer, records = run.explainer, run.films.records
    if explainer.method == ATTENTION:
        raise ValueError("attention maps explain no number that could change: leave --deletion out, or take grad_cam")
    keys = [int(hashed_bits(seed, text_key(film.path))) for film in records]
    chosen = sorted(sorted(range(len(records)), key=keys.__getitem__)[:n_films])
    parts: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    known = patient_ids(records)
    kept: list[int] = []
    n_done = 0
    for rows, decided, heat in run.heated(chosen, _BATCH):
        is_warm = np.ptp(heat, axis=(1, 2)) > 0
        score, inputs = explainer.score(explainer.target(decided)), explainer.images(decided.films)
        for mode, (order, values) in product(MODES, ((BY_HEAT, heat), (AT_RANDOM, np.zeros_like(heat)))):
            curve = deletion_curve(score, inputs, values, n_steps=n_steps, mode=mode, fill=_FILL, seed=seed)
            parts[mode, order].append(curve[is_warm])
        kept += np.array(rows)[is_warm].tolist()
        n_done += len(rows)
        tell(progress, n_done, len(chosen))
    return Erasure(
        {mode: {order: np.concatenate(parts[mode, order]) for order in (BY_HEAT, AT_RANDOM)} for mode in MODES},
        paths=tuple(records[row].path for row in kept),
        patients=tuple(known[row] for row in kept),
        n_without_heat=len(chosen) - len(kept),
        score=score_text(explainer),
        fill=_FILL,
        seed=seed,
    )


def score_text(explainer: Explainer) -> str:
    """Return in words what the number is that an explainer's question asks about, short enough for a small axis."""
    by = explainer.decider
    if not isinstance(by, ByExemplars) or by.is_learned:
        score = "logit of 'same'" if isinstance(by, ByExemplars) else "logit"
        return score + {"contrast": " less the others'", "why": " less the next one's"}.get(explainer.question, "")
    nearer = {"contrast": "the others", "why": "the next"}.get(explainer.question)
    if nearer is not None:
        return f"how much nearer than {nearer}"
    return "similarity (1 - distance)" if by.plain_distance == "cosine" else "similarity (minus the distance)"

"""What the order by heat gains over a random one when films are covered: the mean with its interval over patients."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fewshot_cxr.explain.focus_summary import variance_of_mean
from fewshot_cxr.metrics import t_interval


@dataclass(frozen=True)
class GainRow:
    """How much better than chance heat maps order the pixels of films, in the unit of the score.

    Args:
        mode: "deletion" or "insertion".
        n_films, n_patients: whose map is not the same everywhere.
        n_without_heat: films that are left out, because theirs is: it gives no order.
        mean: over films; above 0 the hot places matter more than any. None where there is no film.
        ci95: over patients.
        share_gaining: films whose own gain is above 0, 0..1.
        reason: why the mean or the interval is absent.
    """

    mode: str
    n_films: int
    n_patients: int
    n_without_heat: int
    mean: float | None
    ci95: tuple[float, float] | None
    share_gaining: float | None
    reason: str | None


def summarise_gains(
    gains: Mapping[str, np.ndarray], *, patients: Sequence[Hashable], n_without_heat: int = 0
) -> tuple[GainRow, ...]:
    """Average the gains of films in each mode: Student's t interval, with films of one patient as one cluster.

    Args:
        gains: mode -> float, shape (N,).
        patients: of the N films.
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
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(patients))}
    counts = len(values), len(numbers), n_without_heat
    if not len(values):
        return GainRow(mode, *counts, None, None, None, "no film has heat")
    mean, share = float(values.mean()), float((values > 0).mean())
    if len(numbers) < 2:
        return GainRow(mode, *counts, mean, None, share, "it rests on one patient: no interval")
    variance = variance_of_mean(values, np.array([numbers[patient] for patient in patients]))
    if variance == 0:
        return GainRow(mode, *counts, mean, None, share, "nothing varies to measure chance by")
    return GainRow(mode, *counts, mean, t_interval(mean, variance, len(numbers) - 1), share, None)

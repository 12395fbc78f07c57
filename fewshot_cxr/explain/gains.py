"""What the order by heat gains over a random one when films are covered: the mean with its interval over patients."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewshot_cxr.explain.focus_summary import mean_over_patients, patient_numbers
from fewshot_cxr.metrics import Estimate, Interval, t_interval


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
    """

    mode: str
    n_films: int
    n_patients: int
    n_without_heat: int
    gain: Estimate
    share_gaining: float | None

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
    numbers = patient_numbers(patients)
    gain = mean_over_patients(values, numbers, _interval, nothing="no film has heat")
    share = float((values > 0).mean()) if len(values) else None
    return GainRow(mode, len(values), len(np.unique(numbers)), n_without_heat, gain, share)


def _interval(mean: float, variance: float, degrees: int) -> Interval | None:
    return None if variance == 0 else t_interval(mean, variance, degrees)

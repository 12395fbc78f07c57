"""How far a number would move with other patients: a jackknife that leaves each patient out, in one pass.

The mean over the episodes in which a patient does not occur is the mean over all episodes of the films without that
patient: one sequence of episodes holds every delete-one replicate, with common random numbers. What is left of the
Monte-Carlo noise goes by products of independent parts of the episodes, where a sum of squares would keep it.

Source: Efron, Stein, "The jackknife estimate of variance", 1981; replicates read off the same draws as in Efron,
"Jackknife-after-bootstrap standard errors", 1992. Coverage: benchmarks/interval_coverage.py.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodeBlock, EpisodeSource
from fewshot_cxr.seeding import hashed_bits, text_key

N_PARTS = 4
_MOST_UNITS = 1000  # memory and time stay bounded; with more patients several make a unit
_FEWEST_WITHOUT = 8  # episodes of a part without a unit: below this its replicate is noise
_FEWEST_FOLDS = 2  # the same where an episode is a fold, which asks a good part of all films


@dataclass(frozen=True, eq=False)
class PatientUnits:
    """The patients of some films, each a unit, or joined at random where there are more than a thousand.

    `unit_of_row` int64 (N,); `n_units`; `n_patients`; `patients_of_class` how many patients each class has; `hash`
    names the units by their films. Neither the order of rows nor the patients' names matter (where films have paths).
    """

    unit_of_row: np.ndarray
    n_units: int
    n_patients: int
    patients_of_class: dict[int, int]
    hash: str

    @classmethod
    def of(cls, films: Embeddings, n_most: int = _MOST_UNITS) -> "PatientUnits":
        """Number the patients of the films."""
        texts = films.paths if films.paths is not None else tuple(map(str, range(len(films))))
        keys = np.array([text_key(text) for text in texts], dtype=np.uint64)
        if not films.is_multi_label:  # films of different findings may go by one name, such as 1.png in two folders
            names = np.array([text_key(name) for name in films.class_names or ()], dtype=np.uint64)
            keys = hashed_bits(names[films.class_ids], keys)
        patients = np.unique(films.patient_ids, return_inverse=True)[1]
        smallest = np.full(int(patients.max()) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
        np.minimum.at(smallest, patients, keys)
        members = _membership(films)
        first_class = np.full(len(smallest), len(films.class_names or ()))
        for class_id in range(members.shape[1] - 1, -1, -1):
            first_class[patients[members[:, class_id]]] = class_id
        # Dealt out class by class, so that every unit has its share of each class.
        rank = np.empty(len(smallest), dtype=np.int64)
        rank[np.lexsort((smallest, first_class))] = np.arange(len(smallest))
        units = (rank % n_most)[patients]
        digest = hashlib.sha256(np.stack([keys, units.astype(np.uint64)])[:, np.argsort(keys)].tobytes())
        counts = {c: len(np.unique(patients[members[:, c]])) for c in np.flatnonzero(members.any(axis=0)).tolist()}
        return cls(units, min(n_most, len(smallest)), len(smallest), counts, digest.hexdigest())


@dataclass(frozen=True, eq=False)
class PatientPlan:
    """The episodes that the interval over patients is read off, or the reason why there is none.

    `queries_only`: a patient counts as part of an episode only where they are asked. `asks_fewer`: these episodes ask
    fewer queries than those of the result.
    """

    episodes: EpisodeSource | None
    queries_only: bool = False
    asks_fewer: bool = False
    note: str | None = None
    reason: str | None = None


class PatientTally:
    """Sums of additive statistics over the episodes with and without each unit; no larger with more episodes.

    Args:
        units: of the films.
        n_statistics: numbers in a row.
        queries_only: whether a unit counts as part of an episode only where it is asked (a fixed support holds all).
    """

    def __init__(self, units: PatientUnits, n_statistics: int, *, queries_only: bool = False) -> None:
        self.units, self.queries_only = units, queries_only
        self._with = torch.zeros(N_PARTS, units.n_units, n_statistics, dtype=torch.float64)
        self._n_with = torch.zeros(N_PARTS, units.n_units, dtype=torch.float64)
        self._all = torch.zeros(N_PARTS, n_statistics, dtype=torch.float64)
        self._n_all = torch.zeros(N_PARTS, dtype=torch.float64)

    @property
    def n_episodes(self) -> int:
        """Episodes seen so far."""
        return int(self._n_all.sum())

    @property
    def mean(self) -> Tensor:
        """Mean of the statistics over the episodes seen so far, (n_statistics,)."""
        return self._all.sum(dim=0) / self._n_all.sum()

    def add(self, block: EpisodeBlock, rows: Tensor) -> None:
        """Add the statistics of a block's episodes, float64, shape (n, n_statistics)."""
        is_in = unit_occurrence(block, self.units, queries_only=self.queries_only)
        numbers = np.arange(block.first, block.first + len(block))
        for part in range(N_PARTS):
            chosen = torch.from_numpy(np.flatnonzero(numbers % N_PARTS == part))
            occurs, some = is_in[chosen], rows[chosen]
            self._with[part] += occurs.T @ some
            self._n_with[part] += occurs.sum(dim=0)
            self._all[part] += some.sum(dim=0)
            self._n_all[part] += len(chosen)

    def changes(self) -> Tensor | None:
        """Return how the means change when a unit is left out, (N_PARTS, n_units, n_statistics).

        None: some unit is in nearly every episode, so that nothing is known of episodes without it.
        """
        n_without = self._n_all[:, None] - self._n_with
        if float(n_without.min()) < (_FEWEST_FOLDS if self.queries_only else _FEWEST_WITHOUT):
            return None
        without = (self._all[:, None] - self._with) / n_without[:, :, None]
        return without - (self._all / self._n_all[:, None])[:, None]


def unit_occurrence(block: EpisodeBlock, units: PatientUnits, *, queries_only: bool = False) -> Tensor:
    """Return 1 where a unit has a film in an episode, else 0: float64, shape (n, n_units)."""
    sides = [block.query] if queries_only else [block.support, block.query, block.outside]
    flat = [side.reshape(len(block), -1) for side in sides if side is not None]
    rows = np.concatenate(flat, axis=1)
    # Padding (-1) falls into a column of its own, which is cut off.
    where = np.where(rows < 0, units.n_units, units.unit_of_row[rows])
    is_in = torch.zeros(len(block), units.n_units + 1, dtype=torch.float64)
    return is_in.scatter_(1, torch.from_numpy(where), 1.0)[:, :-1]


def population_variance(influence: np.ndarray, n_patients: int) -> float:
    """Return the variance of a number over patients, without Monte-Carlo noise; below 0 by chance where it is tiny.

    Args:
        influence: change of the number when a unit is left out, as independent parts of the episodes see it,
            shape (n_parts, n_units), n_parts above 1.
        n_patients: how many there are.
    """
    n_parts = len(influence)
    products = influence.sum(axis=0) ** 2 - (influence**2).sum(axis=0)
    return float(products.sum()) / (n_parts * (n_parts - 1)) * (n_patients - 1) / n_patients


def paired_variances(batches: np.ndarray, influence: np.ndarray | None, n_patients: int) -> tuple[float, float | None]:
    """Return the variance of the difference of two numbers from the same episodes: over episodes, and in all.

    Args:
        batches: the difference in equal shares of the episodes, shape (n_batches,), n_batches above 1.
        influence: its change when a unit is left out, as for `population_variance`; None: only over episodes.
        n_patients: how many there are.

    Returns:
        Variance over episodes, and that over patients with the first added to it (None without `influence`).
    """
    over_episodes = float(batches.var(ddof=1)) / len(batches)
    if influence is None:
        return over_episodes, None
    return over_episodes, max(0.0, population_variance(influence, n_patients)) + over_episodes


def _membership(films: Embeddings) -> np.ndarray:
    if films.is_multi_label:
        return np.asarray(films.class_ids == 1)
    return np.asarray(films.class_ids[:, None] == np.arange(len(films.class_names or ()))[None, :])

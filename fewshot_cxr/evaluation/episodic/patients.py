"""How far a number would move with other patients: a jackknife that leaves each patient out, in one pass.

Among the episodes that hold a finding, those in which a patient does not occur are the episodes of the films without
that patient: one sequence of episodes holds every delete-one replicate, with common random numbers. What is left of the
Monte-Carlo noise goes by products of independent parts of the episodes, where a sum of squares would keep it.

Source: Efron, Stein, "The jackknife estimate of variance", 1981; replicates read off the same draws as in Efron,
"Jackknife-after-bootstrap standard errors", 1992. Coverage: benchmarks/interval_coverage.py.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodeBlock, EpisodeSource
from fewshot_cxr.episodes.films import film_keys
from fewshot_cxr.unknown_patients import over_patients

N_PARTS = 4
_MOST_UNITS = 1000  # memory and time stay bounded; with more patients several make a unit
_FEWEST_WITHOUT = 8  # episodes of a part without a unit: below this its replicate is noise
_FEWEST_PROBED = 16
_FEWEST_FOLDS = 2  # the same where an episode is a fold, which asks a good part of all films


@dataclass(frozen=True, eq=False)
class PatientUnits:
    """The patients of some films, each a unit, or joined by finding where there are more than a thousand.

    `unit_of_row` int64 (N,); `n_units`; `n_patients`; `patients_of_class` how many patients each class has;
    `findings` int64 (2, M), a row and its class for every finding of every film, of `n_classes`; `hash` names the units
    by their films; a film of an unknown patient is one, and counts in `n_films_without_patient`. Neither the order of
    rows nor the patients' names matter (where films have paths).
    """

    unit_of_row: np.ndarray
    n_units: int
    n_patients: int
    patients_of_class: dict[int, int]
    findings: np.ndarray
    n_classes: int
    hash: str
    n_films_without_patient: int = 0

    @property
    def over(self) -> str:
        """What an interval over the units is over, in words."""
        return over_patients(self.n_films_without_patient, len(self.unit_of_row))

    @cached_property
    def first_class_of_row(self) -> np.ndarray:
        """The first class of each film, int64 (N,); 0 where it has none."""
        first = np.zeros(len(self.unit_of_row), dtype=np.int64)
        first[self.findings[0, ::-1]] = self.findings[1, ::-1]  # of several the first is written last
        return first

    @classmethod
    def of(cls, films: Embeddings, n_most: int = _MOST_UNITS) -> "PatientUnits":
        """Number the patients of the films."""
        keys, smallest = film_keys(films.class_ids, films.patient_ids, films.class_names, films.paths)
        patients, n_patients, n_classes = films.patient_ids, len(smallest), len(films.class_names)
        rows, classes = findings = _findings(films)
        first_class = np.full(n_patients, n_classes)
        np.minimum.at(first_class, patients[rows], classes)
        units = _joined(np.lexsort((smallest, first_class)), first_class, n_most)[patients]
        digest = hashlib.sha256(np.stack([keys, units.astype(np.uint64)])[:, np.argsort(keys)].tobytes())
        present, counts = np.unique(np.unique(classes * n_patients + patients[rows]) // n_patients, return_counts=True)
        return cls(
            unit_of_row=units,
            n_units=int(units.max()) + 1,
            n_patients=n_patients,
            patients_of_class=dict(zip(present.tolist(), counts.tolist(), strict=True)),
            findings=findings,
            n_classes=n_classes,
            hash=digest.hexdigest(),
            n_films_without_patient=films.n_films_without_patient,
        )


def _joined(order: np.ndarray, first_class: np.ndarray, n_most: int) -> np.ndarray:
    """Return the unit of each patient: its own, or one of about n_most, shared with patients of the same class.

    Args:
        order: of the patients, those of one class side by side.
        first_class: of each patient.
        n_most: units.
    """
    units = np.empty(len(order), dtype=np.int64)
    units[order] = np.arange(len(order))
    if len(order) <= n_most:
        return units
    first = 0
    for own in np.split(order, np.flatnonzero(np.diff(first_class[order])) + 1):
        n_units = max(1, len(own) * n_most // len(order))
        units[own] = first + np.arange(len(own)) % n_units
        first += n_units
    return units


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

    A unit is left out of one finding at a time, and only among the episodes that hold the finding: episodes without the
    unit hold its finding less often, and that is no effect of the patient. The effects by finding add up.

    Args:
        units: of the films.
        n_statistics: numbers in a row.
        queries_only: whether a unit counts as part of an episode only where it is asked (a fixed support holds all).
        period: consecutive episodes that belong together (the folds of one division), and so to one part.
    """

    def __init__(self, units: PatientUnits, n_statistics: int, *, queries_only: bool = False, period: int = 1) -> None:
        self.units, self.queries_only, self._period = units, queries_only, period
        self._cells = Cells.of(units)
        n_cells, n_roles = len(self._cells.unit), self._cells.n_roles
        self._with = torch.zeros(N_PARTS, n_cells, n_statistics, dtype=torch.float64)
        self._n_with = torch.zeros(N_PARTS, n_cells, dtype=torch.float64)
        self._of_role = torch.zeros(N_PARTS, n_roles, n_statistics, dtype=torch.float64)
        self._n_of_role = torch.zeros(N_PARTS, n_roles, dtype=torch.float64)
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
        is_in, has_role = self._cells.occurrence(block, queries_only=self.queries_only)
        numbers = np.arange(block.first, block.first + len(block)) // self._period
        for part in range(N_PARTS):
            chosen = torch.from_numpy(np.flatnonzero(numbers % N_PARTS == part))
            some = rows[chosen]
            self._with[part] += is_in[chosen].T @ some
            self._n_with[part] += is_in[chosen].sum(dim=0)
            self._of_role[part] += has_role[chosen].T @ some
            self._n_of_role[part] += has_role[chosen].sum(dim=0)
            self._all[part] += some.sum(dim=0)
            self._n_all[part] += len(chosen)

    def changes(self) -> Tensor | None:
        """Return how the means change when a unit is left out, (N_PARTS, n_units, n_statistics).

        None: some unit is in nearly every episode that holds its finding, so that nothing is known of those without it.
        """
        role = torch.from_numpy(self._cells.role)
        n_role = self._n_of_role[:, role]
        n_without = n_role - self._n_with
        # A finding that is only now and then asked from outside moves little, however it is estimated.
        is_counted = (n_role > 0) & (role < self._cells.n_roles // 2)
        fewest = _FEWEST_FOLDS if self.queries_only else _FEWEST_WITHOUT
        if bool((self._n_all == 0).any()) or bool((n_without[is_counted] < fewest).any()):
            return None
        sums = self._of_role[:, role]
        without = (sums - self._with) / n_without.clamp_min(1)[:, :, None] - sums / n_role.clamp_min(1)[:, :, None]
        effects = without * (n_role / self._n_all[:, None] * (n_without >= fewest))[:, :, None]
        by_unit = torch.zeros(N_PARTS, self.units.n_units, effects.shape[2], dtype=torch.float64)
        return by_unit.index_add_(1, torch.from_numpy(self._cells.unit), effects)


@dataclass(frozen=True, eq=False)
class Cells:
    """The pairs of a unit and a role in which it can occur: a film of a finding, or of an outside finding.

    `unit` and `role` int64 (n_cells,); `cell` int64 (n_units, n_roles), -1 where there is no such pair. Role c is
    finding c in the episode, role n_classes + c finding c asked from outside.
    """

    units: PatientUnits
    unit: np.ndarray
    role: np.ndarray
    cell: np.ndarray
    n_roles: int

    @classmethod
    def of(cls, units: PatientUnits) -> "Cells":
        """List the pairs."""
        (row, class_id), n_classes = units.findings, units.n_classes
        is_pair = np.zeros((units.n_units, 2 * n_classes), dtype=bool)
        is_pair[units.unit_of_row[row], class_id] = True
        is_pair[units.unit_of_row[row], n_classes + class_id] = True
        unit, role = np.nonzero(is_pair)
        cell = np.full(is_pair.shape, -1, dtype=np.int64)
        cell[unit, role] = np.arange(len(unit))
        return cls(units, unit, role, cell, 2 * n_classes)

    def occurrence(self, block: EpisodeBlock, *, queries_only: bool = False) -> tuple[Tensor, Tensor]:
        """Return 1 where a cell, and where a role, occurs in an episode: float64, (n, n_cells) and (n, n_roles)."""
        roles = [block.class_ids]
        cells = []
        for side in (block.query,) if queries_only else (block.support, block.query):
            found = self.cell[self.units.unit_of_row[side], block.class_ids[:, :, None]]
            cells.append(np.where(side < 0, -1, found).reshape(len(block), -1))
        if block.outside is not None and not queries_only:
            outside = self.units.n_classes + self.units.first_class_of_row[block.outside]
            roles.append(outside)
            cells.append(self.cell[self.units.unit_of_row[block.outside], outside])
        return _marked(np.concatenate(cells, axis=1), len(self.unit)), _marked(
            np.concatenate(roles, axis=1), self.n_roles
        )

    def largest_share(self, block: EpisodeBlock) -> float:
        """Return in which share of the episodes that hold its finding the most frequent unit is."""
        is_in, has_role = (marks.sum(dim=0) for marks in self.occurrence(block))
        n_role = has_role[torch.from_numpy(self.role)]
        is_known = n_role >= min(_FEWEST_PROBED, len(block))  # of fewer episodes a share says nothing
        return float((is_in / n_role.clamp_min(1))[is_known].max()) if bool(is_known.any()) else 0.0


def _marked(places: np.ndarray, size: int) -> Tensor:
    # Padding (-1) falls into a column of its own, which is cut off.
    marks = torch.zeros(len(places), size + 1, dtype=torch.float64)
    return marks.scatter_(1, torch.from_numpy(np.where(places < 0, size, places)), 1.0)[:, :-1]


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


def _findings(films: Embeddings) -> np.ndarray:
    if films.is_multi_label:
        return np.stack(np.nonzero(films.class_ids == 1))
    return np.stack([np.arange(len(films)), films.class_ids])

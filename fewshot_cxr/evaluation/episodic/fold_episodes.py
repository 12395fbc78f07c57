"""Cross-validation inside the user's own support set, as episodes: one fold is asked, the others are the support."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodeBlock
from fewshot_cxr.episodes.films import film_keys
from fewshot_cxr.seeding import hashed_bits

_FOLD = 4  # the kind of draw: its own stream of random bits (episodes.py and class_pool.py have the others)
_MAX_ATTEMPTS = 50
_BLOCK_CELLS = 1 << 20


@dataclass(frozen=True, eq=False, kw_only=True)
class FoldEpisodes:
    """n_repeats times n_folds episodes: episode i asks for the films of fold i % n_folds of division i // n_folds.

    Folds hold whole patients, with about the same number of patients of each finding, and every finding is in every
    fold. They follow from `seed` and the films alone: not from the order of rows, or patients' names.

    Source: few folds estimate the accuracy of a small task best, see Shimabucoro, Timofte, Hospedales, "Evaluating the
    Evaluators: Are Current Few-Shot Learning Benchmarks Fit for Purpose?", 2023, arXiv:2307.02732.
    """

    class_names: tuple[str, ...]
    n_folds: int
    n_repeats: int
    seed: int
    never: tuple[str, ...]
    hash: str
    notes: tuple[str, ...]
    rows_of_class: tuple[np.ndarray, ...]  # the films of each class of the episodes
    class_ids: np.ndarray  # (n_way,), ascending
    fold_of_row: np.ndarray  # (n_repeats, N), -1 for films that are in no fold
    outside: np.ndarray | None  # (n_outside,)

    @classmethod
    def draw(
        cls, films: Embeddings, *, n_folds: int = 5, n_repeats: int = 20, seed: int = 0, never: tuple[str, ...] = ()
    ) -> "FoldEpisodes":
        """Divide the films, `n_repeats` times.

        Args:
            films: the support set, one finding per film.
            n_folds: folds; where a finding has fewer patients, as many as it has, and a note says so.
            n_repeats: divisions, each with other folds.
            seed: of the divisions.
            never: findings that are in no episode; their films are `outside` in each, but for those of patients who
                have films of other findings.

        Raises:
            ValueError: fewer than two findings, a finding with films of one patient only, or patients with films of
                several findings that no division serves.
        """
        check_at_least(n_folds, 2, name="n_folds")
        check_at_least(n_repeats, 1, name="n_repeats")
        n_folds, n_repeats, seed = int(n_folds), int(n_repeats), int(seed)  # numpy's integers are not JSON's
        if films.is_multi_label:
            raise ValueError("episodes need one finding per film; keep the single-label films first")
        names = films.class_names
        is_outside = np.array([name in never for name in names])[films.class_ids]
        keys, smallest = film_keys(films.class_ids, films.patient_ids, names, films.paths)
        if len(np.unique(keys)) != len(keys):
            raise ValueError("fixed_support: a path occurs twice; each film must be one row")
        patients = _Patients.of(films, smallest, is_outside)
        patients.check(names)
        fewest = int(patients.has_film.sum(axis=0).min())
        notes = []
        if fewest < n_folds:
            rarest = [names[patients.class_ids[at]] for at in patients.columns_with(fewest)]
            has = "has" if len(rarest) == 1 else "have"
            notes.append(f"{fewest} folds in place of {n_folds}: {', '.join(rarest)} {has} films of {fewest} patients")
        n_folds = min(fewest, n_folds)
        folds = np.stack([patients.deal(n_folds, seed, repeat) for repeat in range(n_repeats)])
        fold_of_row = np.where(patients.of_row >= 0, folds[:, patients.of_row], -1)
        order = np.lexsort((keys, films.class_ids))
        outside = order[is_outside[order] & ~np.isin(films.patient_ids[order], films.patient_ids[~is_outside])]
        protocol = json.dumps(["fixed_support", n_folds, n_repeats, seed % 2**64, len(outside)])
        content = np.stack([keys, is_outside, patients.keys_of_row], axis=1).astype(np.uint64)
        return cls(
            class_names=names,
            n_folds=n_folds,
            never=tuple(never),
            n_repeats=n_repeats,
            seed=seed,
            hash=hashlib.sha256(protocol.encode() + content[np.lexsort(content.T)].tobytes()).hexdigest(),
            notes=tuple(notes),
            rows_of_class=tuple(order[films.class_ids[order] == index] for index in patients.class_ids.tolist()),
            class_ids=patients.class_ids,
            fold_of_row=fold_of_row,
            outside=outside if len(outside) else None,
        )

    @property
    def n_way(self) -> int:
        """Classes in an episode: all of the support set."""
        return len(self.class_ids)

    @property
    def n_episodes(self) -> int:
        """One for each fold of each division."""
        return self.n_folds * self.n_repeats

    def to_json(self) -> dict[str, Any]:
        """Return the protocol in plain values; shots and queries are what the folds have."""
        return {
            "n_way": self.n_way,
            "n_shot": None,
            "n_query": None,
            "n_episodes": self.n_episodes,
            "seed": self.seed,
            "prevalence": "natural",
            "if_too_small": "error",
            "allow_patient_overlap": False,
            "n_folds": self.n_folds,
            "n_repeats": self.n_repeats,
            "never": list(self.never),
        }

    def blocks(self, size: int | None = None) -> Iterator[EpisodeBlock]:
        """Give the episodes in order, `size` at a time (None: as many as keep memory small)."""
        size = size or max(1, min(4096, _BLOCK_CELLS // self.fold_of_row.shape[1]))
        for first in range(0, self.n_episodes, size):
            yield self.block(first, min(size, self.n_episodes - first))

    def block(self, first: int, size: int) -> EpisodeBlock:
        """Give the episodes first .. first+size-1.

        Raises:
            ValueError: there are fewer.
        """
        check_at_least(first, 0, name="first")
        if first + size > self.n_episodes:
            raise ValueError(f"there are {self.n_episodes} folds, {first + size} were asked for; raise n_repeats")
        numbers = np.arange(first, first + size)
        repeats, folds = numbers // self.n_folds, numbers % self.n_folds
        sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for rows in self.rows_of_class:
            is_asked = self.fold_of_row[repeats[:, None], rows[None, :]] == folds[:, None]
            for side, is_in in zip(sides, (~is_asked, is_asked), strict=True):
                side.append(_padded(rows, is_in))
        support, query = (_stacked(side) for side in sides)
        outside = None if self.outside is None else np.tile(self.outside, (size, 1))
        return EpisodeBlock(first, np.tile(self.class_ids, (size, 1)), support, query, outside)


@dataclass(frozen=True, eq=False)
class _Patients:
    """The patients of the support set: which findings they have, and a key that no renaming changes."""

    class_ids: np.ndarray  # (n_classes,), those of the episodes
    of_row: np.ndarray  # (N,), -1 for films of other classes
    keys: np.ndarray  # (n_patients,)
    keys_of_row: np.ndarray  # (N,)
    n_films: np.ndarray  # (n_patients,)
    has_film: np.ndarray  # (n_patients, n_classes)

    @classmethod
    def of(cls, films: Embeddings, smallest: np.ndarray, is_outside: np.ndarray) -> "_Patients":
        of_row = np.full(len(films), -1)
        inside = np.flatnonzero(~is_outside)
        patients, of_row[inside] = np.unique(films.patient_ids[inside], return_inverse=True)
        class_ids, columns = np.unique(films.class_ids[inside], return_inverse=True)
        has_film = np.zeros((len(patients), len(class_ids)), dtype=bool)
        has_film[of_row[inside], columns] = True
        n_films = np.bincount(of_row[inside], minlength=len(patients))
        return cls(class_ids, of_row, smallest[patients], smallest[films.patient_ids], n_films, has_film)

    def columns_with(self, n_patients: int) -> list[int]:
        at: list[int] = np.flatnonzero(self.has_film.sum(axis=0) == n_patients).tolist()
        return at

    def check(self, names: tuple[str, ...]) -> None:
        if len(self.class_ids) < 2:
            raise ValueError(f"fixed_support needs films of 2 findings, got {len(self.class_ids)}; add another finding")
        lone = ", ".join(names[self.class_ids[at]] for at in self.columns_with(1))
        if lone:
            raise ValueError(
                f"fixed_support needs films of 2 patients of each finding, and these have films of one: {lone}; "
                "add a patient, or leave the finding out"
            )

    def deal(self, n_folds: int, seed: int, repeat: int) -> np.ndarray:
        """Return the fold of each patient, int64, shape (n_patients,).

        The rarest finding is dealt out first; each patient goes to the fold with the fewest of its finding and, among
        these, the fewest films.
        """
        n_patients = self.has_film.sum(axis=0)
        for attempt in range(_MAX_ATTEMPTS):
            keys = hashed_bits(seed, _FOLD, repeat, attempt, self.keys)
            fold = np.full(len(self.keys), -1)
            per_fold, films = np.zeros((n_folds, len(n_patients)), dtype=np.int64), np.zeros(n_folds, dtype=np.int64)
            for column in np.lexsort((np.arange(len(n_patients)), n_patients)):
                left = np.flatnonzero(self.has_film[:, column] & (fold < 0))
                for patient in left[np.argsort(keys[left])]:
                    fold[patient] = chosen = np.lexsort((films, per_fold[:, column]))[0]
                    per_fold[chosen] += self.has_film[patient]
                    films[chosen] += self.n_films[patient]
            if per_fold.all():
                return fold
        raise ValueError(
            f"patients with films of several findings leave no {n_folds} folds with every finding; "
            "take fewer folds (n_folds), or add patients"
        )


def _padded(rows: np.ndarray, is_in: np.ndarray) -> np.ndarray:
    """Return, for each line of `is_in` (n, n_rows), its rows in order, then -1: (n, most rows of a line)."""
    order = np.argsort(~is_in, axis=1, kind="stable")[:, : int(is_in.sum(axis=1).max())]
    return np.where(np.take_along_axis(is_in, order, axis=1), rows[order], -1)


def _stacked(parts: list[np.ndarray]) -> np.ndarray:
    """Stack (n, width) arrays of unlike width to (n, n_parts, widest), -1 at the end."""
    widest = max(part.shape[1] for part in parts)
    return np.stack([np.pad(part, ((0, 0), (0, widest - part.shape[1])), constant_values=-1) for part in parts], axis=1)

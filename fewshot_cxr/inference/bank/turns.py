"""One film of each patient before a second one of any: by a draw, one by one, and in exchanges."""

from collections.abc import Sequence

import numpy as np

from fewshot_cxr.seeding import hashed_bits


def smallest_keys(patients: Sequence[int], keys: Sequence[int]) -> list[int]:
    """Return for each film the smallest key among those of its patient.

    Args:
        patients: of each film.
        keys: of each film.
    """
    smallest: dict[int, int] = {}
    for patient, key in zip(patients, keys, strict=True):
        smallest[patient] = min(smallest.get(patient, 2**64), key)
    return [smallest[patient] for patient in patients]


def draw_in_turns(keys: Sequence[int], patient_keys: Sequence[int], n: int, *, seed: int) -> list[int]:
    """Draw n of the films of one finding: a first film of each patient, then a second one of each, and so on.

    Args:
        keys: of the films.
        patient_keys: of their patients.
        n: how many; more than there are gives all.
        seed: of the draw.

    Returns:
        Positions, in the order of the draw.
    """
    bits = [[int(hashed_bits(seed, key)) for key in both] for both in zip(patient_keys, keys, strict=True)]
    turns: dict[int, int] = {}
    drawn = []
    for patient_bits, _, film in sorted((*both, film) for film, both in enumerate(bits)):
        turns[patient_bits] = turns.get(patient_bits, -1) + 1
        drawn.append((turns[patient_bits], patient_bits, film))
    return [film for _, _, film in sorted(drawn)[:n]]


class Turns:
    """Which films may be taken next: those of the patients of whom the fewest are taken.

    Args:
        patients: of each film, int64, shape (n_films,).
    """

    def __init__(self, patients: np.ndarray) -> None:
        self.taken: list[int] = []
        self._patients = patients
        self._is_taken = np.zeros(len(patients), dtype=bool)
        self._n_of_patient = np.zeros(len(patients), dtype=np.int64)

    @property
    def is_open(self) -> np.ndarray:
        """Which films may be taken, bool, shape (n_films,)."""
        is_open: np.ndarray = ~self._is_taken & (self._n_of_patient == self._n_of_patient[~self._is_taken].min())
        return is_open

    def take(self, film: int) -> int:
        """Take a film, and return it.

        Args:
            film: its position.
        """
        self.taken.append(film)
        self._is_taken[film] = True
        self._n_of_patient[self._patients == self._patients[film]] += 1
        return film


def may_swap(patients: np.ndarray, taken: list[int]) -> np.ndarray:
    """Return whether patients stay as evenly used as they are where one exemplar is exchanged for another film.

    Args:
        patients: of each film, int64, shape (n_films,).
        taken: films that are exemplars.

    Returns:
        bool, shape (n_taken, n_films): whether the exemplar at a place may be exchanged for a film.
    """
    n_of_film = (patients[taken][:, None] == patients).sum(axis=0)
    is_same = patients[taken][:, None] == patients
    is_allowed: np.ndarray = is_same | (n_of_film[taken][:, None] == n_of_film + 1)
    is_allowed[:, taken] = False
    return is_allowed

"""Films with their distances to each finding: what calibration, operating points and prevalence are made from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fewshot_cxr._checks import check_list


@dataclass(frozen=True, eq=False)
class ScoredFilms:
    """Films as a rule answered them, in an order of their own: that of the rows they came in plays no part.

    Args:
        findings: names of the columns.
        distances: of each film to each finding, smaller is closer, shape (n, n_way).
        patient_ids: whole numbers, one a film; a film of an unknown patient has a number of its own.
        labels: column of the finding of each film; None: nobody knows it.
        is_unknown: whether each film is called unknown, far from every finding; None: none is.

    Raises:
        ValueError: no film, fewer than two findings, shapes that do not fit, a distance that is not finite, a label
            that is no column.

    Examples:
        >>> films = ScoredFilms(("normal", "covid19"), [[1.0, 4.0], [2.0, 3.0], [5.0, 1.0]], [7, 7, 8], [0, 0, 1])
        >>> films.n_patients, films.weights.tolist()  # two films of one patient share its vote
        (2, [1.0, 0.5, 0.5])
    """

    findings: tuple[str, ...]
    distances: np.ndarray
    patient_ids: np.ndarray
    labels: np.ndarray | None
    is_unknown: np.ndarray

    def __init__(
        self,
        findings: Sequence[str],
        distances: ArrayLike,
        patient_ids: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        is_unknown: ArrayLike | None = None,
    ) -> None:
        check_list(findings, "findings")
        found = np.asarray(distances, dtype=np.float64)
        n_way = len(findings)
        if n_way < 2 or found.ndim != 2 or found.shape[1] != n_way or not len(found):
            raise ValueError(f"distances must be of films to 2 findings or more, got {found.shape} to {n_way} findings")
        if not np.isfinite(found).all():
            raise ValueError("distances must be finite; leave out films that could not be read")
        patients = _whole(patient_ids, len(found), "patient_ids")
        columns = None if labels is None else _whole(labels, len(found), "labels")
        if columns is not None and not (columns.min() >= 0 and columns.max() < n_way):
            raise ValueError(f"labels must be columns 0..{n_way - 1}, got {columns.min()}..{columns.max()}")
        unknown = np.zeros(len(found), dtype=bool) if is_unknown is None else np.asarray(is_unknown, dtype=bool)
        if unknown.shape != (len(found),):
            raise ValueError(f"is_unknown must be {len(found)} marks, one a film, got shape {unknown.shape}")
        order = np.lexsort([*(() if columns is None else (columns,)), *found.T])
        # Patients are numbered by their first film in this order.
        _, first, codes = np.unique(patients[order], return_index=True, return_inverse=True)
        object.__setattr__(self, "findings", tuple(findings))
        object.__setattr__(self, "distances", found[order])
        object.__setattr__(self, "patient_ids", np.argsort(np.argsort(first))[codes])
        object.__setattr__(self, "labels", None if columns is None else columns[order])
        object.__setattr__(self, "is_unknown", unknown[order])

    @property
    def n_patients(self) -> int:
        """How many patients there are."""
        return int(self.patient_ids.max()) + 1

    @property
    def weights(self) -> np.ndarray:
        """Return what each film counts for, float64: the films of a patient share the weight 1."""
        return np.asarray(1 / np.bincount(self.patient_ids)[self.patient_ids])

    def known(self) -> "ScoredFilms":
        """Return the films that are not called unknown.

        Raises:
            ValueError: all are.
        """
        kept = ~self.is_unknown
        if not kept.any():
            raise ValueError("all films are called unknown; no prevalence follows")
        labels = None if self.labels is None else self.labels[kept]
        return ScoredFilms(self.findings, self.distances[kept], self.patient_ids[kept], labels)

    def known_labels(self) -> np.ndarray:
        """Return the labels of films that have them.

        Raises:
            ValueError: they have none, or a finding has no film.
        """
        if self.labels is None:
            raise ValueError("these films have no labels; calibrate with films of known findings")
        absent = [name for column, name in enumerate(self.findings) if column not in self.labels]
        if absent:
            raise ValueError(f"no calibration film shows {', '.join(absent)}; add films of it, or remove the finding")
        return self.labels


def _whole(values: ArrayLike, n_films: int, name: str) -> np.ndarray:
    found = np.asarray(values)
    if found.shape != (n_films,) or found.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be {n_films} whole numbers, one a film, got {found.dtype} of shape {found.shape}"
        )
    return found.astype(np.int64)

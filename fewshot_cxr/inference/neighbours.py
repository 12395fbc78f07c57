"""The exemplars that are shown beside an answer: the nearest ones, and one of the finding that was answered."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fewshot_cxr.inference.prediction import Exemplar, Prediction

Nearest = Callable[[int, int, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""nearest(film, n, among) -> rows of its n nearest exemplars among those marked, bool (n,), and their distances."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest exemplars of some films.

    Args:
        nearest: finds them.
        n: exemplars that are shown of each film.
        findings: of the columns.
        labels: column of each exemplar, int64, shape (n,).
        names: of the exemplars.
    """

    nearest: Nearest
    n: int
    findings: Sequence[str]
    labels: np.ndarray
    names: Sequence[str]

    def shown(self, film: int, may_be: np.ndarray, answered: Sequence[str]) -> Iterator[Exemplar]:
        """Yield exemplars, nearest first; where none is of an answered finding, its nearest one is the last.

        Args:
            film: its row.
            may_be: which exemplars may be shown, bool (n,): not the film itself.
            answered: names.
        """
        named = [self.findings.index(name) for name in answered]
        rows, distances = self.nearest(film, self.n, may_be)
        if not np.isin(self.labels[rows], named).any():
            own = self.nearest(film, 1, may_be & np.isin(self.labels, named))
            rows, distances = (np.append(found[:-1], one) for found, one in zip((rows, distances), own, strict=True))
        for row, distance in zip(rows.tolist(), distances.tolist(), strict=True):
            yield Exemplar(self.names[row], self.findings[self.labels[row]], distance)


def nearest_among(distances: np.ndarray) -> Nearest:
    """Return what finds the nearest exemplars where every one is measured.

    Args:
        distances: float, shape (n_films, n).
    """

    def nearest(film: int, n: int, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kept = np.flatnonzero(among)
        rows = kept[np.argsort(distances[film, kept], kind="stable")[:n]]
        return rows, distances[film, rows]

    return nearest


def told_prediction(
    path: str, distances: dict[str, float], film: int, is_same: np.ndarray, neighbours: Neighbours
) -> Prediction:
    """Return what is nearest to a film.

    Args:
        path: of the film.
        distances: finding -> distance, by the exemplars that are not the film itself.
        film: its row among those of the neighbours.
        is_same: which exemplars are the film itself, bool (n,).
        neighbours: of the film and others.
    """
    least = min(distances.values())
    answered = tuple(name for name, distance in distances.items() if distance == least)
    return Prediction(
        path=path,
        findings=answered,
        distances=distances,
        exemplars=tuple(neighbours.shown(film, ~is_same, answered)),
        notes=("the film itself is among the exemplars: left out",) if is_same.any() else (),
    )

"""Whether some mixture of the findings, as the calibration films show them, explains the distances of other films."""

from dataclasses import dataclass

import numpy as np
import scipy

from fewshot_cxr.inference.bank.scored_films import ScoredFilms
from fewshot_cxr.seeding import generator, hashed_bits

LEVEL = 0.01  # of the test: where nothing has shifted and patients are many, so many clinics are refused
LEAST_PATIENTS = 10  # of each finding: with five, 5 in 100 clinics without a shift would be refused
_MOST_PATIENTS = 1000  # of either side, as many of each finding, picked by a hash: the work grows with the square
_AT_ONCE = 100


@dataclass(frozen=True)
class ShiftTest:
    """How far films lie from the nearest mixture of the calibration's findings.

    Args:
        statistic: squared energy distance, in whitened units; 0: the mixture explains them wholly.
        p_value: share of worlds without a shift in which it is as large.
        n_patients: of the films.
        n_calibration_patients: pairs of a patient and a finding that the calibration films show.

    Examples:
        >>> ShiftTest(0.42, p_value=0.001, n_patients=30, n_calibration_patients=40).is_shifted
        True
    """

    statistic: float
    p_value: float
    n_patients: int
    n_calibration_patients: int

    @property
    def is_shifted(self) -> bool:
        """Whether no mixture explains the films, at LEVEL."""
        return self.p_value <= LEVEL


def shift_test(calibration: ScoredFilms, films: ScoredFilms, *, n_worlds: int = 999, seed: int = 0) -> ShiftTest:
    """Test whether the films of each finding have the distances that calibration films of it have.

    Label shift is all that a prevalence can be estimated under: findings are rarer or more frequent, and look the same.
    Then the distances of the films are a mixture of the calibration's, whatever the shares. The statistic is the energy
    distance between the films and the mixture that comes nearest. Its law without a shift is that of resampled patients
    of the calibration, mixed in those shares. One film of each patient is taken, by a hash of its distances. Distances
    are whitened by how films of one finding differ, so that neither their unit nor their level outweighs the rest.

    Args:
        calibration: labelled films.
        films: unlabelled films of other patients, answered alike.
        n_worlds: resampled.
        seed: of these.

    Raises:
        ValueError: the findings differ, some finding has fewer than 10 calibration patients, or no film differs.

    Examples:
        >>> spread, names = np.linspace(0, 1, 20), ("normal", "covid19")
        >>> normal, covid19 = np.stack([spread, 3 - spread], axis=1), np.stack([3 - spread, spread], axis=1)
        >>> known = ScoredFilms(names, np.vstack([normal, covid19]), np.arange(40), [0] * 20 + [1] * 20)
        >>> rarer, farther = ScoredFilms(names, normal, np.arange(20)), ScoredFilms(names, normal + 2, np.arange(20))
        >>> [shift_test(known, films, n_worlds=199).is_shifted for films in (rarer, farther)]
        [False, True]

    Source: Szekely, Rizzo, "Energy statistics: a class of statistics based on distances", 2013; the nearest mixture:
    Kawakubo, du Plessis, Sugiyama, "Computationally efficient class-prior estimation under class balance change using
    energy distance", 2016.
    """
    if calibration.findings != films.findings:
        raise ValueError(f"films were asked for {films.findings}, the calibration for {calibration.findings}")
    known, labels = _one_film_each(calibration, calibration.known_labels(), len(films.findings))
    counts = np.bincount(labels, minlength=len(calibration.findings))
    if counts.min() < LEAST_PATIENTS:
        raise ValueError(
            f"{LEAST_PATIENTS} calibration patients of each finding are needed to tell whether scores have shifted; "
            f"{calibration.findings[counts.argmin()]} has {counts.min()}, {LEAST_PATIENTS - counts.min()} more"
        )
    whiten = _whitening(known, labels)
    known, asked = known @ whiten, _one_film_each(films, np.zeros(len(films.distances), dtype=np.int64))[0] @ whiten
    between, own, among = (_mean_distances(a, b) for a, b in ((asked, known), (asked, asked), (known, known)))
    shares = np.eye(len(counts))[labels] / counts
    statistic, mixture = nearest_mixture(between.mean(axis=0) @ shares, float(own.mean()), shares.T @ among @ shares)
    worlds = _worlds(among, shares, mixture, len(asked), generator(seed, "shift test"), n_worlds=n_worlds)
    return ShiftTest(statistic, float((1 + (worlds >= statistic).sum()) / (1 + n_worlds)), len(asked), len(known))


def nearest_mixture(to_findings: np.ndarray, own: float, between: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the least squared energy distance of films to a mixture of findings, and the shares of that mixture.

    Args:
        to_findings: mean distance of films to those of each finding, shape (n_way,).
        own: among the films.
        between: of the films of two findings, shape (n_way, n_way).
    """
    # With shares p that sum to 1 the energy distance is p' gram p, and gram is positive semidefinite.
    gram = to_findings[:, None] + to_findings - own - between
    values, vectors = np.linalg.eigh(gram)
    root = np.sqrt(np.maximum(values, 0) / max(values.max(), 1e-300))[:, None] * vectors.T
    # The point of least norm: least squares with a row of ones gives it up to a factor.
    found, _ = scipy.optimize.nnls(np.vstack([root, np.ones(len(root))]), np.array([0.0] * len(root) + [1.0]))
    shares = found / found.sum()
    return float(max(0.0, shares @ gram @ shares)), shares


def _worlds(
    among: np.ndarray,
    shares: np.ndarray,
    mixture: np.ndarray,
    n_asked: int,
    draw: np.random.Generator,
    *,
    n_worlds: int,
) -> np.ndarray:
    """Return the statistic of resampled patients, shape (n_worlds,)."""
    counts = np.count_nonzero(shares, axis=0)
    found = []
    for first in range(0, n_worlds, _AT_ONCE):
        n_now = min(_AT_ONCE, n_worlds - first)
        asked = draw.multinomial(n_asked, shares @ mixture, size=n_now) / n_asked
        known = np.stack(
            [draw.multinomial(n, share, size=n_now) / n for n, share in zip(counts, shares.T, strict=True)], axis=2
        )
        from_asked = asked @ among
        from_known = np.einsum("wik,ij->wjk", known, among, optimize=True)
        to_findings = np.einsum("wj,wjk->wk", from_asked, known)
        own, between = (from_asked * asked).sum(axis=1), np.einsum("wjk,wjl->wkl", from_known, known)
        found += [nearest_mixture(*world)[0] for world in zip(to_findings, own, between, strict=True)]
    # Of n patients, two that are resampled are the same one in 1 / n, and so much too near each other.
    return np.array(found) * float(mixture @ (counts / (counts - 1)))


def _one_film_each(films: ScoredFilms, labels: np.ndarray, n_way: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances of one film of each patient and finding, and its label; of many patients, as many as do."""
    # Of single precision, so that the last digits of another machine pick no other film.
    bits = hashed_bits(*(column.astype(np.float32).view(np.uint32) for column in films.distances.T))
    order = np.lexsort((bits, labels, films.patient_ids))
    pairs = np.stack([films.patient_ids, labels])[:, order]
    picked = order[np.append(True, (pairs[:, 1:] != pairs[:, :-1]).any(axis=0))]
    picked = picked[np.lexsort((bits[picked], labels[picked]))]
    _, first, shown = np.unique(labels[picked], return_index=True, return_inverse=True)
    place = np.arange(len(picked)) - first[shown]
    kept = picked[place < max(LEAST_PATIENTS, _MOST_PATIENTS // n_way)]
    return films.distances[kept], labels[kept]


def _whitening(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return what makes the differences of films of one finding equally large in every direction."""
    means = np.stack([distances[labels == column].mean(axis=0) for column in range(distances.shape[1])])
    aside = distances - means[labels]
    values, vectors = np.linalg.eigh(aside.T @ aside / len(aside))
    if not values.max() > 0:
        raise ValueError("the calibration films of a finding all have the same distances; no shift can be seen")
    # Distances that always move together tell nothing apart from each other; rounding errors would.
    return np.asarray(vectors / np.sqrt(np.maximum(values, 1e-6 * values.max())))


def _mean_distances(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.spatial.distance.cdist(rows, columns))

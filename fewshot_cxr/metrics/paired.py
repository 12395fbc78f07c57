"""Two classifiers on the same films: is the difference more than chance?"""

from dataclasses import dataclass

import numpy as np
import scipy

from fewshot_cxr.patient_ids import patient_codes

# Of a variance: far below what one film out of a million can change, far above the rounding of equal placements.
_ROUNDING = 1e-28


@dataclass(frozen=True)
class McNemar:
    """Films that only one of two classifiers gets right, and the p-value of their being equally many.

    Examples:
        >>> mcnemar(np.array([True, True, False]), np.array([True, False, True]))
        McNemar(only_first=1, only_second=1, p_value=1.0)
    """

    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True)
class DeLong:
    """Two areas under the ROC curve on the same films.

    `difference` is a - b and `variance` is its own. `ci95` and `p_value` are None where the variance is 0 though the
    areas differ: there the method has nothing to measure chance by.

    Examples:
        >>> scores, is_covid19 = np.array([0.9, 0.4, 0.6, 0.1]), np.array([True, True, False, False])
        >>> delong(scores, scores, is_covid19)
        DeLong(auroc_a=0.75, auroc_b=0.75, difference=0.0, variance=0.0, ci95=(0.0, 0.0), p_value=1.0)
    """

    auroc_a: float
    auroc_b: float
    difference: float
    variance: float
    ci95: tuple[float, float] | None
    p_value: float | None


def mcnemar(first_correct: np.ndarray, second_correct: np.ndarray, *, clusters: np.ndarray | None = None) -> McNemar:
    """Test whether two classifiers are right equally often on the same films.

    Without `clusters` films are taken as independent, which several films of one patient are not.

    Args:
        first_correct: what the first gets right, bool, shape (N,), film by film.
        second_correct: what the second gets right, same shape.
        clusters: patient of each film, shape (N,), each None, NaN or empty text one of its own: then films of different
            patients alone are independent.

    Returns:
        Without clusters the exact two-sided binomial p-value. With clusters the two-sided normal one of the difference
        over its spread between patients; with one film per patient it is McNemar's chi-squared without continuity
        correction times (N - 1) / N, which comes near the exact one where there are many discordant films.

    Raises:
        ValueError: the lengths differ, or there is one patient only.

    Examples:
        >>> right = np.array([True, True, True, True, True, True])
        >>> found = mcnemar(right, np.array([True, False, False, False, False, False]))
        >>> found.only_first, round(found.p_value, 4)  # 2 x (1/2)^5: five films alone are too few for 0.05
        (5, 0.0625)

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    1947; with clusters: Obuchowski, "On the comparison of correlated proportions for clustered data", 1998,
    Statistics in Medicine 17:1495-1507.
    """
    first, second = np.asarray(first_correct, dtype=bool), np.asarray(second_correct, dtype=bool)
    _check_same_length(first, second, clusters)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if only_first + only_second == 0:
        p_value = 1.0
    elif clusters is None:
        p_value = float(scipy.stats.binomtest(only_first, only_first + only_second).pvalue)
    else:
        patients, n_patients = _patients(clusters)
        gains = np.bincount(patients, weights=first.astype(float) - second, minlength=n_patients)
        # No spread: the films of every patient cancel out, and nothing speaks against equality.
        spread = n_patients / (n_patients - 1) * float((gains**2).sum())
        p_value = _two_sided(float(gains.sum()), spread) if spread else 1.0
    return McNemar(only_first, only_second, p_value)


def delong(
    scores_a: np.ndarray, scores_b: np.ndarray, is_positive: np.ndarray, *, clusters: np.ndarray | None = None
) -> DeLong:
    """Compare the areas under the ROC curves of two scores of the same films.

    Without `clusters` films are taken as independent, which several films of one patient are not.

    Args:
        scores_a: larger is more positive, shape (N,), film by film; ties count half.
        scores_b: the same films by the other score.
        is_positive: bool, shape (N,).
        clusters: patient of each film, shape (N,), each None, NaN or empty text one of its own: then films of different
            patients alone are independent, and a patient may have films of both kinds. With one film per patient
            nothing changes.

    Returns:
        Areas, their difference with its variance, normal 95 % interval and two-sided p-value; equal areas without any
        spread give p = 1.

    Raises:
        ValueError: the lengths differ, a score is NaN, or fewer than two positive or two negative films (with
            clusters: patients that have one).

    Examples:
        >>> first, second = np.array([0.9, 0.8, 0.3, 0.1]), np.array([0.9, 0.4, 0.6, 0.1])
        >>> found = delong(first, second, np.array([True, True, False, False]))
        >>> found.auroc_a, found.auroc_b, round(found.p_value, 2)
        (1.0, 0.75, 0.48)

    Source: DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves: a nonparametric approach", 1988, Biometrics 44:837-845; by midranks: Sun, Xu, "Fast
    Implementation of DeLong's Algorithm", 2014, doi:10.1109/LSP.2014.2337313; with clusters: Obuchowski,
    "Nonparametric analysis of clustered ROC curve data", 1997, Biometrics 53:567-578.
    """
    positive = np.asarray(is_positive, dtype=bool)
    scores = [np.asarray(values, dtype=np.float64) for values in (scores_a, scores_b)]
    _check_same_length(*scores, positive, clusters)
    if np.isnan(scores).any():
        raise ValueError("scores must be numbers, got NaN; look at the embeddings they come from")
    patients, n_patients = _patients(np.arange(len(positive)) if clusters is None else clusters)
    for side, name in ((positive, "positive"), (~positive, "negative")):
        if (n_held := len(np.unique(patients[side]))) < 2:
            raise ValueError(f"delong needs two independent {name} films or more, got {n_held}: report no p-value")
    placements_a, placements_b = (_placements(values, positive) for values in scores)
    auroc_a, auroc_b = (float(placements[positive].mean()) for placements in (placements_a, placements_b))
    difference = auroc_a - auroc_b
    variance = _clustered_variance(placements_a - placements_b, positive, patients, n_patients)
    if variance < _ROUNDING:
        variance = 0.0
        if abs(difference) > _ROUNDING**0.5:
            return DeLong(auroc_a, auroc_b, difference, variance, None, None)
    half = float(scipy.special.ndtri(0.975)) * variance**0.5
    p_value = _two_sided(difference, variance) if variance else 1.0
    return DeLong(auroc_a, auroc_b, difference, variance, (difference - half, difference + half), p_value)


def _placements(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Share of the other side that each film is ranked rightly against (Sun, Xu 2014, eq. 5 and 6)."""
    ranks = scipy.stats.rankdata(scores)
    placements = np.empty(len(scores))
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    placements[positive] = (ranks[positive] - scipy.stats.rankdata(scores[positive])) / n_negative
    placements[~positive] = 1 - (ranks[~positive] - scipy.stats.rankdata(scores[~positive])) / n_positive
    return placements


def _clustered_variance(placements: np.ndarray, positive: np.ndarray, patients: np.ndarray, n_patients: int) -> float:
    """Variance of the mean placement (Obuchowski 1997, eq. 4 to 7); patients of one film each give DeLong's."""
    sums = []
    variance = 0.0
    for side in (positive, ~positive):
        excess = placements[side] - placements[side].mean()
        per_patient = np.bincount(patients[side], weights=excess, minlength=n_patients) / side.sum()
        n_held = len(np.unique(patients[side]))
        variance += n_held / (n_held - 1) * float((per_patient**2).sum())
        sums.append(per_patient)
    return variance + 2 * n_patients / (n_patients - 1) * float(sums[0] @ sums[1])


def _patients(clusters: np.ndarray) -> tuple[np.ndarray, int]:
    patients = patient_codes(clusters)
    n_patients = len(np.unique(patients))
    if n_patients < 2:
        raise ValueError(f"clusters must hold two patients or more, got {n_patients}: report no p-value")
    return patients, n_patients


def _two_sided(difference: float, variance: float) -> float:
    return float(2 * scipy.special.ndtr(-abs(difference) / variance**0.5))


def _check_same_length(*columns: np.ndarray | None) -> None:
    lengths = [np.shape(column) for column in columns if column is not None]
    if len(set(lengths)) > 1 or len(lengths[0]) != 1:
        raise ValueError(f"each column must have one value per film, got the shapes {lengths}; pair the films first")

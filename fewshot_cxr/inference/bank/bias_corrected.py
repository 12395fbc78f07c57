"""Probabilities for label shift: a temperature and a bias for each finding, fitted by patient."""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from fewshot_cxr.inference.bank.scored_films import ScoredFilms

# Of a patient: so much is added to the information, and a probability is at least so large.
_LEAST, _LEAST_PROBABILITY = 1e-9, 1e-300


@dataclass(frozen=True)
class BiasCorrected:
    """Probabilities of each finding from distances: softmax(bias - distance / temperature).

    Args:
        findings: names of the columns.
        temperature: in the unit of the distances.
        biases: one a finding, in log-odds; their sum is 0.
        prior: share of each finding that the probabilities take for granted: their mean over the calibration patients.

    Examples:
        >>> fitted = BiasCorrected(("normal", "covid19"), temperature=1.0, biases=(0.0, 0.0), prior=(0.5, 0.5))
        >>> fitted.probabilities([[1.0, 1.0 + np.log(3)]]).round(3).tolist()
        [[0.75, 0.25]]
    """

    findings: tuple[str, ...]
    temperature: float
    biases: tuple[float, ...]
    prior: tuple[float, ...]

    def probabilities(self, distances: ArrayLike) -> np.ndarray:
        """Return the probability of each finding, at the prior.

        Args:
            distances: smaller is closer, shape (n, n_way).
        """
        logits = np.asarray(self.biases) - np.asarray(distances, dtype=np.float64) / self.temperature
        return np.asarray(scipy.special.softmax(logits, axis=1))


def fit_bias_corrected(films: ScoredFilms) -> BiasCorrected:
    """Fit a temperature and biases on labelled films; those of a patient share one weight.

    The likelihood is that of bias-corrected temperature scaling (BCTS), penalised by Jeffreys' prior: with few patients
    none may be called wrong, and the likeliest temperature alone would then be 0.

    Args:
        films: labelled, none of which the encoder or the bank was made from.

    Raises:
        ValueError: a finding has no film, or the distances tell nothing of the findings.

    Examples:
        >>> near, far = [1.0, 3.0], [3.0, 1.0]  # of each finding 9 films of 10 are nearest to their own
        >>> distances, labels = [near] * 9 + [far] + [far] * 9 + [near], [0] * 10 + [1] * 10
        >>> fitted = fit_bias_corrected(ScoredFilms(("normal", "covid19"), distances, np.arange(20), labels))
        >>> fitted.probabilities([near]).round(3).tolist()  # (9 + 1/2) / (10 + 1): the half is the penalty's
        [[0.864, 0.136]]

    Source: Alexandari, Kundaje, Shrikumar, "Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label
    Shift Adaptation", 2020, arXiv:1901.06852, section 3; the penalty: Firth, "Bias reduction of maximum likelihood
    estimates", 1993.
    """
    labels, weights = films.known_labels(), films.weights
    spread = float(films.distances.std(axis=1).mean())
    if spread > 0:
        found = fit_parameters(films.distances / spread, labels, weights)
    if not spread > 0 or found[0] <= 0:
        raise ValueError("the distances of the calibration films tell nothing of their findings; no prevalence follows")
    biases = np.array([0.0, *found[1:]])
    fitted = parameter_probabilities(found, films.distances / spread)
    return BiasCorrected(
        films.findings,
        spread / float(found[0]),
        tuple((biases - biases.mean()).tolist()),
        tuple((weights @ fitted / weights.sum()).tolist()),
    )


def parameter_probabilities(parameters: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Return probabilities by `fit_parameters`, float64 (n, n_way).

    Args:
        parameters: as `fit_parameters` returns them.
        distances: in the same unit, shape (n, n_way).
    """
    return np.asarray(scipy.special.softmax(np.array([0.0, *parameters[1:]]) - parameters[0] * distances, axis=1))


def fit_parameters(
    distances: np.ndarray, labels: np.ndarray, weights: np.ndarray, start: np.ndarray | None = None
) -> np.ndarray:
    """Return the likeliest 1 / temperature, and biases of all findings but the first: shape (n_way,).

    Args:
        distances: smaller is closer, shape (n, n_way), of a spread near 1.
        labels: column of each film, shape (n,).
        weights: of each film, shape (n,); their sum is the number of patients.
        start: where to begin.
    """
    n_films, n_way = distances.shape
    # The logit of a finding is linear in the parameters: minus its distance times the first, plus its own bias.
    slopes = np.zeros((n_films, n_way, n_way))
    slopes[:, :, 0] = -distances
    slopes[:, range(1, n_way), range(1, n_way)] = 1
    own = slopes[np.arange(n_films), labels]

    def cost(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        probabilities = parameter_probabilities(parameters, distances)
        mean = np.einsum("nk,nkp->np", probabilities, slopes)
        aside = slopes - mean[:, None]
        weighted = (weights[:, None] * probabilities)[..., None] * aside
        information = np.tensordot(weighted, aside, axes=((0, 1), (0, 1))) + _LEAST * np.eye(n_way)
        _, log_determinant = np.linalg.slogdet(information)
        # The information's slope is the third central moment of the logits' slopes.
        leverage = ((aside @ np.linalg.inv(information)) * aside).sum(axis=2)
        gradient = weights @ (own - mean) + np.tensordot(leverage, weighted, axes=((0, 1), (0, 1))) / 2
        likelihood = weights @ np.log(np.maximum(probabilities[np.arange(n_films), labels], _LEAST_PROBABILITY))
        return -(likelihood + log_determinant / 2), -gradient

    start = np.array([1.0] + [0.0] * (n_way - 1)) if start is None else start
    found = scipy.optimize.minimize(cost, start, jac=True, method="BFGS", options={"gtol": 1e-5 * weights.sum()})
    return np.asarray(found.x)

"""Points of curves that a result's films draw."""

import numpy as np

from fewshot_cxr._checks import nearest
from fewshot_cxr.evaluation.result import Result


def roc_points(result: Result, finding: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the ROC curve of one finding: of a closed set against all other findings, else against its absence.

    Args:
        result: with probabilities.
        finding: one of its findings.

    Returns:
        False and true positive rate, float64, equal lengths, both from 0 to 1; ties are one step, points on a straight
        line are left out. The area below is the result's AUROC.

    Raises:
        ValueError: unknown finding, no probabilities, or films with the finding or without it are lacking.

    Examples:
        >>> from fewshot_cxr.evaluation import evaluate_multi_label
        >>> said, truth = [[0.9], [0.8], [0.3], [0.1]], [[1], [0], [1], [0]]
        >>> result = evaluate_multi_label(["effusion"], said, truth, patient_ids=None, paths=["1", "2", "3", "4"])
        >>> false, true = roc_points(result, "effusion")
        >>> false.tolist(), true.tolist()
        ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    if finding not in result.findings:
        raise ValueError(
            f"the result knows no {finding!r}{nearest(finding, result.findings)}; it has {', '.join(result.findings)}"
        )
    scores, is_positive = ranked_films(result, finding)
    n_positive, n_negative = int(is_positive.sum()), int((~is_positive).sum())
    if not n_positive or not n_negative:
        raise ValueError(f"a ROC curve of {finding} needs films with it and without it, got {n_positive}, {n_negative}")
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true, false = (np.cumsum(side[order])[ends] for side in (is_positive, ~is_positive))
    is_corner = np.ones(len(ends), dtype=bool)
    is_corner[1:-1] = (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0)
    return np.append(0.0, false[is_corner] / n_negative), np.append(0.0, true[is_corner] / n_positive)


def ranked_films(result: Result, finding: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the ranks of the films that state the finding, equal ones for equal scores, and which of these show it.

    Raises:
        ValueError: no probabilities.
    """
    index = result.findings.index(finding)
    answers = result.answered
    if not answers.has_probabilities:
        raise ValueError("only decisions are known, no probabilities: there is no ROC curve; give probabilities")
    truth = answers.truth[:, index]
    is_stated = ~np.isnan(truth)
    # Ranks, for the score of a probability of 1 is infinite, and infinity less infinity no number.
    _, ranks = np.unique(answers.ranking_scores[is_stated, index], return_inverse=True)
    return ranks, truth[is_stated] == 1

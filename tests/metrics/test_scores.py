import warnings

import numpy as np
import pytest
import torch
from made_results import CORRECTED, PUBLISHED
from sklearn import metrics

from fewshot_cxr.metrics import confusion_scores


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_corrected_table_of_a_published_comparison(name):
    matrix, macro_f1 = PUBLISHED[name]
    scores = confusion_scores(torch.tensor(matrix))
    columns = [scores[key] for key in ("ppv", "sensitivity", "f1", "one_vs_rest_accuracy")]
    np.testing.assert_allclose(torch.stack(columns, dim=-1), CORRECTED[name], atol=6e-5)
    assert float(scores["macro_f1"]) == pytest.approx(macro_f1, abs=6e-4)


def as_labels(matrix):
    """The films of a matrix of counts, one by one."""
    true, predicted = np.indices(matrix.shape)
    return np.repeat(true.ravel(), matrix.ravel()), np.repeat(predicted.ravel(), matrix.ravel())


def scikit_learns(matrix):
    true, predicted = as_labels(matrix)
    ids = range(len(matrix))
    per_class = {"labels": ids, "average": None, "zero_division": np.nan}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of each class that is absent
        return {
            "accuracy": metrics.accuracy_score(true, predicted),
            "balanced_accuracy": metrics.balanced_accuracy_score(true, predicted),
            "macro_f1": metrics.f1_score(true, predicted, average="macro"),
            "weighted_f1": metrics.f1_score(true, predicted, average="weighted"),
            "mcc": metrics.matthews_corrcoef(true, predicted),
            "kappa": metrics.cohen_kappa_score(true, predicted),
            "sensitivity": metrics.recall_score(true, predicted, **per_class),
            "specificity": [metrics.recall_score(true != c, predicted != c, zero_division=np.nan) for c in ids],
            "ppv": metrics.precision_score(true, predicted, **per_class),
            "npv": [metrics.precision_score(true != c, predicted != c, zero_division=np.nan) for c in ids],
            "f1": metrics.f1_score(true, predicted, **per_class),
            "one_vs_rest_accuracy": [metrics.accuracy_score(true == c, predicted == c) for c in ids],
        }


@pytest.mark.parametrize("n_way", [2, 3, 5])
@pytest.mark.parametrize("seed", range(6))
def test_scores_equal_scikit_learns(n_way, seed):
    draw = np.random.default_rng(seed)
    matrix = draw.integers(0, 9, (n_way, n_way)) + np.eye(n_way, dtype=int)
    if seed % 2 and n_way > 2:  # no film of one class, another never predicted
        matrix[0], matrix[:, -1] = 0, 0
        matrix[1, :2] += 1
    got, expected = confusion_scores(torch.from_numpy(matrix)), scikit_learns(matrix)
    assert set(got) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, atol=1e-12, err_msg=name)


def test_a_batch_is_its_matrices_and_scale_does_not_matter():
    matrices = torch.rand(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    batch, scaled = confusion_scores(matrices), confusion_scores(matrices * 1e-6)
    for name, values in batch.items():
        torch.testing.assert_close(values[1, 2], confusion_scores(matrices[1, 2])[name])
        torch.testing.assert_close(values, scaled[name])


def test_what_is_undefined_is_nan():
    scores = confusion_scores(torch.tensor([[0.1 + 0.2, 0.0], [0.0, 0.0]]))
    assert {name for name, value in scores.items() if value.isnan().all()} == {"mcc", "kappa"}
    torch.testing.assert_close(scores["sensitivity"], torch.tensor([1, torch.nan]).double(), equal_nan=True)
    torch.testing.assert_close(scores["specificity"], torch.tensor([torch.nan, 1]).double(), equal_nan=True)
    assert scores["balanced_accuracy"] == scores["macro_f1"] == 1
    assert all(value.isnan().all() for value in confusion_scores(torch.zeros(3, 3)).values())


@pytest.mark.parametrize(
    "matrix",
    [
        [[3.0, 1, 2], [0.5, 4, 1], [1, 0, 2.5]],
        [[0.0, 0, 0], [2, 5, 1], [1, 1, 3]],
        [[2.0, 1, 0], [1, 5, 0], [1, 1, 0]],
        [[0.0, 0, 0], [0, 5, 1], [0, 2, 3]],
    ],
)
def test_gradients_of_what_is_defined_are_those_of_small_steps(matrix):
    matrix = torch.tensor(matrix, dtype=torch.float64)
    jacobians = torch.func.jacrev(confusion_scores)(matrix)
    values = confusion_scores(matrix)
    # A step may not leave the kept cells: an absent class that gets a film changes what is averaged.
    steps = [(at, 1e-6) for at in matrix.nonzero().tolist()]
    for name, jacobian in jacobians.items():
        is_defined = ~values[name].isnan()
        assert jacobian[is_defined].isfinite().all(), name
        for (row, column), size in steps:
            step = torch.zeros_like(matrix)
            step[row, column] = size
            slope = (confusion_scores(matrix + step)[name] - confusion_scores(matrix - step)[name]) / (2 * size)
            torch.testing.assert_close(jacobian[..., row, column][is_defined], slope[is_defined], atol=1e-7, rtol=1e-6)


def test_a_table_that_is_not_square_is_refused():
    with pytest.raises(ValueError, match=r"^confusion must be of shape \(\.\.\., n_way, n_way\), got \(2, 3\)"):
        confusion_scores(torch.zeros(2, 3))

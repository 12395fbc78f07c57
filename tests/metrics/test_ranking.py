import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from fewshot_cxr.metrics import one_vs_rest, ranking_scores


def drawn(shape, seed, levels=None):
    """Scores: all different, or of a few levels, so that most are tied."""
    draw = np.random.default_rng(seed)
    return torch.from_numpy(draw.normal(size=shape) if levels is None else draw.integers(0, levels, shape) / 7.0)


def scikit_learns(scores, is_positive):
    return roc_auc_score(is_positive, scores), average_precision_score(is_positive, scores)


@pytest.mark.parametrize("levels", [None, 1, 2, 5, 40])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("n", "n_positive"), [(2, 1), (7, 1), (7, 6), (75, 15), (3000, 500)])
def test_every_row_equals_scikit_learns(n, n_positive, levels, dtype):
    scores = drawn((4, n), seed=n + n_positive, levels=levels).to(dtype)
    is_positive = torch.from_numpy(np.random.default_rng(0).permutation(n) < n_positive)
    auroc, precision = ranking_scores(scores, is_positive)
    expected = [scikit_learns(row.numpy(), is_positive.numpy()) for row in scores]
    np.testing.assert_allclose(torch.stack([auroc, precision], dim=-1), expected, atol=1e-12)


@pytest.mark.parametrize("levels", [None, 3])
@pytest.mark.parametrize("counts", [[15] * 5, [1, 4, 9], [2, 3]])
def test_one_against_the_rest_equals_scikit_learns(counts, levels):
    n_way = len(counts)
    labels = torch.arange(n_way).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]
    scores = drawn((2, 3, len(labels), n_way), seed=n_way, levels=levels).float()
    auroc, precision = one_vs_rest(scores, labels, n_way)
    assert auroc.shape == precision.shape == (2, 3, n_way)
    for at in np.ndindex(2, 3, n_way):
        expected = scikit_learns(scores[at[0], at[1], :, at[2]], labels == at[2])
        assert (float(auroc[at]), float(precision[at])) == pytest.approx(expected, abs=1e-12)


def test_an_empty_side_is_nan():
    scores = torch.tensor([0.3, 0.1, 0.2])
    for is_positive in (torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)):
        assert torch.stack(ranking_scores(scores, is_positive)).isnan().all()
    assert torch.stack(ranking_scores(scores[:0], torch.zeros(0, dtype=torch.bool))).isnan().all()
    auroc, precision = one_vs_rest(torch.rand(4, 3), torch.tensor([0, 0, 2, 2]), 3)
    assert auroc.isnan().tolist() == precision.isnan().tolist() == [False, True, False]
    assert torch.stack(one_vs_rest(torch.rand(4, 1), torch.zeros(4, dtype=torch.int64), 1)).isnan().all()


def test_infinite_scores_are_the_largest_and_the_smallest():
    scores = torch.tensor([torch.inf, torch.inf, 0.0, -torch.inf, -torch.inf, 1.0])
    labels = torch.tensor([0, 1, 1, 0, 1, 1])
    ranks = torch.tensor([5.0, 5, 2, 1, 1, 3])
    for got, expected in zip(
        one_vs_rest(scores.unsqueeze(-1).expand(-1, 2), labels, 2),
        one_vs_rest(ranks.unsqueeze(-1).expand(-1, 2), labels, 2),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)


def test_order_and_monotone_change_do_not_matter():
    scores, is_positive = drawn((5, 40), seed=0, levels=9), torch.arange(40) % 3 == 0
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    expected = torch.stack(ranking_scores(scores, is_positive))
    torch.testing.assert_close(torch.stack(ranking_scores(scores[:, order], is_positive[order])), expected)
    torch.testing.assert_close(torch.stack(ranking_scores(scores.exp(), is_positive)), expected)
    torch.testing.assert_close(1 - ranking_scores(-scores, is_positive)[0], expected[0])


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"^is_positive must have one value per score, 3, got 2$"):
        ranking_scores(torch.rand(3), torch.tensor([True, False]))
    with pytest.raises(ValueError, match=r"^scores must be numbers, got NaN; look at the embeddings"):
        ranking_scores(torch.tensor([0.1, torch.nan]), torch.tensor([True, False]))
    with pytest.raises(ValueError, match=r"^scores must be numbers, got NaN; look at the embeddings"):
        one_vs_rest(torch.tensor([[0.1, torch.nan], [0, 0]]), torch.tensor([0, 1]), 2)
    with pytest.raises(ValueError, match=r"^scores must end in \(n_queries, n_way\) = \(2, 3\), got \(2, 2\)$"):
        one_vs_rest(torch.rand(2, 2), torch.tensor([0, 1]), 3)
    with pytest.raises(ValueError, match=r"^labels must be 0\.\.1, got 2; Embeddings relabels for you$"):
        one_vs_rest(torch.rand(2, 2), torch.tensor([0, 2]), 2)

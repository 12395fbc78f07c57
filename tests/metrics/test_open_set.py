from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from fewshot_cxr.metrics import area_under_risk_coverage, open_set_scores, risk_coverage


@pytest.mark.parametrize("levels", [3, 1000])
@pytest.mark.parametrize(("n_known", "n_unknown"), [(1, 1), (19, 4), (20, 30), (21, 7), (200, 75)])
def test_open_set_equals_scikit_learns_curve(n_known, n_unknown, levels):
    draw = np.random.default_rng(n_known)
    known = torch.from_numpy(draw.integers(0, levels, (2, 3, n_known)) / levels + 0.2)
    unknown = torch.from_numpy(draw.integers(0, levels, (2, 3, n_unknown)) / levels)
    auroc, false_accepted = open_set_scores(known, unknown)
    truth = np.arange(n_known + n_unknown) < n_known
    for at in np.ndindex(2, 3):
        scores = torch.cat([known[at], unknown[at]]).numpy()
        shares, hits, _ = roc_curve(truth, scores, drop_intermediate=False)
        assert float(auroc[at]) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
        assert float(false_accepted[at]) == pytest.approx(shares[np.argmax(hits >= 0.95)], abs=1e-12)


def test_an_empty_side_is_nan():
    for known, unknown in ((torch.rand(2, 3), torch.rand(2, 0)), (torch.rand(2, 0), torch.rand(2, 3))):
        assert torch.stack(open_set_scores(known, unknown)).isnan().all()


def slow_risk(confidence, error, n_kept):
    """The mean over all orders that go from sure to unsure."""
    orders = [p for p in permutations(range(len(confidence))) if list(confidence[list(p)]) == sorted(confidence)[::-1]]
    return np.mean([error[list(order[:n_kept])].mean() for order in orders])


@pytest.mark.parametrize("seed", range(4))
def test_risk_is_the_mean_over_the_orders_of_ties(seed):
    draw = np.random.default_rng(seed)
    confidence, error = draw.integers(0, 3, (2, 6)) / 3, draw.random((2, 6))
    got = risk_coverage(torch.from_numpy(confidence), torch.from_numpy(error), torch.arange(1, 7) / 6)
    expected = [[slow_risk(c, e, n_kept) for n_kept in range(1, 7)] for c, e in zip(confidence, error, strict=True)]
    np.testing.assert_allclose(got, expected, atol=1e-12)
    area = area_under_risk_coverage(torch.from_numpy(confidence), torch.from_numpy(error))
    np.testing.assert_allclose(area, np.mean(expected, axis=1), atol=1e-12)


def test_the_grid_means_whole_films():
    confidence, error = torch.linspace(1, 0, 25), torch.arange(25) % 5 == 4
    coverages = torch.tensor([1e-9, 0.2, 7 / 25, 0.29, 1.0])
    assert risk_coverage(confidence, error, coverages).tolist() == pytest.approx([0, 1 / 5, 1 / 7, 1 / 8, 1 / 5])
    shuffled = torch.randperm(25, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        risk_coverage(confidence[shuffled], error[shuffled], coverages), risk_coverage(confidence, error, coverages)
    )


@pytest.mark.parametrize("coverage", [0.0, 1.1, float("nan")])
def test_a_share_is_above_zero_and_at_most_one(coverage):
    with pytest.raises(ValueError, match=r"^coverages must be in \(0, 1\] of one film or more, got .* of 3 films$"):
        risk_coverage(torch.rand(3), torch.zeros(3), torch.tensor([coverage]))
    with pytest.raises(ValueError, match=r"of 0 films$"):
        area_under_risk_coverage(torch.rand(0), torch.zeros(0))


def test_a_confidence_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="scores must be numbers, got NaN"):
        risk_coverage(torch.tensor([0.5, torch.nan]), torch.tensor([0.0, 1.0]), torch.tensor([1.0]))

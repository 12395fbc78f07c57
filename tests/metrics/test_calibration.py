import math

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss

from fewshot_cxr.metrics import (
    brier_score,
    class_probabilities,
    distances_of_margins,
    expected_calibration_error,
    fit_temperature,
    largest_log_odds,
    log_odds,
    margins,
    reliability_bins,
)


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [0.01, 1.0, 30.0])
def test_probabilities_are_the_softmax_of_nearness(temperature):
    distances = 40 * drawn(3, 6, 5)
    expected = torch.softmax(-distances.double() / temperature, dim=-1)
    torch.testing.assert_close(class_probabilities(distances.double(), temperature), expected)
    torch.testing.assert_close(class_probabilities(distances, temperature), expected.float(), atol=1e-5, rtol=1e-4)
    assert class_probabilities(1e6 * distances).isfinite().all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_is_above_zero(temperature):
    with pytest.raises(ValueError, match=rf"^temperature must be above 0, got {temperature}; fit_temperature"):
        class_probabilities(torch.rand(2, 2), temperature)


def test_brier_is_the_slow_sum_and_twice_scikit_learns():
    probabilities, labels = class_probabilities(5 * drawn(2, 9, 3)), torch.arange(9) % 3
    slow = [
        np.mean([sum((row[c] - (c == i % 3)) ** 2 for c in range(3)) for i, row in enumerate(rows)])
        for rows in probabilities.double().numpy()
    ]
    np.testing.assert_allclose(brier_score(probabilities, labels), slow, atol=1e-6)
    positive = drawn(9, seed=1).double()
    two = torch.stack([1 - positive, positive], dim=-1)
    expected = 2 * brier_score_loss(labels == 0, positive)
    assert float(brier_score(two, (labels == 0).long())) == pytest.approx(expected)


def test_brier_runs_from_zero_to_two():
    sure = torch.eye(2)
    assert (brier_score(sure, torch.tensor([0, 1])), brier_score(sure, torch.tensor([1, 0]))) == (0, 2)


def slow_error(confidence, correct, n_bins):
    """Guo 2017, eq. 2 and 3, written out."""
    total = 0.0
    for m in range(n_bins):
        low = m / n_bins if m else -1
        inside = [i for i, value in enumerate(confidence) if low < value <= (m + 1) / n_bins]
        if inside:
            gap = np.mean([correct[i] for i in inside]) - np.mean([confidence[i] for i in inside])
            total += len(inside) / len(confidence) * abs(gap)
    return total


@pytest.mark.parametrize("n_bins", [1, 4, 15])
def test_calibration_error_is_the_slow_sum_and_bins_add_up(n_bins):
    confidence, correct = drawn(2, 3, 50).double(), drawn(2, 3, 50, seed=1).round()
    bins = reliability_bins(confidence, correct, n_bins)
    assert all(part.shape == (2, 3, n_bins) for part in bins)
    got = expected_calibration_error(*bins)
    for at in np.ndindex(2, 3):
        expected = slow_error(confidence[at].tolist(), correct[at].tolist(), n_bins)
        assert float(got[at]) == pytest.approx(expected, abs=1e-12)
    together = expected_calibration_error(*(part.sum((0, 1)) for part in bins))
    expected = slow_error(confidence.flatten().tolist(), correct.flatten().tolist(), n_bins)
    assert float(together) == pytest.approx(expected, abs=1e-12)


def test_a_bin_holds_its_upper_edge():
    count, _, correct = reliability_bins(torch.tensor([0.0, 0.25, 0.26, 0.5, 1.0, 1.0000001]), torch.ones(6).bool(), 4)
    assert count.tolist() == correct.tolist() == [2, 2, 0, 2]
    assert expected_calibration_error(*reliability_bins(torch.zeros(0), torch.zeros(0))).isnan()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_temperature_is_the_best_of_a_grid(scale):
    draw = np.random.default_rng(0)
    labels = torch.from_numpy(draw.integers(0, 3, 400))
    distances = torch.from_numpy(draw.normal(size=(400, 3))) - 1.2 * torch.nn.functional.one_hot(labels, 3)
    grid = np.exp(np.linspace(-3, 3, 2001))
    costs = [-float(torch.log_softmax(-distances / t, -1)[torch.arange(400), labels].mean()) for t in grid]
    found = fit_temperature(scale * distances, labels)
    assert found / scale == pytest.approx(grid[np.argmin(costs)], rel=0.01)
    stacked = fit_temperature(scale * distances.reshape(4, 100, 3), labels[:100])
    assert stacked == pytest.approx(fit_temperature(scale * distances, labels[:100].repeat(4)))


def test_a_true_temperature_is_found_again():
    draw = np.random.default_rng(1)
    distances = torch.from_numpy(draw.normal(size=(50_000, 4)))
    chances = class_probabilities(distances, 0.4).cumsum(-1)
    labels = (torch.from_numpy(draw.random((50_000, 1))) > chances).sum(-1).clamp_max(3)
    assert fit_temperature(distances, labels) == pytest.approx(0.4, rel=0.03)


def test_temperatures_stay_finite_where_nothing_is_wrong_or_all_is():
    right, labels = 1 - torch.eye(3), torch.arange(3)
    assert 0 < fit_temperature(right, labels) < 0.1
    assert 100 < fit_temperature(-right, labels) < 1e5
    with pytest.raises(ValueError, match=r"^distances must differ between the classes to fit a temp.*spread of 0\.0$"):
        fit_temperature(torch.ones(4, 3), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_log_odds_are_those_of_the_softmax_and_do_not_run_together(scale):
    distances = scale * torch.rand(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for row, found in zip(distances, log_odds(distances), strict=True):
        for label in range(4):
            others = torch.cat([row[:label], row[label + 1 :]])
            assert float(found[label]) == pytest.approx(
                float(-row[label] - torch.logsumexp(-others, 0)), abs=1e-12 * scale
            )
    assert log_odds(distances).unique().numel() == distances.numel()


def test_log_odds_of_two_classes_are_the_gap_of_their_distances():
    distances = torch.tensor([[1.0, 3.0], [500.0, 2.0], [1e-6, 1e-6]])
    assert torch.equal(log_odds(distances)[:, 0], (distances[:, 1] - distances[:, 0]).double())


def test_margins_are_how_much_nearer_a_class_is_than_the_nearest_other_one():
    distances = torch.tensor([[1.0, 3.0, 4.0], [2.0, 2.0, 5.0], [1e6, 1e6 + 1, 1e6 + 3]])
    assert margins(distances).tolist() == [[2, -2, -3], [0, 0, -3], [1, -1, -3]]
    drawn_ones = drawn(4, 7, 5)
    found = margins(drawn_ones)
    expected = torch.stack([drawn_ones[..., [k for k in range(5) if k != c]].amin(-1) for c in range(5)], -1)
    assert torch.equal(found, expected.double() - drawn_ones.double())
    assert torch.equal(margins(3 * drawn_ones.double() + 7) > 0, found > 0)
    shifted = drawn_ones - drawn_ones.amin(-1, keepdim=True)
    torch.testing.assert_close(distances_of_margins(found), shifted.double(), atol=1e-6, rtol=0)


def test_smoothing_keeps_few_right_queries_from_certainty():
    distances, labels = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(3, 1), torch.tensor([0, 1]).repeat(3)
    sure = class_probabilities(distances, fit_temperature(distances, labels, is_smoothed=True)).amax()
    assert float(sure) == pytest.approx(4 / 5, abs=1e-4)  # of three queries of a class, Platt's (3 + 1) / (3 + 2)
    assert float(class_probabilities(distances, fit_temperature(distances, labels)).amax()) == 1


def test_largest_log_odds_are_the_largest_of_all():
    distances = 30 * torch.rand(4, 50, 6, generator=torch.Generator().manual_seed(0))
    distances[0, :, 1] = distances[0, :, 2]
    torch.testing.assert_close(largest_log_odds(distances), log_odds(distances).amax(dim=-1), rtol=1e-12, atol=1e-12)

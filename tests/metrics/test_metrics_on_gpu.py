import pytest
import torch

from fewshot_cxr.metrics import (
    brier_score,
    class_probabilities,
    confusion_scores,
    fit_temperature,
    one_vs_rest,
    open_set_scores,
    reliability_bins,
    risk_coverage,
)

LABELS = torch.arange(5).repeat_interleave(15)
NUMBERS = {
    "probabilities": lambda scores, labels: class_probabilities(scores, 0.5),
    "brier": lambda scores, labels: brier_score(scores, labels),
    "bins": lambda scores, labels: reliability_bins(scores.amax(-1), scores.argmax(-1) == labels),
    "ranking": lambda scores, labels: one_vs_rest(scores, labels, 5),
    "open set": lambda scores, labels: open_set_scores(scores[:, :40, 0], scores[:, 40:, 0]),
    "risk": lambda scores, labels: risk_coverage(scores.amax(-1), scores[..., 0], torch.tensor([0.1, 0.5, 1.0])),
    "confusion": lambda scores, labels: list(confusion_scores(scores[:, :5]).values()),
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", NUMBERS)
def test_a_gpu_gives_the_same_numbers(name):
    # Of few levels, so that many are tied, and exact on both sides.
    scores = torch.randint(0, 16, (64, 75, 5), generator=torch.Generator().manual_seed(0)) / 16
    here, there = NUMBERS[name](scores, LABELS), NUMBERS[name](scores.cuda(), LABELS.cuda())
    for one, other in zip(list(here), list(there), strict=True):
        assert other.is_cuda
        torch.testing.assert_close(other.cpu(), one, equal_nan=True)


@pytest.mark.gpu
def test_a_gpu_finds_the_same_temperature():
    distances = torch.rand(64, 75, 5, generator=torch.Generator().manual_seed(0))
    assert fit_temperature(distances.cuda(), LABELS.cuda()) == pytest.approx(fit_temperature(distances, LABELS))

"""Targets: their numbers against the distances themselves, their gradients, what they refuse."""

import pytest
import torch
from torch import nn

from fewshot_cxr.distances import DISTANCES, mean_distances, pairwise_distances
from fewshot_cxr.explain import (
    ClassScore,
    Difference,
    ExemplarSimilarity,
    LearnedSimilarity,
    PrototypeSimilarity,
    Similarity,
)
from fewshot_cxr.objectives import LinearHead, WeightedL1Head
from fewshot_cxr.torch_seeding import seeded_torch

with seeded_torch(0, "test-targets"):
    ROWS, OTHERS = torch.randn(2, 4, 6)
    EXEMPLARS = torch.randn(7, 6)
    HEAD, LEARNED = LinearHead(6, 3), WeightedL1Head(6)
LABELS = torch.tensor([0, 2, 1, 0, 1, 2, 2])


def test_class_score_is_the_logit():
    logits = HEAD(ROWS)
    assert torch.equal(ClassScore(HEAD, 2)(ROWS), logits[:, 2])
    assert torch.equal(ClassScore(HEAD, torch.tensor([0, 2, 1, 0]))(ROWS), logits[range(4), [0, 2, 1, 0]])


def test_head_of_a_class_score_is_held_still():
    head = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)).train()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    rows = ROWS.clone().requires_grad_()
    scores = ClassScore(head, 1)(rows)
    scores.sum().backward()
    assert torch.equal(scores, ClassScore(head, 1)(rows))
    assert head.training
    assert all(module.training for module in head)
    assert all(torch.equal(head.state_dict()[name], value) for name, value in before.items())
    assert all(weight.requires_grad and weight.grad is None for weight in head.parameters())
    assert rows.grad.abs().sum() > 0


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_similarities_follow_the_distances(distance):
    sign, offset = -1, 1 if distance == "cosine" else 0
    table = pairwise_distances(ROWS, OTHERS, distance)
    torch.testing.assert_close(Similarity(OTHERS, distance)(ROWS), offset + sign * table.diagonal())
    torch.testing.assert_close(Similarity(OTHERS[2], distance)(ROWS), offset + sign * table[:, 2])
    to_prototype = pairwise_distances(ROWS, EXEMPLARS.mean(0, keepdim=True), distance)[:, 0]
    torch.testing.assert_close(PrototypeSimilarity(EXEMPLARS, distance)(ROWS), offset + sign * to_prototype)
    means = mean_distances(ROWS, EXEMPLARS, LABELS, distance)
    torch.testing.assert_close(ExemplarSimilarity(EXEMPLARS, LABELS, 1, distance)(ROWS), offset + sign * means[:, 1])
    class_ids = torch.tensor([2, 2, 0, 1])
    own = ExemplarSimilarity(EXEMPLARS, LABELS, class_ids, distance)(ROWS)
    torch.testing.assert_close(own, offset + sign * means[range(4), class_ids])


def test_learned_similarity_is_minus_the_logit_of_different():
    assert torch.equal(LearnedSimilarity(LEARNED, OTHERS)(ROWS), -LEARNED(ROWS, OTHERS))
    torch.testing.assert_close(LearnedSimilarity(LEARNED, OTHERS[1])(ROWS), -LEARNED(ROWS, OTHERS[[1, 1, 1, 1]]))


def test_difference_is_of_two_targets():
    one, other = ExemplarSimilarity(EXEMPLARS, LABELS, 0), ExemplarSimilarity(EXEMPLARS, LABELS, 2)
    assert torch.equal(Difference(one, other)(ROWS), one(ROWS) - other(ROWS))
    assert torch.equal(Difference(one, one)(ROWS), torch.zeros(4))


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_gradient_is_finite_at_the_exemplar_itself_and_at_zero(distance):
    rows = torch.stack([ROWS[0], torch.zeros(6)]).requires_grad_()
    exemplars = rows.detach().clone()
    for target in (
        Similarity(exemplars, distance),
        PrototypeSimilarity(exemplars[:1], distance),
        ExemplarSimilarity(exemplars, torch.tensor([0, 1]), torch.tensor([0, 1]), distance),
    ):
        (gradient,) = torch.autograd.grad(target(rows).sum(), rows)
        assert gradient.isfinite().all()
    (gradient,) = torch.autograd.grad(Similarity(exemplars, distance)(rows)[0], rows)
    assert gradient.abs().max() < 1e-6


def test_tensors_of_inference_mode_and_of_another_precision_will_do():
    with torch.inference_mode():
        others, exemplars = OTHERS + 0, EXEMPLARS + 0
    rows = ROWS.double().requires_grad_()
    for target in (
        Similarity(others),
        PrototypeSimilarity(exemplars),
        ExemplarSimilarity(exemplars, LABELS, 0),
        LearnedSimilarity(LEARNED, others),
    ):
        target(rows).sum().backward()
    for target in (Similarity(others, "cosine"), ExemplarSimilarity(exemplars, LABELS, 0, "cosine")):
        target(ROWS.clone().requires_grad_()).sum().backward()
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Similarity(OTHERS, "euclid"), "unknown distance 'euclid'"),
        (lambda: Similarity(OTHERS[0, 0]), r"others must have the shape \(dim,\) or \(N, dim\), got \(\)"),
        (lambda: Similarity(OTHERS[:3])(ROWS), r"others must have the shape \(6,\) or \(4, 6\), got \(3, 6\)"),
        (lambda: Similarity(OTHERS[:, :5])(ROWS), r"others must have the shape \(6,\) or \(4, 6\), got \(4, 5\)"),
        (lambda: LearnedSimilarity(LEARNED, OTHERS[0, :5])(ROWS), r"others must have the shape"),
        (lambda: PrototypeSimilarity(EXEMPLARS[:0]), r"support must have .* at least one row, got \(0, 6\)"),
        (lambda: ExemplarSimilarity(EXEMPLARS, LABELS[:3], 0), r"labels must be one per exemplar, \(7,\), got \(3,\)"),
        (lambda: ExemplarSimilarity(EXEMPLARS, LABELS * 2, 0), r"labels must hold every class 0..n_way-1"),
        (lambda: ExemplarSimilarity(EXEMPLARS, LABELS, 3)(ROWS), r"class_ids must lie in 0..2, got \[3\]"),
        (lambda: ClassScore(HEAD, -1)(ROWS), r"class_ids must lie in 0..2, got \[-1\]"),
        (lambda: ClassScore(HEAD, torch.tensor([0]))(ROWS), r"class_ids must be one per film, \(4,\), got \(1,\)"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("class_ids", ["covid", 1.0, True, torch.zeros(4)])
def test_class_ids_are_whole_numbers(class_ids):
    with pytest.raises(TypeError, match="class_ids must be"):
        ClassScore(HEAD, class_ids)(ROWS)

import re

import pytest
import torch
from scipy.spatial.distance import cityblock

from fewshot_cxr.inference.classifier_rules import template
from fewshot_cxr.objectives import LinearHead, WeightedL1Head
from fewshot_cxr.torch_seeding import seeded_torch


def weighted(dim=8, **options):
    with seeded_torch(0, "head"):
        return WeightedL1Head(dim, **options)


@pytest.mark.parametrize("is_nonnegative", [False, True])
def test_weighted_l1_has_one_parameter_per_coordinate_and_a_bias(is_nonnegative):
    head = weighted(256, is_nonnegative=is_nonnegative)
    assert sum(each.numel() for each in head.parameters()) == 257
    assert (head.weights > 0).all()
    assert head.weights.sum().item() == pytest.approx(1, rel=0.1)
    assert head.bias.item() == 0


@pytest.mark.parametrize("is_nonnegative", [False, True])
def test_weighted_l1_equals_scipy_and_is_symmetric(is_nonnegative):
    head = weighted(is_nonnegative=is_nonnegative)
    with torch.no_grad():
        head.alpha.copy_(torch.linspace(-1, 2, 8))
        head.bias.fill_(0.3)
    weights = head.alpha.detach().abs() if is_nonnegative else head.alpha.detach()
    one, other = torch.randn(2, 3, 5, 8)
    logits = head(one, other)
    assert logits.shape == (3, 5)
    assert torch.equal(logits, head(other, one))
    # scipy knows no weights below 0: the others are subtracted.
    for i, j in [(0, 0), (2, 4)]:
        parts = [cityblock(one[i, j], other[i, j], w=(sign * weights).clamp_min(0)) for sign in (1, -1)]
        assert logits[i, j].item() == pytest.approx(parts[0] - parts[1] + 0.3, abs=1e-5)
    if is_nonnegative:
        assert (logits >= head.bias).all()


@pytest.mark.parametrize("is_nonnegative", [False, True])
def test_the_template_rule_gives_the_logits_of_the_head(is_nonnegative):
    head = weighted(is_nonnegative=is_nonnegative)
    with torch.no_grad():
        head.alpha.copy_(torch.randn(8))
        head.bias.fill_(-0.7)
    support, queries, labels = torch.randn(6, 8), torch.randn(4, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    templates = torch.stack([support[labels == c].mean(dim=0) for c in range(3)])
    values = template(support, labels, queries, weights=head.weights.detach(), bias=head.bias.item())
    torch.testing.assert_close(values, head(queries[:, None], templates[None]).detach())


def test_a_weight_below_0_can_come_back():
    head = weighted(is_nonnegative=True)
    with torch.no_grad():
        head.alpha.copy_(torch.tensor([-1.0, -0.01, -1e-6, 1e-6, 0.01, 1.0, 2.0, 3.0]))
    one, other = torch.randn(2, 8)
    head(one, other).backward()
    torch.testing.assert_close(head.alpha.grad.abs(), (one - other).abs())


def test_heads_work_in_float32_under_mixed_precision():
    one, other = torch.randn(2, 5, 8)
    distance, linear = weighted(), LinearHead(8, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(distance(one, other), distance(one.float(), other.float()))
        mixed = linear(one)
        half = linear(one.bfloat16())
    assert torch.equal(mixed, linear(one))
    assert half.dtype == torch.float32


@pytest.mark.parametrize(("bias", "n_parameters"), [(True, 771), (False, 768)])
def test_linear_head_has_the_published_size(bias, n_parameters):
    assert sum(each.numel() for each in LinearHead(256, 3, bias=bias).parameters()) == n_parameters


def test_linear_head_is_one_linear_map_and_goes_through_its_state():
    head, again = LinearHead(8, 3), LinearHead(8, 3)
    again.load_state_dict(head.state_dict())
    rows = torch.randn(5, 8)
    assert sorted(head.state_dict()) == ["bias", "weight"]
    torch.testing.assert_close(again(rows), rows @ head.weight.T + head.bias)


def test_probabilities_follow_the_activation():
    logits = torch.randn(5, 3)
    softmax = LinearHead(8, 3).probabilities(logits)
    assert torch.equal(softmax, logits.softmax(dim=1))
    sigmoid = LinearHead(8, 3, activation="sigmoid").probabilities(logits)
    assert torch.equal(sigmoid, logits.sigmoid())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightedL1Head(0), "dim of the embeddings must be at least 1, got 0"),
        (lambda: LinearHead(8, 1), "n_classes of a softmax head must be at least 2, got 1"),
        (lambda: LinearHead(8, 0, activation="sigmoid"), "n_classes of a sigmoid head must be at least 1, got 0"),
        (
            lambda: LinearHead(8, 3, activation="sigmoyd"),
            "unknown activation 'sigmoyd' (did you mean 'sigmoid'?); choose from sigmoid, softmax",
        ),
    ],
)
def test_the_heads_doors_are_guarded(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()

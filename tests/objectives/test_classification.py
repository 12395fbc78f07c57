import math
import re

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torchvision.ops import sigmoid_focal_loss

from fewshot_cxr.objectives import CLASS_WEIGHTS, CLASSIFICATION_LOSSES, build_classification_loss, class_weights

WEIGHTS = torch.tensor([0.5, 2.0, 0.5])
NAN = math.nan


def logits_of(n=10):
    return (3 * torch.randn(n, 3)).requires_grad_()


def targets_of(kind, n=10):
    return torch.arange(n) % 3 if kind == "one" else (torch.arange(3 * n) % 4 % 3 > 0).float().reshape(n, 3)


CASES = [(name, kind) for name in sorted(CLASSIFICATION_LOSSES) for kind in ("one", "several")]
CASES.remove(("cross_entropy", "several"))


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_classification_loss_keeps_the_contract(name, kind, weights):
    logits, targets = logits_of(), targets_of(kind)
    loss = build_classification_loss(name, n_classes=3, class_weights=weights)
    assert (loss.name, loss.n_classes) == (name, 3)
    assert list(loss.state_dict()) == ["class_weights"]
    value = loss(logits, targets)
    assert value.shape == ()
    assert value > 0
    value.backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad.abs().sum(dim=1) > 0).all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(logits, targets), value)
        half = loss(logits.bfloat16(), targets)
    assert half.dtype == torch.float32
    order = torch.randperm(10)
    torch.testing.assert_close(loss(logits[order], targets[order]), value)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_cross_entropy_equals_torch_and_scikit_learn(weights, label_smoothing):
    logits, targets = logits_of(), targets_of("one")
    loss = build_classification_loss(
        "cross_entropy", n_classes=3, class_weights=weights, label_smoothing=label_smoothing
    )
    expected = nn.CrossEntropyLoss(weights, label_smoothing=label_smoothing)(logits, targets)
    torch.testing.assert_close(loss(logits, targets), expected)
    if not label_smoothing:
        sample_weight = None if weights is None else weights[targets].numpy()
        shares = logits.detach().double().softmax(dim=1).numpy()
        assert expected.item() == pytest.approx(
            log_loss(targets.numpy(), shares, sample_weight=sample_weight, labels=[0, 1, 2]), rel=1e-5
        )


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_bce_equals_torch(weights):
    logits, targets = logits_of(), targets_of("several")
    loss = build_classification_loss("bce", n_classes=3, class_weights=weights)
    torch.testing.assert_close(loss(logits, targets), nn.BCEWithLogitsLoss(pos_weight=weights)(logits, targets))
    one = targets_of("one")
    torch.testing.assert_close(loss(logits, one), loss(logits, nn.functional.one_hot(one, 3).float()))


@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.0])
def test_focal_of_several_findings_equals_torchvision(gamma):
    logits, targets = logits_of(), targets_of("several")
    loss = build_classification_loss("focal", n_classes=3, gamma=gamma)
    expected = sigmoid_focal_loss(logits, targets, alpha=-1, gamma=gamma, reduction="mean")
    torch.testing.assert_close(loss(logits, targets), expected)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_focal_of_one_finding_equals_a_slow_loop(gamma, weights):
    logits, targets = logits_of(), targets_of("one")
    loss = build_classification_loss("focal", n_classes=3, class_weights=weights, gamma=gamma)
    total = count = 0.0
    for row, target in zip(logits.detach().double().softmax(dim=1).tolist(), targets.tolist(), strict=True):
        weight = 1.0 if weights is None else weights[target].item()
        total -= weight * (1 - row[target]) ** gamma * math.log(row[target])
        count += weight
    assert loss(logits, targets).item() == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize(("kind", "same"), [("one", "cross_entropy"), ("several", "bce")])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_focal_without_focus_is_the_plain_loss(kind, same, weights):
    logits, targets = logits_of(), targets_of(kind)
    focal = build_classification_loss("focal", n_classes=3, class_weights=weights, gamma=0.0)
    plain = build_classification_loss(same, n_classes=3, class_weights=weights)
    torch.testing.assert_close(focal(logits, targets), plain(logits, targets))


@pytest.mark.parametrize("name", ["bce", "focal"])
@pytest.mark.parametrize("unstated_logit", [0.0, NAN])
def test_what_nobody_looked_for_is_left_out_of_the_mean(name, unstated_logit):
    logits = torch.tensor([[1.0, unstated_logit, -2.0], [0.5, 3.0, unstated_logit]], requires_grad=True)
    targets = torch.tensor([[1.0, NAN, 0.0], [0.0, 1.0, NAN]])
    value = build_classification_loss(name, n_classes=3)(logits, targets)
    alone = build_classification_loss(name, n_classes=1)
    entries = [(1.0, 1.0), (-2.0, 0.0), (0.5, 0.0), (3.0, 1.0)]
    terms = [alone(torch.tensor([[logit]]), torch.tensor([[target]])).item() for logit, target in entries]
    assert value.item() == pytest.approx(sum(terms) / 4, rel=1e-5)
    value.backward()
    assert logits.grad[targets.isnan()].tolist() == [0.0, 0.0]
    assert (logits.grad[~targets.isnan()] != 0).all()


@pytest.mark.parametrize("name", ["bce", "focal"])
def test_a_batch_that_states_nothing_gives_zero_and_a_working_backward(name):
    logits = logits_of(4)
    value = build_classification_loss(name, n_classes=3)(logits, torch.full((4, 3), NAN))
    assert value.item() == 0
    value.backward()
    assert torch.equal(logits.grad, torch.zeros(4, 3))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", ["one", "several"])
def test_focal_is_finite_where_the_answer_is_certain(gamma, kind):
    logits = torch.tensor([[200.0, -200.0, -200.0], [-200.0, 200.0, -200.0]], requires_grad=True)
    targets = torch.tensor([0, 2]) if kind == "one" else torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    value = build_classification_loss("focal", n_classes=3, gamma=gamma)(logits, targets)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


def test_inverse_weights_are_those_of_scikit_learn():
    counts = torch.tensor([10, 40, 200])
    labels = torch.repeat_interleave(torch.arange(3), counts).numpy()
    balanced = torch.tensor(compute_class_weight("balanced", classes=np.arange(3), y=labels)).float()
    torch.testing.assert_close(class_weights(counts, "inverse"), balanced / balanced.mean())


def test_effective_weights_equal_their_formula():
    counts = [5, 500, 50_000]
    terms = [(1 - 0.999) / (1 - 0.999**n) for n in counts]
    expected = [3 * term / sum(terms) for term in terms]
    assert class_weights(torch.tensor(counts), "effective").tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scheme", sorted(CLASS_WEIGHTS))
def test_class_weights_keep_the_contract(scheme):
    weights = class_weights(torch.tensor([7, 3, 90, 3]), scheme)
    assert (weights.dtype, weights.shape) == (torch.float32, (4,))
    assert weights.mean().item() == pytest.approx(1)
    assert weights[1] == weights[3] > weights[0] > weights[2] > 0
    message = "class weights need a film of every finding, got counts [7, 0]: leave the empty findings out"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        class_weights(torch.tensor([7, 0]), scheme)


@pytest.mark.parametrize("name", sorted(CLASSIFICATION_LOSSES))
def test_a_misspelt_option_of_a_classification_loss_is_a_type_error(name):
    with pytest.raises(TypeError, match="gama"):
        build_classification_loss(name, n_classes=3, gama=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: build_classification_loss("focl", n_classes=3),
            "unknown classification loss 'focl' (did you mean 'focal'?); choose from bce, cross_entropy, focal",
        ),
        (
            lambda: build_classification_loss("bce", n_classes=2, class_weights=WEIGHTS),
            "class weights must be one per finding, shape (2,), got (3,)",
        ),
        (
            lambda: build_classification_loss("focal", n_classes=3, gamma=-1.0),
            "gamma must be at least 0, got -1.0",
        ),
        (
            lambda: build_classification_loss("bce", n_classes=2)(torch.zeros(4, 3), torch.zeros(4, 3)),
            "logits must have shape (N, 2), got (4, 3)",
        ),
        (
            lambda: build_classification_loss("bce", n_classes=3)(torch.zeros(4, 3), torch.zeros(4)),
            "targets must have shape (4, 3), got (4,)",
        ),
        (
            lambda: build_classification_loss("cross_entropy", n_classes=3)(torch.zeros(4, 3), torch.zeros(4, 3)),
            "loss 'cross_entropy' takes one finding per film, got several: take 'bce' or 'focal'",
        ),
        (
            lambda: class_weights(torch.ones(3), "invers"),
            "unknown class weights 'invers' (did you mean 'inverse'?); choose from effective, inverse",
        ),
    ],
)
def test_the_classification_doors_are_guarded(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()

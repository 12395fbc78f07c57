import copy
import math
import re

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss, VICRegLoss

from fewshot_cxr.objectives import AUXILIARIES, build_auxiliary


def views(n=6, dim=16):
    features = torch.randn(n, dim)
    return (features + 0.1 * torch.randn(n, dim)).requires_grad_(), features + 0.1 * torch.randn(n, dim)


def projected(auxiliary, one, other):
    return copy.deepcopy(auxiliary).projector(torch.cat([one, other])).detach().chunk(2)


@pytest.mark.parametrize("name", sorted(AUXILIARIES))
def test_auxiliary_keeps_the_contract(name):
    one, other = views()
    auxiliary = build_auxiliary(name, dim=16, seed=0)
    value = auxiliary(one, other)
    assert (value.shape, value.dtype) == ((), torch.float32)
    assert value > 0
    value.backward()
    assert one.grad.isfinite().all()
    assert (one.grad.abs().sum(dim=1) > 0).all()
    assert all(each.grad.isfinite().all() for each in auxiliary.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(auxiliary(one, other), value)
        assert auxiliary(one.bfloat16(), other.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("name", sorted(AUXILIARIES))
def test_neither_the_order_of_films_nor_of_views_matters(name):
    one, other = views()
    auxiliary = build_auxiliary(name, dim=16, seed=0)
    expected, order = auxiliary(one, other), torch.randperm(6)
    torch.testing.assert_close(auxiliary(one[order], other[order]), expected)
    torch.testing.assert_close(auxiliary(other, one), expected)


@pytest.mark.parametrize("name", sorted(AUXILIARIES))
@pytest.mark.parametrize("n", [2, 6])
def test_a_collapsed_batch_has_finite_gradients(name, n):
    one = torch.zeros(n, 16, requires_grad=True)
    value = build_auxiliary(name, dim=16, seed=0)(one, torch.zeros(n, 16))
    value.backward()
    assert value.isfinite()
    assert one.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.2, 0.5])
def test_simclr_equals_a_slow_loop_and_the_library(temperature):
    one, other = views()
    auxiliary = build_auxiliary("simclr", dim=16, seed=0, temperature=temperature)
    here, there = projected(auxiliary, one, other)
    rows = torch.cat([here, there]).double().numpy()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    terms = []
    for i in range(12):
        similar = [math.exp(float(rows[i] @ rows[j]) / temperature) for j in range(12)]
        terms.append(-math.log(similar[(i + 6) % 12] / (sum(similar) - similar[i])))
    got = auxiliary(one, other).item()
    assert got == pytest.approx(sum(terms) / 12, rel=1e-5)
    assert got == pytest.approx(SelfSupervisedLoss(NTXentLoss(temperature))(here, there).item(), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"invariance": 3.0, "variance": 5.0, "covariance": 2.0}])
def test_vicreg_equals_a_slow_loop_and_the_library(options):
    one, other = views()
    auxiliary = build_auxiliary("vicreg", dim=16, seed=0, **options)
    here, there = projected(auxiliary, one, other)
    weights = {"invariance": 25.0, "variance": 25.0, "covariance": 1.0} | options
    expected = weights["invariance"] * float(((here - there).double() ** 2).mean())
    for rows in (here.double().numpy(), there.double().numpy()):
        spread = np.sqrt(rows.var(axis=0, ddof=1) + 1e-4)
        expected += weights["variance"] * np.maximum(0, 1 - spread).mean() / 2
        products = np.cov(rows.T)
        expected += weights["covariance"] * (products[~np.eye(128, dtype=bool)] ** 2).sum() / 128
    got = auxiliary(one, other).item()
    assert got == pytest.approx(expected, rel=1e-4)
    library = VICRegLoss(weights["invariance"], weights["variance"], weights["covariance"])
    assert got == pytest.approx(library(here, ref_emb=there).item(), rel=1e-4)


@pytest.mark.parametrize("name", sorted(AUXILIARIES))
def test_the_projector_follows_from_its_seed_alone(name):
    before = torch.get_rng_state()
    first = build_auxiliary(name, dim=16, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    again, other = build_auxiliary(name, dim=16, seed=3), build_auxiliary(name, dim=16, seed=4)
    assert torch.equal(first.projector[0].weight, again.projector[0].weight)
    assert not torch.equal(first.projector[0].weight, other.projector[0].weight)
    assert [tuple(layer.weight.shape) for layer in first.projector if hasattr(layer, "weight")] == [
        (16, 16),
        (16,),
        (128, 16),
    ]


@pytest.mark.parametrize("name", sorted(AUXILIARIES))
def test_a_misspelt_option_of_an_auxiliary_is_a_type_error(name):
    with pytest.raises(TypeError, match="temprature"):
        build_auxiliary(name, dim=16, seed=0, temprature=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: build_auxiliary("simclear", dim=16, seed=0),
            "unknown auxiliary 'simclear' (did you mean 'simclr'?); choose from simclr, vicreg",
        ),
        (
            lambda: build_auxiliary("simclr", dim=16, seed=0, temperature=0.0),
            "temperature must be above 0, got 0.0",
        ),
        (
            lambda: build_auxiliary("simclr", dim=16, seed=0)(torch.zeros(1, 16), torch.zeros(1, 16)),
            "films in a batch of a self-supervised term must be at least 2, got 1",
        ),
    ],
)
def test_the_auxiliarys_door_is_guarded(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()

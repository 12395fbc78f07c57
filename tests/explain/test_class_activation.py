"""CAM: it adds up to the logit, keeps negative evidence, and refuses what it cannot take apart."""

import numpy as np
import pytest
import torch
from made_encoders import made_head, make_images, settled_encoder, slow_if_deep
from torch import nn
from torch.nn import functional

from fewshot_cxr.encoders import PUBLISHED_GATES, Encoder
from fewshot_cxr.explain import ClassScore, Similarity, class_activation_map, grad_cam
from fewshot_cxr.image_spec import ImageSpec

AVERAGING = slow_if_deep(["covidnet", "densenet121", "efficientnet_attention", "resnet18", "resnet50"])


def score_of_nothing(encoder, target, n_films):
    """The score of an empty map: what the biases alone add."""
    features = torch.zeros_like(encoder.features(make_images(n_films)))
    return target(encoder.head(encoder.pool(features))).detach()


@pytest.mark.parametrize("name", AVERAGING)
def test_mean_over_the_places_and_the_biases_make_the_logit(name):
    encoder, images = settled_encoder(name), make_images(3)
    target = ClassScore(made_head(), torch.tensor([2, 0, 1]))
    heat = class_activation_map(encoder, images, target)
    assert heat.shape == (3, 64, 64)
    assert heat.dtype == np.float32
    # Stretching by a whole factor keeps the mean.
    logits = torch.from_numpy(heat.mean((1, 2))) + score_of_nothing(encoder, target, 3)
    torch.testing.assert_close(logits, target(encoder(images)).detach(), rtol=1e-4, atol=1e-4)


def test_summed_gates_are_taken_apart_as_well():
    encoder = settled_encoder("efficientnet_attention", size_px=96, **PUBLISHED_GATES | {"gate_width": 16})
    images, target = make_images(2, 96), ClassScore(made_head(), 1)
    heat = class_activation_map(encoder, images, target)
    features = torch.zeros_like(encoder.features(images))
    logits = torch.from_numpy(heat.mean((1, 2))) + target(encoder.head(encoder.pool(features))).detach()
    torch.testing.assert_close(logits, target(encoder(images)).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", AVERAGING)
def test_what_speaks_for_the_class_is_where_grad_cam_finds_it(name):
    """With an averaging encoder and linear heads, Grad-CAM is the positive part of CAM over the number of places."""
    encoder, images = settled_encoder(name, size_px=32), make_images(3, 32)
    target = ClassScore(made_head(), 0)
    at_places = class_activation_map(encoder, images, target)
    n_places = encoder.features(images)[0, 0].numel()
    np.testing.assert_allclose(
        grad_cam(encoder, images, target), at_places.clip(0) / n_places, rtol=1e-3, atol=1e-4 * np.abs(at_places).max()
    )


class LeftAndRight(Encoder):
    """By hand: channel 0 is bright where the film is, and the class hangs on it with a weight below 0."""

    def __init__(self):
        super().__init__(ImageSpec(size_px=16), n_features=1, output="pooled")
        self.backbone = nn.AvgPool2d(4)

    def _feature_map(self, images):
        return self.backbone(images)


def test_negative_evidence_stays_negative():
    head = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[-2.0], [1.0]]))
    film = torch.zeros(1, 1, 16, 16)
    film[..., :8] = 1
    against = class_activation_map(LeftAndRight(), film, ClassScore(head, 0))[0]
    assert against.max() <= 0
    np.testing.assert_allclose(against[:, :6], -2)
    np.testing.assert_allclose(against[:, 10:], 0)
    np.testing.assert_allclose(class_activation_map(LeftAndRight(), film, ClassScore(head, 1))[0], -against / 2)


def test_chain_of_linear_layers_is_composed():
    encoder, images = settled_encoder("resnet18"), make_images(2)
    chain = nn.Sequential(nn.Linear(8, 5), nn.Dropout(0.5), nn.Identity(), nn.Linear(5, 2)).train()
    heat = class_activation_map(encoder, images, ClassScore(chain, 1))
    weights = chain[3].weight[1] @ chain[0].weight @ encoder.head.weight
    slow = (weights[:, None, None] * encoder.features(images)).sum(1, keepdim=True)
    slow = functional.interpolate(slow, size=(64, 64), mode="bilinear")[:, 0].detach()
    np.testing.assert_allclose(heat, slow, rtol=1e-4, atol=1e-5)
    assert chain.training


def test_encoder_and_caller_are_left_as_they_were():
    encoder, images, target = settled_encoder("resnet18"), make_images(2), ClassScore(made_head(), 1)
    expected = class_activation_map(encoder, images, target)
    encoder.train().freeze(2)
    modes = [module.training for module in encoder.modules()]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(class_activation_map(encoder, images + 0, target), expected)
        assert torch.is_inference_mode_enabled()
    assert [module.training for module in encoder.modules()] == modes


@pytest.mark.parametrize("name", ["resnet9", "vgg16"])
def test_pooling_that_is_no_average_is_refused(name):
    with pytest.raises(ValueError, match=r"CAM needs an encoder that averages its map, .*; take the method grad_cam$"):
        class_activation_map(settled_encoder(name), make_images(2), ClassScore(made_head(), 0))


def test_published_covidnet_is_refused():
    encoder = settled_encoder("covidnet", head="published")
    with pytest.raises(ValueError, match="CAM needs linear heads after the pooling, got ReLU; take the method"):
        class_activation_map(encoder, make_images(2), ClassScore(made_head(), 0))


def test_head_that_bends_is_refused():
    head = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="CAM needs linear heads after the pooling, got ReLU"):
        class_activation_map(settled_encoder("resnet18"), make_images(2), ClassScore(head, 0))


def test_other_targets_are_refused():
    with pytest.raises(TypeError, match="CAM maps a ClassScore alone, got Similarity; take the method grad_cam"):
        class_activation_map(settled_encoder("resnet18"), make_images(2), Similarity(torch.zeros(8)))


def test_class_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"class_ids must lie in 0..2, got \[3\]"):
        class_activation_map(settled_encoder("resnet18"), make_images(2), ClassScore(made_head(), 3))

"""Attention maps: the gates' own weights, stretched; and the one door to all methods."""

import numpy as np
import pytest
import torch
from made_encoders import make_images, settled_encoder
from torch.nn import functional

from fewshot_cxr.explain import METHODS, ClassScore, attention_maps, class_activation_map, grad_cam, heat_maps
from fewshot_cxr.objectives import LinearHead


@pytest.fixture(scope="module")
def encoder():
    return settled_encoder("efficientnet_attention")


@pytest.fixture(scope="module")
def target():
    return ClassScore(LinearHead(8, 2), 1)


def test_attention_maps_are_the_weights_of_the_gates(encoder):
    images = make_images(3)
    maps = attention_maps(encoder, images)
    with torch.no_grad():
        gates = encoder.attention_maps(images)
    assert list(maps) == ["gate1", "gate2"]
    for heat, weights in zip(maps.values(), gates, strict=True):
        stretched = functional.interpolate(weights, size=(64, 64), mode="bilinear", align_corners=False)[:, 0]
        np.testing.assert_array_equal(heat, stretched.numpy())
        assert heat.dtype == np.float32
        assert heat.min() >= 0
        np.testing.assert_allclose(heat.mean((1, 2)) * 4, 1, rtol=1e-5)  # a sum of 1 over 2 x 2 places


def test_attention_leaves_the_encoder_as_it_was(encoder):
    expected = attention_maps(encoder, make_images(2))["gate1"]
    encoder.train()
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    with torch.inference_mode():
        np.testing.assert_array_equal(attention_maps(encoder, make_images(2))["gate1"], expected)
    assert all(module.training for module in encoder.modules())
    assert all(torch.equal(encoder.state_dict()[name], value) for name, value in state.items())
    encoder.eval()


def test_encoder_without_gates_is_refused():
    with pytest.raises(ValueError, match="this encoder has no attention gates, efficientnet_attention has; take the"):
        attention_maps(settled_encoder("resnet9"), make_images(1))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_one_door_opens_every_method(encoder, target, method):
    heat = heat_maps(encoder, make_images(2), None if method == "attention" else target, method=method)
    assert heat.shape == (2, 64, 64)
    assert heat.dtype == np.float32


def test_door_gives_what_the_methods_give(encoder, target):
    images = make_images(2)
    np.testing.assert_array_equal(heat_maps(encoder, images, target), grad_cam(encoder, images, target))
    inner = heat_maps(encoder, images, target, layer="backbone.bn2")
    np.testing.assert_array_equal(inner, grad_cam(encoder, images, target, layer="backbone.bn2"))
    cam = heat_maps(encoder, images, target, method="cam", layer="features")
    np.testing.assert_array_equal(cam, class_activation_map(encoder, images, target))
    gates = attention_maps(encoder, images)
    for layer, heat in gates.items():
        np.testing.assert_array_equal(heat_maps(encoder, images, None, method="attention", layer=layer), heat)
    mean = heat_maps(encoder, images, None, method="attention")
    np.testing.assert_allclose(mean, (gates["gate1"] + gates["gate2"]) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"method": "gradcam"}, r"unknown method 'gradcam' \(did you mean 'grad_cam'\?\); choose from attention, cam"),
        (
            {"method": "attention"},
            "the method attention shows where the network looks, for no target; leave",
        ),
        (
            {"method": "cam", "layer": "backbone.bn2"},
            "the method cam maps 'features' alone, got the layer 'backbone",
        ),
        ({"target": None}, "the method grad_cam needs a target: what is the heat to explain"),
        ({"target": None, "method": "attention", "layer": "gate3"}, "unknown layer of the method attention 'gate3'"),
    ],
)
def test_what_a_method_does_not_take_is_refused(encoder, target, keywords, message):
    with pytest.raises(ValueError, match=message):
        heat_maps(encoder, make_images(1), **{"target": target} | keywords)


def test_cam_without_a_target_is_refused(encoder):
    with pytest.raises(TypeError, match="CAM maps a ClassScore alone, got NoneType"):
        heat_maps(encoder, make_images(1), None, method="cam")

"""What a file holds beside the encoder: a task's head, and the mean image of the training films."""

import copy

import numpy as np
import pytest
import torch
from made_encoders import TINY

from fewshot_cxr.encoders import ENCODERS, build_encoder, load_encoder, load_head, load_weights, save_encoder
from fewshot_cxr.image_spec import ImageSpec

SMALL = ImageSpec(size_px=64)
PER_PIXEL = ImageSpec(size_px=64, per_pixel=True)
HEAD = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.tensor([0.5, -0.5])}


def build(name="resnet9", spec=SMALL, **options):
    return build_encoder(name, image_spec=spec, **TINY[name], **options)


def statistics(size_px=64):
    draw = np.random.default_rng(0)
    shape = (size_px, size_px)
    return draw.random(shape, dtype=np.float32), 0.1 + draw.random(shape, dtype=np.float32)


def test_head_comes_back_with_its_card(tmp_path):
    encoder = build()
    card = {"head": {"kind": "linear", "activation": "softmax", "bias": True, "findings": ["covid", "normal"]}}
    save_encoder(encoder, tmp_path / "encoder.safetensors", card=card, head=HEAD)
    for place in (tmp_path, tmp_path / "encoder.safetensors"):
        head, found = load_head(place)
        assert found == card
        assert head.keys() == HEAD.keys()
        assert all(torch.equal(head[name], HEAD[name]) for name in HEAD)


def test_head_does_not_disturb_the_encoder(tmp_path):
    encoder = build().eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={}, head=HEAD)
    loaded = load_encoder(tmp_path)
    images = torch.rand(2, 1, 64, 64)
    assert torch.equal(loaded(images), encoder(images))
    assert loaded.state_dict().keys() == encoder.state_dict().keys()
    other = build(seed=7).eval()
    load_weights(other, tmp_path / "encoder.safetensors")
    assert torch.equal(other(images), encoder(images))


def test_file_without_a_head_says_so(tmp_path):
    save_encoder(build(), tmp_path / "encoder.safetensors", card={})
    with pytest.raises(ValueError, match=r"encoder\.safetensors has no head: its encoder was trained for distances"):
        load_head(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_head(tmp_path / "other.safetensors")


@pytest.mark.parametrize("name", sorted(set(ENCODERS) & set(TINY)))
def test_mean_image_is_subtracted(name):
    encoder = build(name, PER_PIXEL).eval()
    plain = build(name).eval()
    images = torch.rand(2, 1, 64, 64)
    assert torch.equal(encoder(images), plain(images))  # of a new encoder, 0 and 1
    mean, std = statistics()
    encoder.adopt_pixel_statistics(mean, std)
    assert encoder.pixel_mean.shape == encoder.pixel_std.shape == (1, 1, 64, 64)
    expected = plain.features((images - torch.from_numpy(mean)) / torch.from_numpy(std))
    torch.testing.assert_close(encoder.features(images), expected)
    assert not torch.equal(encoder(images), plain(images))


def test_mean_image_weighs_attention_maps_too():
    encoder, plain = build("efficientnet_attention", PER_PIXEL).eval(), build("efficientnet_attention").eval()
    mean, std = (torch.from_numpy(image) for image in statistics())
    encoder.adopt_pixel_statistics(mean, std)
    images = torch.rand(2, 1, 64, 64)
    for found, expected in zip(
        encoder.attention_maps(images), plain.attention_maps((images - mean) / std), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_mean_image_serves_all_channels():
    encoder = build(spec=ImageSpec(size_px=64, n_channels=3, per_pixel=True)).eval()
    encoder.adopt_pixel_statistics(*statistics())
    assert encoder(torch.rand(2, 3, 64, 64)).isfinite().all()


def test_mean_image_is_saved_and_copied(tmp_path):
    encoder = build(spec=PER_PIXEL).eval()
    encoder.adopt_pixel_statistics(*statistics())
    images = torch.rand(2, 1, 64, 64)
    assert torch.equal(copy.deepcopy(encoder)(images), encoder(images))
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={})
    loaded = load_encoder(tmp_path)
    assert loaded.image_spec == PER_PIXEL
    assert torch.equal(loaded(images), encoder(images))
    assert not [name for name, _ in encoder.named_parameters() if "pixel" in name]


def test_encoders_without_it_have_no_mean_image():
    encoder = build()
    assert not [name for name in encoder.state_dict() if "pixel" in name]
    with pytest.raises(ValueError, match="the image spec is not per pixel, so the encoder has no mean image"):
        encoder.adopt_pixel_statistics(*statistics())


def test_wrong_mean_images_are_refused():
    encoder = build(spec=PER_PIXEL)
    mean, std = statistics()
    with pytest.raises(ValueError, match=r"images must have the mean image's size, 64 px, got \(96, 96\)"):
        encoder(torch.rand(2, 1, 96, 96))
    with pytest.raises(ValueError, match=r"the mean image must have the shape \(64, 64\), got \(32, 32\)"):
        encoder.adopt_pixel_statistics(*statistics(32))
    with pytest.raises(ValueError, match=r"the std image must be above 0; give pixels that never change"):
        encoder.adopt_pixel_statistics(mean, np.zeros_like(std))
    with pytest.raises(ValueError, match="the mean image must be finite"):
        encoder.adopt_pixel_statistics(mean * np.nan, std)
    assert torch.equal(encoder.pixel_mean, torch.zeros(1, 1, 64, 64))

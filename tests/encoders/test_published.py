"""Published files, made by their own libraries with random weights: through our door they give the same embedding."""

from dataclasses import replace

import open_clip
import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

from fewshot_cxr.encoders import PUBLISHED, build_encoder, load_encoder, save_encoder
from fewshot_cxr.encoders.published import named_by_timm
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.torch_seeding import seeded_torch

WIDTH, SIDE = 32, 56
TINY = {"embed_dim": WIDTH, "depth": 2, "num_heads": 2}
SMALL = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE}


def images(size_px=SIDE):
    return torch.randn(3, 3, size_px, size_px, generator=torch.Generator().manual_seed(0))


def settled(network):
    """Weights as different from their first values as training leaves them."""
    with seeded_torch(1, "published"), torch.no_grad():
        for weight in network.parameters():
            weight.copy_(weight + 0.3 * torch.randn_like(weight))
    return network.eval()


@pytest.fixture
def tiny(monkeypatch):
    """A name of its own for a small network that is published as a known one is."""

    def make(name, size_px=SIDE, **changes):
        own = PUBLISHED[name]
        arguments = own.arguments | TINY | changes.pop("arguments", {})
        spec = replace(own.image_spec, size_px=size_px)
        monkeypatch.setitem(PUBLISHED, "tiny", replace(own, arguments=arguments, image_spec=spec, **changes))
        return "tiny"

    return make


def opened(name, file, **options):
    return build_encoder(name, weights=file, output="pooled", **options).eval()


def check_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def dinov2():
    with seeded_torch(0, "dinov2"):
        return settled(transformers.Dinov2Model(transformers.Dinov2Config(**SMALL, patch_size=14)))


@pytest.mark.parametrize("prefix", ["", "dinov2.", "module.encoder."])
def test_rad_dino_as_transformers_saves_it(tmp_path, tiny, prefix):
    network = dinov2()
    network.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    if prefix:
        save_file({f"{prefix}{name}": tensor for name, tensor in load_file(file).items()}, file)
    name = tiny("rad_dino", arguments={"img_size": SIDE})
    read = network(images())
    check_same(opened(name, file)(images()), read.pooler_output)
    check_same(opened(name, file, pool="cls")(images()), read.last_hidden_state[:, 0])
    check_same(opened(name, file, pool="mean")(images()), read.last_hidden_state[:, 1:].mean(1))


def test_rad_dino_under_dinov2s_own_names(tmp_path, tiny):
    name = tiny("rad_dino", arguments={"img_size": SIDE})
    with seeded_torch(0, "dinov2"):
        network = settled(timm.create_model("vit_base_patch14_dinov2", img_size=SIDE, num_classes=0, **TINY))
    state = network.state_dict() | {"mask_token": torch.zeros(1, WIDTH)}
    save_file(state, tmp_path / "backbone_compatible.safetensors")
    check_same(opened(name, tmp_path / "backbone_compatible.safetensors")(images()), network(images()))


def test_dinov2_with_registers(tmp_path, tiny):
    config = transformers.Dinov2WithRegistersConfig(**SMALL, patch_size=14, num_register_tokens=4)
    with seeded_torch(0, "registers"):
        network = settled(transformers.Dinov2WithRegistersModel(config))
    network.save_pretrained(tmp_path)
    name = tiny("rad_dino", architecture="vit_base_patch14_reg4_dinov2", arguments={"img_size": SIDE})
    check_same(opened(name, tmp_path / "model.safetensors")(images()), network(images()).pooler_output)


@pytest.mark.parametrize("pool", ["native", "cls"])
def test_biomedclip_with_and_without_its_projection(tmp_path, tiny, pool):
    vision = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "", "timm_proj": "linear", "image_size": 224}
    text = {"width": WIDTH, "heads": 2, "layers": 1, "vocab_size": 50, "context_length": 8}
    with seeded_torch(0, "clip"):
        tower = settled(open_clip.CustomTextCLIP(24, vision, text))
    torch.save(tower.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    own = {"embed_dim": 192, "depth": 12, "num_heads": 3}
    name = tiny("biomedclip", 224, n_projected=24, arguments=own)
    encoder = opened(name, tmp_path / "open_clip_pytorch_model.bin", pool=pool)
    expected = tower.visual if pool == "native" else tower.visual.trunk
    check_same(encoder(images(224)), expected(images(224)))
    assert encoder.embedding_dim == (24 if pool == "native" else 192)
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={})
    check_same(load_encoder(tmp_path)(images(224)), expected(images(224)))


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_eva_x_under_its_own_names(tmp_path, tiny, size):
    name = tiny(f"eva_x_{size}", 64, arguments={"img_size": 64})
    made = {"patch_size": 16, "ref_feat_shape": (14, 14), "img_size": 64, "num_classes": 0, **TINY}
    with seeded_torch(0, "eva"):
        network = settled(timm.create_model(f"eva02_{size}_patch14_224", **made))
    state = network.state_dict()
    theirs = {"mlp.fc1_g": "mlp.w1", "mlp.fc1_x": "mlp.w2", "mlp.fc2": "mlp.w3", "mlp.norm": "mlp.ffn_ln"}
    for ours, name_there in theirs.items():
        state = {key.replace(ours, name_there): tensor for key, tensor in state.items()}
    # The pre-training had its norm before the pooling, a token for what it hid, and rotations that are made anew.
    state = {key.replace("fc_norm.", "norm."): tensor for key, tensor in state.items()}
    state |= {"mask_token": torch.zeros(1, 1, WIDTH), "blocks.0.attn.rope.freqs_cos": torch.zeros(3)}
    torch.save({"model": state}, tmp_path / "eva_x.pt")
    check_same(opened(name, tmp_path / "eva_x.pt")(images(64)), network(images(64)))


@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize("known", ["siglip", "medsiglip"])
def test_siglip_as_transformers_saves_it(tmp_path, tiny, known, is_whole):
    patch = 16 if known == "siglip" else 14
    side = 4 * patch
    config = transformers.SiglipVisionConfig(**SMALL | {"image_size": side}, patch_size=patch, intermediate_size=64)
    with seeded_torch(0, "siglip"):
        tower = settled(transformers.SiglipVisionModel(config))
    tower.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    if is_whole:  # with the text tower, and both named
        both = {f"vision_model.{name}": tensor for name, tensor in load_file(file).items()}
        save_file(both | {"text_model.head.bias": torch.zeros(3), "logit_scale": torch.zeros(1)}, file)
    name = tiny(known, side, arguments={"img_size": side, "mlp_ratio": 2})
    read = tower(images(side))
    check_same(opened(name, file)(images(side)), read.pooler_output)
    check_same(opened(name, file, pool="mean")(images(side)), read.last_hidden_state.mean(1))


def test_vit_as_transformers_saves_it(tmp_path):
    config = transformers.ViTConfig(**SMALL | {"image_size": 64}, patch_size=16, intermediate_size=4 * WIDTH)
    with seeded_torch(0, "vit"):
        network = settled(transformers.ViTForImageClassification(config))
    network.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    own = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=0, **TINY)
    named = {name: tensor for name, tensor in named_by_timm(state).items() if not name.startswith("pooler")}
    own.load_state_dict(named)
    check_same(own.eval()(images(64)), network.vit(images(64)).last_hidden_state[:, 0])


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_dinov2", "vit_small_patch16_dinov3"])
def test_timms_own_file_at_another_size(tmp_path, name):
    """Positions are stretched by timm itself."""
    with seeded_torch(0, "timm"):
        network = settled(timm.create_model(name, num_classes=0, dynamic_img_size=True))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    made = tmp_path / "model.safetensors"
    spec = ImageSpec(224, 3)
    encoder = build_encoder(f"timm:{name}", weights=made, image_spec=spec, output="pooled", pool="cls").eval()
    check_same(encoder(images(112)), network.forward_features(images(112))[:, 0])


def test_own_spec_and_options_are_kept():
    assert build_encoder("biomedclip").image_spec == PUBLISHED["biomedclip"].image_spec
    with pytest.raises(ValueError, match=r"unknown encoder 'rad-dino' \(did you mean 'rad_dino'\?\)"):
        build_encoder("rad-dino")

"""Names, recipes, files of weights, checkpoints: what is taken, what is refused, and in which words."""

import json
import pickle
import re
import shlex
import subprocess
import sys
import zipfile
from argparse import Namespace
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from fewshot_cxr.encoders import (
    ENCODERS,
    ResNet9,
    build_encoder,
    load_encoder,
    load_weights,
    save_encoder,
    weights_name,
)
from fewshot_cxr.encoders.weights import take_weights
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.storage import load_tensors, save_tensors
from fewshot_cxr.torch_seeding import seeded_torch, torch_generator

SMALL = ImageSpec(size_px=64)


def gray_images(n_channels):
    return torch.rand(2, 1, 64, 64, generator=torch_generator(0)).repeat(1, n_channels, 1, 1)


def timm_file(path, name="resnet10t", n_channels=3):
    """A file as timm's hub has it: a whole classifier."""
    with seeded_torch(7, "file"):
        network = timm.create_model(name, num_classes=1000, in_chans=n_channels).eval()
    if path.suffix == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    return network


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"unknown encoder 'resnet8' \(did you mean 'resnet18'\?\); choose from"
    ) as caught:
        build_encoder("resnet8")
    assert all(
        name in str(caught.value) for name in [*ENCODERS, "timm:<any name>", "timm:hf-hub:<any name>", "xrv:<any name>"]
    )
    with pytest.raises(ValueError, match=r"unknown encoder 'resnet34' \(did you mean 'timm:resnet34'\?\)"):
        build_encoder("resnet34")
    with pytest.raises(ValueError, match=r"timm has no network 'resnet18x' \(did you mean 'resnet18\w*'\?\)"):
        build_encoder("timm:resnet18x")
    with pytest.raises(
        ValueError, match=r"timm has no weights 'resnet18.a9_in1k' \(did you mean 'resnet18.a\d_in1k'\?\)"
    ):
        build_encoder("timm:resnet18.a9_in1k")


def test_recipe_names_every_option():
    encoder = build_encoder("resnet9", image_spec=SMALL, embedding_dim=16)
    options = {"width": 32, "stem_pool": 2, "embedding_dim": 16, "output": "head", "dropout": 0.0, "weights": None}
    assert encoder.recipe == {"encoder": "resnet9", "options": options}
    assert build_encoder("timm:resnet10t", image_spec=SMALL).recipe["options"].keys() == {
        "pretrained", "pool", "embedding_dim", "output", "dropout", "weights"
    }  # fmt: skip
    assert json.loads(json.dumps(encoder.recipe)) == encoder.recipe


def test_published_weights_that_cannot_be_downloaded(monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError("no connection")

    monkeypatch.setattr(timm, "create_model", refuse)
    message = (
        r"the weights of timm:resnet10t cannot be downloaded \(FileNotFoundError: no connection\);.*--weights FILE"
    )
    with pytest.raises(OSError, match=message):
        build_encoder("timm:resnet10t", pretrained=True)


def test_the_hub_is_not_reached_offline(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OSError, match=r"the weights of timm:test_vit cannot be downloaded .*--weights FILE"):
        build_encoder("timm:test_vit", pretrained=True)


def test_network_without_published_weights():
    name = next(name for name in timm.list_models("resnet*") if not timm.is_model_pretrained(name))
    with pytest.raises(ValueError, match=rf"timm:{name} has no published weights; leave out --pretrained"):
        build_encoder(f"timm:{name}", pretrained=True)


def test_two_starting_points_are_refused(tmp_path):
    with pytest.raises(ValueError, match="pretrained and weights both say where to start from; give one of them"):
        build_encoder("timm:resnet10t", pretrained=True, weights=tmp_path / "file.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(("in_file", "n_channels"), [(3, 1), (3, 3), (1, 1), (1, 3)])
@pytest.mark.slow
def test_file_of_timm_gives_the_same_features(tmp_path, suffix, in_file, n_channels):
    file = tmp_path / f"weights{suffix}"
    network = timm_file(file, n_channels=in_file)
    spec = ImageSpec(size_px=64, n_channels=n_channels)
    encoder = build_encoder("timm:resnet10t", image_spec=spec, output="pooled", weights=file).eval()
    expected = network.forward_head(network.forward_features(gray := gray_images(in_file)), pre_logits=True)
    found = encoder(gray[:, :1].repeat(1, n_channels, 1, 1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


TORCHVISION = ["resnet18", "resnet50", "densenet121", pytest.param("vgg16", marks=pytest.mark.slow)]


def torchvision_network(name, **options):
    """A network of torchvision in eval mode, and what it computes before its last layer."""
    with seeded_torch(9, name):
        network = torchvision.models.get_model(name, **options).eval()
    body = torchvision.models.get_model(name, **options).eval() if name != "vgg16" else network
    body.load_state_dict(network.state_dict())
    last = {"densenet121": "classifier", "vgg16": "classifier"}.get(name, "fc")
    setattr(body, last, network.classifier[:6] if name == "vgg16" else nn.Identity())
    return network, body


@pytest.mark.parametrize("name", TORCHVISION)
@pytest.mark.slow
def test_state_dict_of_torchvision_gives_the_same_features(name):
    network, body = torchvision_network(name)
    state = network.state_dict()
    spec = ImageSpec(size_px=64, n_channels=3)
    encoder = build_encoder(name, image_spec=spec, output="pooled", dropout=0.0).eval()
    take_weights(encoder, state, "torchvision's own")
    images = torch.rand(2, 3, 64, 64, generator=torch_generator(0))
    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), body(images), rtol=1e-5, atol=1e-5)
    assert encoder.image_spec.mean == (0.485, 0.456, 0.406)


def data_parallel(state):
    return {f"module.{name}": value for name, value in state.items()}


def of_lightning(state):
    return {"state_dict": {f"model.{name}": value for name, value in state.items()}, "epoch": 3, "global_step": 99}


def of_both(state):
    return {"state_dict": data_parallel({f"net.{name}": value for name, value in state.items()}), "best": 0.9}


def of_the_first_densenets(state):
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): value for name, value in state.items()}


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("resnet18", data_parallel),
        ("resnet18", of_lightning),
        ("resnet18", of_both),
        ("densenet121", of_the_first_densenets),
        ("densenet121", lambda state: of_lightning(of_the_first_densenets(state))),
    ],
)
@pytest.mark.slow
def test_names_are_seen_through(tmp_path, name, wrap):
    network, _ = torchvision_network(name, num_classes=4)
    state = network.state_dict()
    assert wrap(state).keys() != state.keys()
    torch.save(wrap(state), tmp_path / "file.pth")
    found = build_encoder(name, image_spec=ImageSpec(size_px=64, n_channels=3), weights=tmp_path / "file.pth")
    own = found.backbone.state_dict()
    assert all(torch.equal(own[key], state[key]) for key in own)


def test_gray_films_see_the_same_through_summed_filters():
    """Equal where the three channels share mean and std; with one of each per channel, as published, near."""
    network, body = torchvision_network("resnet18")
    encoder = build_encoder("resnet18", image_spec=SMALL, output="pooled").eval()
    take_weights(encoder, network.state_dict(), "torchvision's own")
    films = gray_images(1)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (encoder.image_spec.mean, encoder.image_spec.std))
    found = encoder((films - mean) / std)
    torch.testing.assert_close(found, body(((films - mean) / std).repeat(1, 3, 1, 1)), rtol=1e-5, atol=1e-5)
    means, stds = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    tinted = body((films - means.view(1, 3, 1, 1)) / stds.view(1, 3, 1, 1))
    assert 0.01 < (found - tinted).norm() / tinted.norm() < 0.2


@pytest.mark.parametrize("size_px", [64, 160])
def test_file_of_a_transformer(tmp_path, size_px):
    file = tmp_path / "vit.pth"
    network = timm_file(file, "test_vit")
    spec = ImageSpec(size_px=size_px, n_channels=3)
    images = torch.rand(2, 3, 160, 160, generator=torch_generator(0))
    tokens = network.forward_features(images)
    for pool, expected in {"native": tokens[:, 0], "mean": tokens[:, 1:].mean(1)}.items():
        encoder = build_encoder("timm:test_vit", image_spec=spec, output="pooled", pool=pool, weights=file).eval()
        torch.testing.assert_close(encoder(images), expected)


def test_file_with_the_state_dict_inside(tmp_path):
    network = timm_file(tmp_path / "plain.pth")
    wrapped = {"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "wrapped.pth")
    one, two = (build_encoder("timm:resnet10t", image_spec=SMALL, weights=tmp_path / f"{name}.pth").state_dict()
                for name in ("plain", "wrapped"))  # fmt: skip
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_attention_takes_the_weights_of_its_backbone(tmp_path):
    network = timm_file(tmp_path / "b0.safetensors", "efficientnet_b0")
    encoder = build_encoder(
        "efficientnet_attention", image_spec=SMALL, gate_width=8, weights=tmp_path / "b0.safetensors"
    )
    assert torch.equal(encoder.backbone.conv_head.weight, network.conv_head.weight)
    assert encoder.image_spec.mean == pytest.approx((0.449,))


def test_statistics_come_with_the_weights(tmp_path):
    timm_file(file := tmp_path / "weights.pth")
    published = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    rgb = build_encoder("timm:resnet10t", image_spec=ImageSpec(size_px=64, n_channels=3), weights=file)
    assert (rgb.image_spec.mean, rgb.image_spec.std) == (published["mean"], published["std"])
    gray = build_encoder("timm:resnet10t", image_spec=SMALL, weights=file)
    assert gray.image_spec.mean == pytest.approx((sum(published["mean"]) / 3,))
    assert gray.image_spec.std == pytest.approx((sum(published["std"]) / 3,))
    own = ImageSpec(size_px=64, mean=(0.6,), std=(0.2,))
    assert build_encoder("timm:resnet10t", image_spec=own, weights=file).image_spec == own
    assert build_encoder("timm:resnet10t", image_spec=SMALL).image_spec == SMALL
    save_encoder(gray, tmp_path / "run" / "encoder.safetensors", card={})
    assert load_encoder(tmp_path / "run").image_spec == gray.image_spec
    again = build_encoder("timm:resnet10t", image_spec=SMALL, weights=tmp_path / "run" / "encoder.safetensors")
    assert again.image_spec == gray.image_spec


def test_own_file_gives_backbone_and_a_head_that_fits(tmp_path):
    file = tmp_path / "encoder.safetensors"
    first = build_encoder("resnet9", image_spec=SMALL, embedding_dim=16, seed=1)
    save_encoder(first, file, card={})
    same = build_encoder("resnet9", image_spec=SMALL, embedding_dim=16, seed=2, weights=file)
    wider = build_encoder("resnet9", image_spec=SMALL, embedding_dim=32, seed=2, weights=file)
    pooled = build_encoder("resnet9", image_spec=SMALL, output="pooled", seed=2, weights=file)
    for encoder in (same, wider, pooled):
        assert all(torch.equal(encoder.backbone.state_dict()[key], value)
                   for key, value in first.backbone.state_dict().items())  # fmt: skip
    assert torch.equal(same.head.weight, first.head.weight)
    assert torch.equal(wider.head.weight, build_encoder("resnet9", embedding_dim=32, seed=2).head.weight)
    assert same.recipe["options"]["weights"] == weights_name(file)


def test_what_belongs_to_the_task_is_left_in_the_file(tmp_path):
    spec = ImageSpec(size_px=64, per_pixel=True)
    first = build_encoder("resnet9", image_spec=spec, width=8, seed=1)
    first.adopt_pixel_statistics(torch.full((64, 64), 0.4), torch.full((64, 64), 0.2))
    save_encoder(first, file := tmp_path / "encoder.safetensors", card={}, head={"weight": torch.ones(3, 128)})
    same = build_encoder("resnet9", image_spec=spec, width=8, seed=2, weights=file).state_dict()
    assert all(torch.equal(same[key], value) for key, value in first.state_dict().items())
    for other in (SMALL, ImageSpec(size_px=96, per_pixel=True)):
        encoder = build_encoder("resnet9", image_spec=other, width=8, seed=2, weights=file)
        assert torch.equal(encoder.backbone[0][0].weight, first.backbone[0][0].weight)
        assert not other.per_pixel or encoder.pixel_mean.eq(0).all()


def test_saved_encoder_is_loaded_without_the_file_it_began_with(tmp_path):
    timm_file(file := tmp_path / "weights.pth")
    encoder = build_encoder("timm:resnet10t", image_spec=SMALL, weights=file).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={})
    file.unlink()
    loaded = load_encoder(tmp_path)
    assert loaded.recipe == encoder.recipe
    images = gray_images(1)
    assert torch.equal(loaded(images), encoder(images))


def test_weights_of_another_network_are_refused_and_nothing_is_copied(tmp_path):
    timm_file(file := tmp_path / "weights.pth", "test_efficientnet")
    encoder = build_encoder("timm:resnet10t", image_spec=SMALL)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    message = (
        rf"{re.escape(str(file))} does not fit this encoder: it lacks conv1.0.weight, .* and \d+ more; it alone has "
    )
    with pytest.raises(ValueError, match=message):
        load_weights(encoder, file)
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())
    save_encoder(build_encoder("resnet9", image_spec=SMALL, width=8), file := tmp_path / "narrow.safetensors", card={})
    with pytest.raises(ValueError, match=r"does not fit this encoder: shapes differ in backbone.0.0.weight, "):
        build_encoder("resnet9", image_spec=SMALL, weights=file)


class Trap:
    def __reduce__(self):
        return (open, ("sprung", "w"))


def test_files_that_hold_no_plain_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Trap()}, "trap.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps({"conv1.weight": Trap()}))
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "text.safetensors").write_text("not weights")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name in ("trap.pth", "pickle.pth", "text.pth", "text.safetensors", "empty.pth"):
        with pytest.raises(OSError, match=name):
            build_encoder("resnet9", weights=name)
    assert not (tmp_path / "sprung").exists()
    torch.save({"epoch": 3, "weight": torch.zeros(2)}, "mixed.pth")
    with pytest.raises(ValueError, match=r"mixed.pth is no state dict: epoch is no tensor|epoch are no tensors"):
        build_encoder("resnet9", weights="mixed.pth")
    with pytest.raises(FileNotFoundError, match=r"absent.pth: no such file of weights"):
        build_encoder("resnet9", weights="absent.pth")


def test_encoder_without_recipe_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="the encoder has no recipe to be rebuilt from; make it with build_encoder"):
        save_encoder(ResNet9(SMALL), tmp_path / "encoder.safetensors", card={})
    assert not list(tmp_path.iterdir())


def test_a_flipped_bit_of_foreign_weights_is_not_believed(tmp_path):
    file, net = tmp_path / "net.pth", timm.create_model("resnet18", num_classes=0, in_chans=1)
    torch.save(net.state_dict(), file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(OSError, match="net.pth holds no plain weights, or is damaged"):
        build_encoder("resnet18", image_spec=SMALL, weights=file)


def test_wrong_checkpoints_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"encoder.safetensors: no such file"):
        load_encoder(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"absent: no such file"):
        load_encoder(tmp_path / "absent")
    file = tmp_path / "encoder.safetensors"
    save_encoder(build_encoder("resnet9", image_spec=SMALL, width=8), file, card={})
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(OSError, match=r"encoder.safetensors is damaged"):
        load_encoder(file)
    file.write_bytes(whole[:-4] + b"\x00\x01\x02\x03")
    with pytest.raises(OSError, match=r"encoder.safetensors is damaged: its content does not match its hash"):
        load_encoder(file)
    save_tensors(file, {"rows": torch.zeros(2)}, kind="embeddings", header={})
    with pytest.raises(ValueError, match=r"encoder.safetensors holds embeddings, encoder was expected"):
        load_encoder(file)


@pytest.mark.parametrize(
    "word", [b"fewshot_cxr", b"kind", b"encoder", b"format_version", b"sha256", b"header", b"mean"]
)
def test_a_file_with_a_damaged_header_is_no_file_of_foreign_weights(tmp_path, word):
    file = tmp_path / "encoder.safetensors"
    save_encoder(build_encoder("resnet9", image_spec=replace(SMALL, mean=(0.4,)), width=8), file, card={})
    whole = file.read_bytes()
    assert word in whole
    file.write_bytes(whole.replace(word, word[:-1] + bytes([word[-1] ^ 1]), 1))
    for load in (load_encoder, partial(load_weights, build_encoder("resnet9", image_spec=SMALL, width=8))):
        with pytest.raises((OSError, ValueError), match=r"encoder.safetensors (is damaged|holds encodes, encoder was)"):
            load(file)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"encoder": "resnet12", "options": {}}, r"unknown encoder 'resnet12' \(did you mean 'resnet18'\?\)"),
        ({"encoder": "resnet9", "options": {"depth": 3}}, r"unexpected keyword argument 'depth'"),
    ],
)
def test_recipe_that_cannot_be_followed_names_the_file(tmp_path, recipe, message):
    file = tmp_path / "encoder.safetensors"
    save_encoder(build_encoder("resnet9", image_spec=SMALL, width=8), file, card={})
    tensors, header = load_tensors(file, kind="encoder")
    save_tensors(file, tensors, kind="encoder", header={**header, "recipe": recipe})
    with pytest.raises(
        ValueError, match=rf"^{re.escape(str(file))}: its encoder cannot be rebuilt .*{message}"
    ) as caught:
        load_encoder(file)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"encoder": "resnet9", "options": {"width": 16}}, "shapes differ in head.weight, backbone.0.0.weight, "),
        ({"encoder": "covidnet", "options": {"width": 8}}, r"it lacks backbone\."),
    ],
)
def test_weights_of_another_encoder_name_the_file(tmp_path, recipe, message):
    file = tmp_path / "encoder.safetensors"
    save_encoder(build_encoder("resnet9", image_spec=SMALL, width=8), file, card={})
    tensors, header = load_tensors(file, kind="encoder")
    save_tensors(file, tensors, kind="encoder", header={**header, "recipe": recipe})
    with pytest.raises(ValueError, match=rf"^{re.escape(str(file))} does not fit this encoder: {message}"):
        load_encoder(file)


def test_transformer_refuses_a_size_that_its_patches_do_not_fill():
    with pytest.raises(ValueError, match=r"timm:test_vit does not take images of \(70, 70\) px"):
        build_encoder("timm:test_vit", image_spec=ImageSpec(size_px=70))
    encoder = build_encoder("timm:test_vit", image_spec=SMALL)
    with pytest.raises(ValueError, match=r"timm:test_vit does not take images of \(64, 70\) px"):
        encoder(torch.rand(1, 1, 64, 70))
    assert encoder.features(torch.rand(1, 1, 64, 96)).shape[2:] == (4, 6)


def resnet(**options):
    return torchvision.models.resnet18(**options).state_dict()


def prefixed(prefix, state, **others):
    return {f"{prefix}{name}": value for name, value in state.items()} | others


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": prefixed("backbone.", state)},
        lambda state: prefixed("encoder.", state),
        lambda state: {"model": prefixed("model.encoder.", state)},
        lambda state: {
            "state_dict": prefixed("module.encoder_q.", state) | prefixed("module.encoder_k.", noise(state))
        },
        lambda state: {"epoch": 3, "net": prefixed("_orig_mod.net.", state)},
        lambda state: prefixed("backbone.", state, **{"projection_head.0.weight": torch.zeros(2)}),
        lambda state: prefixed("backbone.", headless(state), **{"fc.bias": torch.ones(2), "scale": torch.ones(1)}),
        lambda state: prefixed("features_extractor.0.", state),
        lambda state: {("head" + name[2:] if name[:3] == "fc." else name): value for name, value in state.items()},
        lambda state: {("linear.1" + name[2:] if name[:3] == "fc." else name): value for name, value in state.items()},
    ],
    ids=["backbone", "encoder", "model", "moco", "compiled", "simclr", "fc_beside", "nested", "head", "linear"],
)
def test_any_name_before_all_names_and_a_classifier_are_seen_through(tmp_path, wrap):
    state = resnet(num_classes=4)
    torch.save(wrap(state), tmp_path / "file.ckpt")
    found = build_encoder("resnet18", image_spec=ImageSpec(size_px=64, n_channels=3), weights=tmp_path / "file.ckpt")
    assert all(torch.equal(value, state[key]) for key, value in found.backbone.state_dict().items())


def headless(state):
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def noise(state):
    return {name: torch.zeros_like(value) for name, value in state.items()}


def test_numbered_layers_are_refused_with_their_names(tmp_path):
    layers = nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])
    for number, state in enumerate((layers.state_dict(), prefixed("backbone.", layers.state_dict()))):
        torch.save(state, file := tmp_path / f"{number}.pt")
        with pytest.raises(
            ValueError, match=rf"{number}.pt numbers its layers, .* 0 is conv1, 1 is bn1, 4 is layer1, "
        ):
            build_encoder("resnet18", weights=file)


def test_what_is_no_file_of_weights_is_named(tmp_path):
    torch.save(torchvision.models.resnet18(), tmp_path / "whole.pth")
    torch.save(torchvision.models.resnet18(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"args": Namespace(lr=1), "model": resnet()}, tmp_path / "args.pth")
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("weights/best.pth", b"x" * 99)
    np.savez(tmp_path / "arrays.npz", a=np.zeros(2))
    whole = (tmp_path / "args.pth").read_bytes()
    contents = {
        "page.pth": b"<!DOCTYPE html><html><title>Quota exceeded</title></html>",
        "page.safetensors": b"\xef\xbb\xbf\n  <HTML>",
        "lfs.pt": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n",
        "error.bin": b'{"error": "Repository not found"}',
        "empty.pth": b"",
        "zeros.pth": b"\0" * 99,
        "keras.h5": b"\x89HDF\r\n\x1a\n" + b"\1" * 99,
        "short.pth": whole[: len(whole) // 2],
        "words.pt": b"not weights",
        "film.pth": b"\x89PNG\r\n\x1a\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    told = {
        "page.pth": "is a web page, not weights; download it again",
        "page.safetensors": "is a web page, not weights; download it again",
        "lfs.pt": "is a pointer of Git LFS, not the weights: fetch them with `git lfs pull`",
        "error.bin": "is JSON, not weights; download it again",
        "empty.pth": "is empty; download it again",
        "zeros.pth": "holds zeros alone; download it again",
        "keras.h5": "is an HDF5 file, of Keras or TensorFlow: convert it to a state dict of torch first",
        "short.pth": "is cut short; download it again",
        "words.pt": "is text, not weights; download it again",
        "film.pth": "is a picture, not weights",
        "arrays.npz": "holds arrays of NumPy: save a state dict of torch",
        "zip.pth": "is a zip archive (of weights/best.pth): unpack it, and name the file of weights in it",
        "whole.pth": "holds a whole model; save its state_dict(), where it was made, with",
        "old.pth": "holds a whole model; save its state_dict(), where it was made, with",
        "args.pth": "holds no plain weights but objects of argparse.Namespace, which nothing here unpickles;",
    }
    for name, what in told.items():
        with pytest.raises(OSError, match=re.escape(f"{name} {what}")) as error:
            build_encoder("resnet18", weights=tmp_path / name)
        assert "safe_globals" not in str(error.value)
        assert ("where you trust it, convert it: python -c" in str(error.value)) == (
            "objects" in what or "whole" in what
        )


def test_the_command_that_converts_a_whole_model_does(tmp_path):
    network = timm.create_model("resnet10t")
    torch.save(network, tmp_path / "whole.pt")
    torch.save({"model": network.state_dict(), "args": Namespace(lr=1)}, tmp_path / "run.pt")
    for name in ("whole.pt", "run.pt"):
        with pytest.raises(OSError, match="where you trust it") as error:
            build_encoder("timm:resnet10t", image_spec=SMALL, weights=tmp_path / name)
        command = str(error.value).partition("convert it: ")[2].replace("python", shlex.quote(sys.executable), 1)
        subprocess.run(command, shell=True, check=True, cwd=tmp_path)
        made = build_encoder("timm:resnet10t", image_spec=SMALL, weights=tmp_path / "plain.pth")
        assert torch.equal(made.backbone.conv1[3].weight, network.conv1[3].weight)


def test_the_content_decides_and_not_the_suffix(tmp_path):
    state = resnet()
    torch.save(state, tmp_path / "torch.safetensors")
    save_file(state, tmp_path / "safe.pth")
    save_file(state, tmp_path / "pytorch_model.bin")
    for name in ("torch.safetensors", "safe.pth", "pytorch_model.bin"):
        found = build_encoder("resnet18", image_spec=ImageSpec(size_px=64, n_channels=3), weights=tmp_path / name)
        assert torch.equal(found.backbone.state_dict()["conv1.weight"], state["conv1.weight"])


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>", b"", b"PK\x03\x04 cut"])
def test_a_checkpoint_of_another_kind_is_a_wrong_value(tmp_path, content):
    (tmp_path / "encoder.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"encoder.safetensors is .*Name a run folder of `fscxr train`"):
        load_encoder(tmp_path)

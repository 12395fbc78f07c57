import socket
from contextlib import suppress

import pytest
import torch

from fewshot_cxr.encoders import build_encoder, load_encoder, load_head, load_weights, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.storage import load_tensors, save_tensors

SPEC = ImageSpec(size_px=32)
CARD = {
    "distance": "cosine",
    "findings": ["a", "b"],
    "head": {"kind": "linear", "activation": "softmax", "bias": True, "findings": ["a", "b"]},
    "data_hash": {"train": "x", "val": "y"},
    "given_hash": ["x"],
    "training": {"lr": 0.1},
    "n_films": {"train": 4, "val": 2},
    "best_epoch": 3,
    "val_accuracy": 0.5,
}
WRONG = [None, [], {}, "x", "x" * 1_000_000, -1, -1e308, 10**12, 10**400, True, [None], {"a": {"b": [1]}}]
KEYS = [
    *(("recipe",), ("recipe", "encoder"), ("recipe", "options"), ("recipe", "options", "width")),
    *(("recipe", "options", "embedding_dim"), ("recipe", "options", "dropout"), ("recipe", "options", "output")),
    *(("image_spec",), *(("image_spec", name) for name in SPEC.to_json())),
    *(("card",), *(("card", name) for name in CARD), *(("card", "head", name) for name in CARD["head"])),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "encoder.safetensors"
    encoder = build_encoder("resnet9", image_spec=SPEC, width=1, embedding_dim=4)
    save_encoder(encoder, path, card=CARD, head={"weight": torch.ones(2, 4), "bias": torch.zeros(2)})
    return load_tensors(path, kind="encoder")


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


class Refused(Exception):
    pass


def refusing(load, path):
    """Load a file, which may do; where it does not, in one line that begins with the file's name."""
    try:
        load(path)
    except ValueError as error:
        text = str(error)
        if text.startswith(str(path)) and "\n" not in text and len(text) < 500 + len(str(path)):
            raise Refused from error
        raise


def changed(path, whole, keys, value):
    tensors, header = whole
    inner = header = json_copy(header)
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    save_tensors(path, tensors, kind="encoder", header=header)


def json_copy(value):
    return {key: json_copy(inner) if isinstance(inner, dict) else inner for key, inner in value.items()}


@pytest.mark.parametrize("keys", KEYS, ids=".".join)
def test_a_header_of_another_form_is_refused_in_one_line(tmp_path, whole, keys):
    path = tmp_path / "encoder.safetensors"
    for value in WRONG:
        changed(path, whole, keys, value)
        for load in (load_encoder, load_head):
            with suppress(Refused):
                refusing(load, path)


@pytest.mark.parametrize(
    "keys", [("card",), ("recipe",), ("image_spec",), ("recipe", "encoder"), ("recipe", "options")]
)
def test_a_header_that_lacks_a_key_names_it(tmp_path, whole, keys):
    tensors, header = whole
    inner = header = json_copy(header)
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    save_tensors(tmp_path / "e", tensors, kind="encoder", header=header)
    with pytest.raises(ValueError, match=rf"^\S*e: its header\S* lacks '{keys[-1]}'"):
        load_encoder(tmp_path / "e")


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        (
            "resnet9",
            {"width": 100_000},
            "rebuilt by this version: its recipe asks for more num",
        ),
        ("resnet9", {"width": 1, "embedding_dim": 10**12}, "more numbers than the file holds"),
        ("timm:vit_giant_patch14_dinov2", {}, "more numbers than the file holds"),
        ("timm:resnet1800", {}, "timm has no network 'resnet1800'"),
        (
            "timm:hf-hub:attacker/x",
            {"pretrained": True},
            "timm:hf-hub:attacker/x would be looked for elsew",
        ),
        ("timm:hf_hub:attacker/x", {}, "would be looked for elsewhere"),
        ("timm:local-dir:/etc", {}, "would be looked for elsewhere"),
        ("timm:https://attacker.example/x", {}, "would be looked for elsewhere"),
        ("timm:attacker/x", {}, "would be looked for elsewhere"),
        ("xrv:all", {"pretrained": True}, "unknown weights of xrv 'all'"),
        ("hf-hub:attacker/x", {}, "would be looked for elsewhere"),
    ],
)
def test_a_file_builds_nothing_large_and_nothing_from_elsewhere(tmp_path, whole, no_network, encoder, options, message):
    changed(tmp_path / "e", whole, ("recipe",), {"encoder": encoder, "options": options})
    with pytest.raises(ValueError, match=rf"^\S*e: its encoder .*{message}"):
        load_encoder(tmp_path / "e")


def test_a_file_is_loaded_without_the_network_whatever_its_recipe_says(tmp_path, no_network):
    path = tmp_path / "e"
    for name in ("resnet18", "xrv:densenet121-res224-all"):
        encoder = build_encoder(name, image_spec=SPEC, output="pooled")
        encoder.recipe["options"] |= {"pretrained": True, "weights": "https://attacker.example/x.pth"}
        save_encoder(encoder, path, card={})
        assert load_encoder(path).recipe["encoder"] == name


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ["backbone.0.0.weight", "backbone.0.1.running_var", "head.bias"])
def test_what_is_not_finite_is_neither_saved_nor_loaded(tmp_path, whole, name, value):
    path, encoder = tmp_path / "e", build_encoder("resnet9", image_spec=SPEC, width=1, embedding_dim=4)
    encoder.state_dict()[name].view(-1)[0] = value
    if name.endswith("var") and value == -torch.inf:
        return  # masks hold it; no variance does
    with pytest.raises(ValueError, match=rf"e is not written: the encoder holds NaN or infinity, first in {name}"):
        save_encoder(encoder, path, card={})
    assert not path.exists()
    save_tensors(path, whole[0] | {name: encoder.state_dict()[name]}, kind="encoder", header=whole[1])
    with pytest.raises(ValueError, match=rf"e is of no use: its encoder holds NaN or infinity, first in {name}"):
        load_encoder(path)
    with pytest.raises(ValueError, match=r"e is of no use: what it gives holds NaN or infinity"):
        load_weights(build_encoder("resnet9", image_spec=SPEC, width=1, embedding_dim=4), path)


def test_a_head_that_is_not_finite_is_not_saved(tmp_path):
    encoder = build_encoder("resnet9", image_spec=SPEC, width=1)
    with pytest.raises(ValueError, match="e is not written: its head holds NaN or infinity"):
        save_encoder(encoder, tmp_path / "e", card={}, head={"weight": torch.tensor([1.0, torch.nan])})


def test_a_mask_may_hold_minus_infinity(tmp_path):
    encoder = build_encoder("resnet9", image_spec=SPEC, width=1)
    encoder.backbone.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
    save_encoder(encoder, tmp_path / "e", card={})

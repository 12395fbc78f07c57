"""Networks in timm's format, from a folder and from the hub's cache: what is built, loaded, remembered, refused."""

import json
import logging
import re
import time

import huggingface_hub.constants
import pytest
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import save_file

from fewshot_cxr.encoders import build_encoder, load_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.torch_seeding import seeded_torch, torch_generator

SMALL = ImageSpec(size_px=64, n_channels=3)
STATISTICS = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Trap:
    def __reduce__(self):
        return (open, ("sprung", "w"))


def publish(folder, **changes):
    """A folder as `timm.models.push_to_hf_hub` uploads it; its network, for comparison."""
    folder.mkdir(parents=True, exist_ok=True)
    with seeded_torch(7, "hub"):
        network = timm.create_model("resnet10t", num_classes=5).eval()
    save_file(network.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "resnet10t",
        "num_classes": 5,
        "pretrained_cfg": STATISTICS | {"classifier": "fc", "license": "mit"},
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    return network


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub's cache, which holds owner/name and is all there is: the folder of its files."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository = tmp_path / "cache" / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    return repository / "snapshots" / COMMIT


def check_same(encoder, network):
    images = torch.rand(2, 3, 64, 64, generator=torch_generator(0))
    expected = network.forward_head(network.forward_features(images), pre_logits=True)
    torch.testing.assert_close(encoder.eval()(images), expected, rtol=1e-5, atol=1e-5)
    assert (list(encoder.image_spec.mean), list(encoder.image_spec.std)) == (STATISTICS["mean"], STATISTICS["std"])


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_folder_from_end_to_end(tmp_path, file):
    network = publish(tmp_path / "copy")
    if file == "pytorch_model.bin":
        (tmp_path / "copy" / "model.safetensors").unlink()
        torch.save(network.state_dict(), tmp_path / "copy" / file)
    name = f"timm:local-dir:{tmp_path / 'copy'}"
    check_same(build_encoder(name, image_spec=SMALL, output="pooled", pretrained=True), network)


def test_repository_of_the_hub_from_end_to_end(hub):
    network = publish(hub)
    encoder = build_encoder("timm:hf-hub:owner/name", image_spec=SMALL, output="pooled", pretrained=True)
    check_same(encoder, network)
    assert (encoder.origin["name"], encoder.origin["licence"]) == ("timm:hf-hub:owner/name", "mit")
    assert len(encoder.origin["sha256_of_tensors"]) == 64
    gray = build_encoder("timm:hf-hub:owner/name", image_spec=ImageSpec(size_px=64), pretrained=True)
    assert torch.equal(gray.backbone.conv1[0].weight, network.conv1[0].weight.sum(1, keepdim=True))
    assert gray.image_spec.mean == pytest.approx((0.5,))


def test_saved_encoder_needs_no_hub(hub, tmp_path, monkeypatch):
    publish(hub)
    encoder = build_encoder("timm:hf-hub:owner/name", image_spec=SMALL, pretrained=True).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={})
    assert encoder.recipe["encoder"] == "timm:resnet10t"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    loaded, images = load_encoder(tmp_path), torch.rand(2, 3, 64, 64)
    assert loaded.recipe == encoder.recipe
    assert torch.equal(loaded(images), encoder(images))


def test_offline_the_way_out_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = (
        r"^timm:hf-hub:owner/name cannot be downloaded or read \(\w+: .*\); .*: timm:<architecture> --weights FILE$"
    )
    with pytest.raises(OSError, match=message) as caught:
        build_encoder("timm:hf-hub:owner/name")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 350


def test_a_hub_out_of_reach_is_one_line_at_once(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    begun = time.monotonic()
    for name in ("timm:hf-hub:owner/name", "timm:resnet10t"):
        with pytest.raises(OSError, match=r"ConnectionError: nothing answers at http://127.0.0.1:9, nor was it "):
            build_encoder(name, image_spec=SMALL, pretrained=True)
    assert time.monotonic() - begun < 10
    assert not caplog.records
    assert not huggingface_hub.constants.HF_HUB_OFFLINE
    assert logging.getLogger("huggingface_hub").level != logging.ERROR


def test_pickles_of_the_hub_are_not_run(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    publish(hub)
    (hub / "model.safetensors").unlink()
    torch.save({"conv1.weight": Trap()}, hub / "pytorch_model.bin")
    download = timm.models._hub.hf_hub_download

    def find(*args, **options):
        # Offline the client cannot tell that a repository lacks safetensors; this is how it says so online.
        if "model.safetensors" in (*args, *options.values()):
            raise EntryNotFoundError("no such entry")
        return download(*args, **options)

    monkeypatch.setattr("timm.models._hub.hf_hub_download", find)
    with pytest.raises(OSError, match=r"timm:hf-hub:owner/name cannot be downloaded or read \(\w+Error: "):
        build_encoder("timm:hf-hub:owner/name", image_spec=SMALL, pretrained=True)
    assert not (tmp_path / "sprung").exists()


def test_folders_that_describe_nothing(tmp_path):
    name = f"timm:local-dir:{tmp_path}"
    with pytest.raises(FileNotFoundError, match=r"config.json: no such file; timm:local-dir:.* is a folder with"):
        build_encoder(name)
    for text in ("{", "[]", "{}"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=r"config.json does not describe a network of timm: "):
            build_encoder(name)
    publish(tmp_path, architecture="resnet10x")
    with pytest.raises(ValueError, match=r"timm has no network 'resnet10x' \(did you mean 'resnet10t'\?\)"):
        build_encoder(name)
    publish(tmp_path, model_args={"num_classes": 5, "stem_width": 64})
    with pytest.raises(ValueError, match=rf"{re.escape(name)} is built with {{'stem_width': 64}}, which an encoder"):
        build_encoder(name)
    publish(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model.safetensors: no such file of weights"):
        build_encoder(name, pretrained=True)
    build_encoder(name, image_spec=SMALL)

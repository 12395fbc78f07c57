"""`fscxr encoder make`: encoders without training, what their images are, and every command that takes them."""

import json

import pytest
import timm
import torch
from command_line import run
from made_splits import lay_split

from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import build_encoder, load_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec

pytestmark = pytest.mark.usefixtures("unpainted")
ON_TEST = ("--split", "test", "--threads", "1", "--device", "cpu")
FEW = ("--n-way", 2, "--n-shot", 1, "--n-query", 1, "--n-episodes", 4)
COMMANDS = {
    "embed": ("--out", "e.safetensors"),
    "episode-eval": (*FEW, "--json", "r.json"),
    "evaluate": ("--json", "closed.json"),
    "explain": ("--deletion", 0, "--overlays", 1, "--out", "heat"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    lay_split(folder, ("normal", "effusion"), 12)
    made = ("efficientnet_lite0", "--pretrained", "--image-size", 64, "--out", folder / "lite0")
    assert run("encoder", "make", *made) == 0
    return folder


def test_its_pooled_features_are_the_embeddings(place):
    made, built = (load_encoder(place / "lite0"), build_encoder("efficientnet_lite0", pretrained=True, output="pooled"))
    assert made.image_spec == ImageSpec(64, 3, mean=(0.5,), std=(0.5,), resize="bicubic")
    assert made.card["findings"] == []
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(made(images), built.eval()(images))
    assert json.loads((place / "lite0" / "card.json").read_text()) == made.card


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_take_it(place, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ("--checkpoint", place / "lite0", "--data", place / "split.csv", *ON_TEST)
    assert run(command, *given, *COMMANDS[command]) == 0


def test_predict_and_report_take_it(place, tmp_path):
    make_synthetic(tmp_path / "others", n_patients=2, findings=("normal",), size_px=48, seed=7)
    labelled = ("--checkpoint", place / "lite0", "--support", place / "split.csv", "--n-exemplars", 2)
    assert run("predict", tmp_path / "others", *labelled, "--json", tmp_path / "p.json") == 0
    card = json.loads((place / "lite0" / "card.json").read_text())
    told = json.loads((tmp_path / "p.json").read_text())
    assert {one["weights"]["sha256"] for one in told} == {card["weights"]["sha256"]}
    assert run("report", place / "lite0", "--out", tmp_path / "page.html") == 0


def test_where_it_starts_is_said_once(tmp_path, capsys):
    for flags in ((), ("--random", "--pretrained")):
        assert run("encoder", "make", "resnet18", *flags, "--out", tmp_path / "none") == 2
        assert "say what the encoder starts from" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    assert run("encoder", "make", "resnet9", "--random", "--image-size", 32, "--out", tmp_path / "random") == 0
    assert load_encoder(tmp_path / "random").image_spec == ImageSpec(32)
    assert run("encoder", "make", "resnet9", "--random", "--out", tmp_path / "random") == 2


def test_flags_that_are_not_given_are_the_weights_own(tmp_path):
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "resnet10t.pth")
    made = ("timm:resnet10t", "--weights", tmp_path / "resnet10t.pth")
    assert run("encoder", "make", *made, "--out", tmp_path / "own") == 0
    own = load_encoder(tmp_path / "own").image_spec
    assert (own.size_px, own.n_channels, own.resize) == (176, 3, "bicubic")
    assert own.mean == (0.485, 0.456, 0.406)
    assert run("encoder", "make", *made, "--channels", 1, "--crop", "pad", "--out", tmp_path / "gray") == 0
    gray = load_encoder(tmp_path / "gray").image_spec
    assert (gray.size_px, gray.n_channels, gray.crop) == (176, 1, "pad")
    assert gray.mean == pytest.approx((0.449,))


def test_a_file_of_ours_brings_its_spec(tmp_path):
    spec = ImageSpec(40, crop="none", mean=(0.3,), std=(0.2,), resize="bicubic")
    save_encoder(build_encoder("resnet9", image_spec=spec, width=4), tmp_path / "run.safetensors", card={})
    given = ("--weights", tmp_path / "run.safetensors", "--encoder-option", "width=4")
    assert run("encoder", "make", "resnet9", *given, "--out", tmp_path / "made") == 0
    assert load_encoder(tmp_path / "made").image_spec == spec

"""A loss, a rule, an encoder and a reader from outside the package: a function or a class, and a line in a table.

Each is then a name like those that came with it, and is seen in what the command line prints and writes.
"""

import json

import pytest
import torch
from command_line import run
from made_films import make_image_folder
from torch import nn

from fewshot_cxr.data import READERS
from fewshot_cxr.encoders import ENCODERS, Encoder
from fewshot_cxr.inference import RULES
from fewshot_cxr.objectives import LOSSES
from fewshot_cxr.records import Record, Records


def read_by_name(root, *, suffix=".png"):
    paths = sorted(path.relative_to(root) for path in root.rglob(f"*{suffix}"))
    films = (Record(path.as_posix(), (path.parent.name,), patient_id=path.stem + path.parent.name) for path in paths)
    return Records(tuple(films), root)


class Tiny(Encoder):
    """The smallest encoder."""

    def __init__(self, image_spec=None, *, width=8, **options):
        super().__init__(image_spec, n_features=width, **options)
        self.backbone = nn.Conv2d(self.image_spec.n_channels, width, 5, stride=4)

    def _feature_map(self, images):
        return self.backbone(images)


def spread(*, distance, weight=1.0):
    def loss(embeddings, class_ids):
        is_same = class_ids[:, None] == class_ids[None, :]
        distances = torch.cdist(embeddings, embeddings, p=1 if distance == "l1" else 2)
        return distances[is_same].mean() - weight * distances[~is_same].mean().clamp(max=1)

    return loss


def farthest(support, labels, queries, *, distance="euclidean"):
    distances = torch.cdist(queries, support)
    return torch.stack([distances[..., labels == label].amax(-1) for label in range(int(labels.max()) + 1)], -1)


@pytest.fixture
def extended(monkeypatch):
    for table, name, line in (
        (READERS, "by_name", read_by_name),
        (ENCODERS, "tiny", Tiny),
        (LOSSES, "spread", spread),
        (RULES, "farthest", farthest),
    ):
        monkeypatch.setitem(table, name, line)


@pytest.mark.usefixtures("extended")
def test_a_reader_an_encoder_a_loss_and_a_rule_of_ones_own_are_seen_on_the_command_line(tmp_path, capsys):
    data, out, result = f"by_name:{make_image_folder(tmp_path / 'films')}", tmp_path / "run", tmp_path / "result.json"
    assert run("data", "read", data) == 0
    assert "42" in capsys.readouterr().out
    train = ["--encoder", "tiny", "--encoder-option", "width=4", "--loss", "spread", "--distance", "l1"]
    train += ["--image-size", 32, "--epochs", 1, "--embedding-dim", 6]
    assert run("train", "siamese", "--data", data, *train, "--out", out) == 0
    card = json.loads((out / "card.json").read_text())
    assert card["encoder"]["encoder"] == card["training"]["encoder"] == "tiny"
    assert card["encoder"]["options"] == {"width": 4, "embedding_dim": 6, "weights": None}
    assert (card["training"]["loss"], card["distance"]) == ("spread", "l1")
    asked = ["--n-shot", 2, "--n-query", 3, "--n-episodes", 50, "--rule", "farthest", "--json", result]
    assert run("episode-eval", "--checkpoint", out, "--data", data, "--allow-training-films", *asked) == 0
    assert json.loads(result.read_text())["rule"] == "farthest"
    assert "farthest" in capsys.readouterr().out


@pytest.mark.usefixtures("extended")
def test_a_slip_of_the_hand_is_answered_with_the_name_of_ones_own(tmp_path, capsys):
    data = make_image_folder(tmp_path / "films")
    for option, name in (("--encoder", "tyny"), ("--loss", "sprad")):
        assert run("train", "siamese", "--data", data, option, name, "--image-size", 32, "--out", tmp_path / "run") != 0
    told = capsys.readouterr().err
    assert "'tiny'" in told
    assert "'spread'" in told

import json

import numpy as np
import pytest
import torch
from made_runs import make_films

from fewshot_cxr.encoders import JoinedHead, build_encoder, load_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import embed
from fewshot_cxr.training import SiameseTrainer

SETTINGS = {
    "encoder": "resnet9",
    "encoder_options": {"width": 4},
    "image_spec": ImageSpec(size_px=32),
    "val_n_shot": 2,
    "val_n_query": 2,
    "val_n_episodes": 20,
    "val_fraction": 0.4,
}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return make_films(tmp_path_factory.mktemp("films"), n_patients=8)


def test_a_joined_encoder_keeps_the_features_of_the_network(films, tmp_path):
    trained = SiameseTrainer(**SETTINGS, keep=1.5).fit(films, out=tmp_path / "run", progress=None)
    encoder, card = trained.encoder, trained.card
    assert isinstance(encoder.head, JoinedHead)
    assert not encoder.training
    assert all(weight.requires_grad for weight in encoder.parameters())
    assert card["keep"] == {"weight": 1.5, "how": "as asked"}
    assert card["distance"] == "euclidean"
    assert 0 <= card["val_accuracy"] <= 1
    assert any("without a step of training: the head's weight is 1.5 (as asked)" in note for note in trained.notes)
    assert trained.history == ()
    untouched = build_encoder("resnet9", width=4, output="pooled", image_spec=SETTINGS["image_spec"])
    for name, weight in untouched.backbone.state_dict().items():
        assert torch.equal(weight, encoder.backbone.state_dict()[name]), name
    loaded = load_encoder(tmp_path / "run")
    assert loaded.card == json.loads((tmp_path / "run" / "card.json").read_text())
    vectors = embed(loaded, films, progress=None).vectors
    np.testing.assert_allclose(vectors, embed(encoder, films, progress=None).vectors, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors[:, : encoder.n_features], axis=1), 1, atol=1e-5)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "card.json",
        "encoder.safetensors",
        "training_films.json",
    }


def test_the_weight_stretches_the_taught_part_alone(films):
    heavy, light = (SiameseTrainer(**SETTINGS, keep=weight).fit(films, progress=None).encoder for weight in (2, 0.5))
    images = torch.rand(3, 1, 32, 32)
    some, other = heavy(images).detach(), light(images).detach()
    torch.testing.assert_close(some[:, : heavy.n_features], other[:, : heavy.n_features])
    torch.testing.assert_close(some[:, heavy.n_features :], 4 * other[:, heavy.n_features :])


def test_the_same_films_give_the_same_encoder_and_resuming_fits_anew(films, tmp_path):
    trainer = SiameseTrainer(**SETTINGS, keep="auto")
    first = trainer.fit(films, out=tmp_path, progress=None).encoder
    again = trainer.fit(films, out=tmp_path, resume=True, progress=None).encoder
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name


@pytest.mark.parametrize("keep", ["often", -1, float("nan"), True, [1]])
def test_what_is_no_weight_is_refused(keep):
    with pytest.raises(ValueError, match="keep must be 'auto' or a weight, 0 or more"):
        SiameseTrainer(keep=keep)


@pytest.mark.parametrize("setting", [{"loss": "triplet"}, {"n_epochs": 3}, {"aux": "simclr"}, {"layer_decay": 0.5}])
def test_settings_of_steps_are_refused_beside_it(setting):
    with pytest.raises(ValueError, match=f"without a step of training: leave {next(iter(setting))} out"):
        SiameseTrainer(keep=1, **setting)


def test_a_head_of_the_encoder_is_refused(films):
    with pytest.raises(ValueError, match="the encoder has a head"):
        SiameseTrainer(**SETTINGS | {"encoder_options": {"width": 4, "output": "head"}}, keep=1).fit(
            films, progress=None
        )

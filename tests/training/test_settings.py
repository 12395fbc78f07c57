import math
from dataclasses import fields

import pytest
import torch

from fewshot_cxr.encoders import build_encoder
from fewshot_cxr.encoders.published import LITE0_SPEC
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.training import ClassifierTrainer, SiameseTrainer, TrainingSettings
from fewshot_cxr.training.callbacks import RunKeeper
from fewshot_cxr.training.fitting import prepare_encoder
from fewshot_cxr.training.objective import clip_gradient, make_optimizer

TRAINERS = (SiameseTrainer, ClassifierTrainer)
NUMBERS = (int, float, int | None, float | None)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_what_is_shared_is_one_value_and_few_settings_are_a_trainers_own(trainer):
    shared = {item.name for item in fields(TrainingSettings)}
    assert isinstance(trainer(), TrainingSettings)
    assert len(set(trainer.__annotations__) - shared) <= 15
    assert len(trainer.__annotations__) <= 20
    given = TrainingSettings(n_epochs=7, lr=0.5, device="cpu", image_spec=ImageSpec(size_px=32))
    made = trainer(**vars(given))
    assert all(getattr(made, name) == getattr(given, name) for name in shared)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_misspelt_keyword_is_pythons_own_error(trainer):
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_epoch'"):
        trainer(n_epoch=3)


def test_a_folder_of_this_machine_is_told_by_its_name():
    trainer = SiameseTrainer(encoder="timm:local-dir:/home/anna/net", encoder_options={"pretrained": True})
    assert trainer.settings()["encoder"] == "timm:local-dir:net"


@pytest.mark.parametrize("name", ["resnet9", "resnet18", "covidnet"])
def test_layer_decay_gives_every_layer_its_rate_and_the_rest_the_whole(name):
    encoder = build_encoder(name, image_spec=ImageSpec(size_px=64))
    beside = torch.nn.Linear(3, 3)
    optimizer = make_optimizer(TrainingSettings(lr=0.1, layer_decay=0.5), encoder, beside.parameters())
    layers = encoder.layer_groups()
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.1 * 0.5 ** (len(layers) - 1 - depth) for depth in range(len(layers))] + [0.1])
    held = [id(weight) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(held) == sorted(id(w) for w in [*encoder.parameters(), *beside.parameters()])


def test_what_is_frozen_is_not_in_the_optimiser_and_freezing_all_is_refused():
    small = {"image_spec": ImageSpec(size_px=32), "freeze": "backbone"}
    frozen = TrainingSettings(**small, encoder_options={"width": 4})
    encoder = prepare_encoder(frozen, None)
    optimizer = make_optimizer(frozen, encoder, [])
    held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    assert held == {id(weight) for weight in encoder.head.parameters()}
    pooled = prepare_encoder(TrainingSettings(**small, encoder_options={"width": 4, "output": "pooled"}), None)
    with pytest.raises(ValueError, match=r"freeze leaves nothing to train"):
        make_optimizer(frozen, pooled, [])


def test_clipping_by_value_comes_before_clipping_by_norm():
    weight = torch.nn.Parameter(torch.zeros(3))
    weight.grad = torch.tensor([3.0, -4.0, 0.1])
    clip_gradient(TrainingSettings(clip_value=1.0, clip_norm=None), [weight])
    assert weight.grad.tolist() == pytest.approx([1.0, -1.0, 0.1])
    clip_gradient(TrainingSettings(clip_value=None, clip_norm=0.5), [weight])
    assert weight.grad.norm().item() == pytest.approx(0.5, rel=1e-4)
    clip_gradient(TrainingSettings(clip_value=None, clip_norm=None), [weight])
    assert weight.grad.norm().item() == pytest.approx(0.5, rel=1e-4)


def test_the_optimiser_restarts_after_every_so_many_epochs():
    def restarts(settings):
        keeper = RunKeeper(None, settings, validate=None, monitor="val_loss", save=None, progress=None)
        return [epoch for epoch in range(8) if keeper.is_restart(epoch)]

    assert restarts(TrainingSettings(restart_every=3)) == [3, 6]
    assert not restarts(TrainingSettings())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, 1e308])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_number_that_cannot_be_is_refused_by_its_name(trainer, value):
    numbers = [item.name for item in fields(trainer) if item.type in NUMBERS]
    assert len(numbers) >= 15
    for name in numbers:
        if (name, value) != ("seed", -1):
            with pytest.raises((TypeError, ValueError), match=rf"^{name} must be .*got "):
                trainer(**{name: value})


def test_published_weights_bring_the_images_they_were_made_for_unless_others_are_asked_for():
    lite0 = {"encoder": "efficientnet_lite0", "encoder_options": {"pretrained": True}}
    assert SiameseTrainer(**lite0).image_spec == LITE0_SPEC
    assert SiameseTrainer(**lite0, image_spec=ImageSpec(size_px=64)).image_spec == ImageSpec(size_px=64)
    assert SiameseTrainer(encoder="efficientnet_lite0").image_spec == SiameseTrainer().image_spec

from dataclasses import fields

import pytest
import torch

from fewshot_cxr.encoders import build_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.training import ClassifierTrainer, SiameseTrainer
from fewshot_cxr.training.course import Course


def course(**changes):
    return Course.of(ClassifierTrainer(**changes))


@pytest.mark.parametrize("trainer", [SiameseTrainer(), ClassifierTrainer()])
def test_both_trainers_have_every_setting_of_the_course(trainer):
    made = Course.of(trainer)
    assert all(getattr(made, item.name) == getattr(trainer, item.name) for item in fields(Course))


@pytest.mark.parametrize("name", ["resnet9", "resnet18", "covidnet"])
def test_layer_decay_gives_every_layer_its_rate_and_the_rest_the_whole(name):
    encoder = build_encoder(name, image_spec=ImageSpec(size_px=64))
    beside = torch.nn.Linear(3, 3)
    optimizer = course(lr=0.1, layer_decay=0.5).make_optimizer(encoder, beside.parameters())
    layers = encoder.layer_groups()
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.1 * 0.5 ** (len(layers) - 1 - depth) for depth in range(len(layers))] + [0.1])
    held = [id(weight) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(held) == sorted(id(w) for w in [*encoder.parameters(), *beside.parameters()])


def test_what_is_frozen_is_not_in_the_optimiser_and_freezing_all_is_refused():
    encoder = build_encoder("resnet9", image_spec=ImageSpec(size_px=32), width=4)
    frozen = course(freeze="backbone")
    frozen.freeze_parts(encoder)
    optimizer = frozen.make_optimizer(encoder, [])
    held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    assert held == {id(weight) for weight in encoder.head.parameters()}
    pooled = build_encoder("resnet9", image_spec=ImageSpec(size_px=32), width=4, output="pooled")
    frozen.freeze_parts(pooled)
    with pytest.raises(ValueError, match=r"freeze leaves nothing to train"):
        frozen.make_optimizer(pooled, [])


def test_clipping_by_value_comes_before_clipping_by_norm():
    weight = torch.nn.Parameter(torch.zeros(3))
    weight.grad = torch.tensor([3.0, -4.0, 0.1])
    course(clip_value=1.0, clip_norm=None).clip([weight])
    assert weight.grad.tolist() == pytest.approx([1.0, -1.0, 0.1])
    course(clip_value=None, clip_norm=0.5).clip([weight])
    assert weight.grad.norm().item() == pytest.approx(0.5, rel=1e-4)
    course(clip_value=None, clip_norm=None).clip([weight])
    assert weight.grad.norm().item() == pytest.approx(0.5, rel=1e-4)


def test_the_optimiser_restarts_after_every_so_many_epochs():
    assert [epoch for epoch in range(8) if course(restart_every=3).is_restart(epoch)] == [3, 6]
    assert not any(course().is_restart(epoch) for epoch in range(8))

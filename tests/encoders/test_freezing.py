"""Groups of layers hold every weight once; frozen ones stay as they are through a step of training."""

import copy

import pytest
import torch
from made_encoders import TINY, slow_if_deep
from torch import nn

from fewshot_cxr.encoders import ENCODERS, build_encoder, load_encoder, save_encoder
from fewshot_cxr.encoders.base import group_by_layer
from fewshot_cxr.image_spec import ImageSpec

TIMM = [
    "timm:test_vit",
    "timm:convnext_atto",
    "timm:test_efficientnet",
    "timm:test_mambaout",
    "timm:mobilenetv3_small_050",
]
# Stem and stages, then what follows them, the gates among it.
N_BACKBONE_GROUPS = {
    "covidnet": 5,
    "densenet121": 6,
    "efficientnet_attention": 8,
    "resnet18": 5,
    "resnet50": 5,
    "resnet9": 6,
    "timm:convnext_atto": 6,
    "timm:test_vit": 7,
    "vgg16": 14,
}


def build(name, **options):
    return build_encoder(name, image_spec=ImageSpec(size_px=64), **TINY.get(name, {}), **options)


def train_a_step(encoder):
    images = torch.rand(4, 1, 64, 64)
    free = [weight for weight in encoder.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(free, lr=0.1)
    encoder.train()(images).square().sum().backward()
    optimizer.step()


def batch_norms(encoder):
    return [layer for layer in encoder.modules() if isinstance(layer, nn.BatchNorm2d)]


@pytest.mark.parametrize("output", ["head", "pooled"])
@pytest.mark.parametrize("name", slow_if_deep([*sorted(ENCODERS), *TIMM]))
def test_groups_hold_every_parameter_once(name, output):
    encoder = build(name, output=output)
    groups = encoder.layer_groups()
    grouped = [id(weight) for group in groups for weight in group]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(weight) for weight in encoder.parameters()}
    assert all(groups)
    if output == "head":
        assert [id(weight) for weight in groups[-1]] == [id(weight) for weight in encoder.head.parameters()]
    n_backbone = len(group_by_layer(encoder.backbone))
    n_between = name == "efficientnet_attention"
    assert len(groups) == n_backbone + n_between + (output == "head")
    assert n_backbone == N_BACKBONE_GROUPS.get(name, n_backbone)


@pytest.mark.parametrize("name", slow_if_deep([*sorted(ENCODERS), *TIMM]))
def test_groups_run_from_the_stem_on(name):
    encoder = build(name)
    groups = encoder.layer_groups()
    first_conv = next(layer for layer in encoder.backbone.modules() if isinstance(layer, nn.Conv2d))
    assert id(first_conv.weight) in {id(weight) for weight in groups[0]}
    order = {id(weight): number for number, group in enumerate(groups) for weight in group}
    called = []
    for layer in encoder.backbone.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda layer, *_: called.append(order[id(layer.weight)]))
    encoder.eval()(torch.rand(1, 1, 64, 64))
    assert called == sorted(called)


def test_gates_stand_between_backbone_and_head():
    encoder = build("efficientnet_attention")
    assert {id(weight) for weight in encoder.layer_groups()[-2]} == {
        id(weight) for weight in encoder.gates.parameters()
    }
    encoder.freeze(None)
    assert all(weight.requires_grad for weight in encoder.gates.parameters())
    assert not any(weight.requires_grad for weight in encoder.backbone.parameters())


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_frozen_backbone_stays_as_it_is(name):
    encoder = build(name)
    encoder.freeze(None)
    before = copy.deepcopy(encoder.state_dict())
    train_a_step(encoder)
    after = encoder.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before if key.startswith("backbone."))
    assert not torch.equal(after["head.bias"], before["head.bias"])


@pytest.mark.parametrize("name", ["resnet18", "resnet9", "densenet121"])
def test_first_groups_are_frozen_and_the_others_learn(name):
    encoder = build(name)
    encoder.freeze(2)
    assert encoder.n_frozen == 2
    groups = encoder.layer_groups()
    before = [[weight.detach().clone() for weight in group] for group in groups]
    train_a_step(encoder)
    for number, (group, old) in enumerate(zip(groups, before, strict=True)):
        is_same = all(torch.equal(weight, was) for weight, was in zip(group, old, strict=True))
        assert is_same == (number < 2)


def test_batch_norms_of_frozen_layers_stay_in_eval_mode():
    encoder = build("resnet18")
    assert all(layer.training for layer in batch_norms(encoder))
    encoder.freeze(2)
    frozen = {id(weight) for group in encoder.layer_groups()[:2] for weight in group}

    def modes(network, held):
        return [layer.training == (id(layer.weight) not in held) for layer in batch_norms(network)]

    assert all(modes(encoder, frozen))
    assert all(modes(encoder.eval().train(), frozen))
    assert not any(layer.training for layer in batch_norms(encoder.eval()))
    parent = nn.Sequential(encoder).train()  # as a training module holds it
    assert all(modes(parent, frozen))
    twin = copy.deepcopy(encoder).train()
    assert twin.n_frozen == 2
    assert all(modes(twin, {id(weight) for group in twin.layer_groups()[:2] for weight in group}))
    encoder.load_state_dict(twin.state_dict())
    assert all(modes(encoder.train(), frozen))
    assert sum(not layer.training for layer in batch_norms(encoder)) == 5  # of the stem and of the first stage


def test_freezing_less_sets_free():
    encoder = build("resnet9")
    encoder.freeze(4)
    encoder.freeze(1)
    assert [group[0].requires_grad for group in encoder.layer_groups()] == [False] + [True] * 6
    encoder.freeze(0)
    assert all(weight.requires_grad for weight in encoder.parameters())
    assert all(layer.training for layer in batch_norms(encoder))


def test_loaded_encoder_is_free_and_can_be_frozen(tmp_path):
    encoder = build("resnet9")
    encoder.freeze(None)
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={})
    loaded = load_encoder(tmp_path)
    assert loaded.n_frozen == 0
    assert all(weight.requires_grad for weight in loaded.parameters())
    loaded.freeze(None)
    assert not any(layer.training for layer in batch_norms(loaded.train()))


def test_impossible_numbers_are_refused():
    encoder = build("resnet9")
    with pytest.raises(ValueError, match="this encoder has 7 groups of layers to freeze, got 8"):
        encoder.freeze(8)
    with pytest.raises(ValueError, match="n_groups must be at least 0, got -1"):
        encoder.freeze(-1)
    with pytest.raises(TypeError, match=r"n_groups must be a whole number, got 1\.5"):
        encoder.freeze(1.5)
    assert encoder.n_frozen == 0

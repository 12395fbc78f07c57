"""Batch norms folded into convolutions: the same embeddings, for every encoder, and none where it would change them."""

import threading
from copy import deepcopy

import numpy as np
import pytest
import timm
import torch
from made_encoders import make_images, settled_encoder, slow_if_deep
from torch import nn
from torch.nn.utils import parametrizations

from fewshot_cxr import ImageSpec
from fewshot_cxr.encoders import ENCODERS, as_encoder
from fewshot_cxr.encoders.folding import folded
from fewshot_cxr.inference.batches import for_many

IMAGES = make_images(3)
TIMM = ["timm:resnet10t", "timm:test_efficientnet", "timm:test_vit"]
NAMES = sorted(ENCODERS) + [name for name in TIMM if timm.is_model(name.removeprefix("timm:"))]
WITHOUT = ("vgg16", "timm:test_vit")  # batch norms


class Block(nn.Module):
    """Two layers that stand beside each other; `is_odd`: they are used the other way round."""

    def __init__(self, *, is_odd=False):
        super().__init__()
        self.convolution, self.norm, self.is_odd = nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1), is_odd
        self.norm.running_mean += 0.3
        self.norm.running_var *= 2

    def forward(self, images):
        return self.convolution(self.norm(images)) if self.is_odd else self.norm(self.convolution(images))


def one_block(**options):
    torch.manual_seed(0)
    return as_encoder(nn.Sequential(Block(**options), nn.Flatten()), ImageSpec(size_px=64)).eval()


def n_norms(network):
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


@pytest.mark.parametrize("name", slow_if_deep(NAMES))
def test_every_encoder_embeds_the_same_and_stays_as_it_is(name):
    encoder = settled_encoder(name)
    before = deepcopy(encoder.state_dict())
    quick = folded(encoder, IMAGES[:1])
    assert (quick is encoder) == (name in WITHOUT)
    with torch.no_grad():
        plain, found = encoder(IMAGES), quick(IMAGES)
        exact = deepcopy(encoder).double()(IMAGES.double())
    assert (found - exact).abs().max() <= 4 * (plain - exact).abs().max() + 1e-7
    assert n_norms(quick) <= n_norms(encoder) / 2 + 4  # of a densenet those before a convolution stay, too
    after = encoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_what_is_not_folded_is_shared():
    encoder = settled_encoder("resnet18")
    quick = folded(encoder, IMAGES[:1])
    assert quick.head.weight is encoder.head.weight
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in quick.modules())


@pytest.mark.parametrize("change", [parametrizations.spectral_norm, parametrizations.weight_norm])
def test_a_weight_that_is_made_anew_each_time_is_left(change):
    torch.manual_seed(0)
    layers = (change(nn.Conv2d(1, 4, 3)), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    encoder = as_encoder(nn.Sequential(*layers), ImageSpec(size_px=64)).eval()
    quick = folded(encoder, IMAGES)
    assert n_norms(quick) == 1
    with torch.no_grad():
        torch.testing.assert_close(quick(IMAGES), encoder(IMAGES), atol=1e-4, rtol=1e-4)


class Uncopied(Block):
    """A block that cannot be copied."""

    def __deepcopy__(self, memo):
        raise AttributeError("no copies")


def test_what_refuses_to_be_copied_is_left():
    encoder = as_encoder(nn.Sequential(Uncopied(), nn.Flatten()), ImageSpec(size_px=64)).eval()
    assert folded(encoder, IMAGES) is encoder


class Faint(Block):
    """A block that a black film does not tell from one whose layers are used the other way round."""

    def forward(self, images):
        return super().forward(images) if images.std() > 0 else self.norm(self.convolution(images))


def test_a_black_film_alone_does_not_settle_it():
    encoder = as_encoder(nn.Sequential(Faint(is_odd=True), nn.Flatten()), ImageSpec(size_px=64)).eval()
    films = np.zeros((3, 64, 64), dtype=np.uint8)
    assert for_many(encoder, films, torch.device("cpu")) is not encoder
    films[2] = np.arange(64)
    assert for_many(encoder, films, torch.device("cpu")) is encoder


def test_layers_that_follow_in_another_order_than_they_stand_are_left():
    straight, odd = one_block(), one_block(is_odd=True)
    assert n_norms(folded(straight, IMAGES)) == 0
    assert folded(odd, IMAGES) is odd


def test_a_hook_sees_what_it_was_hung_on_for():
    encoder, seen = one_block(), []
    encoder.get_submodule("backbone").register_forward_hook(lambda *told: seen.append(told))
    assert folded(encoder, IMAGES) is encoder
    assert seen == []


def test_what_cannot_be_copied_is_left():
    encoder = one_block()
    encoder.lock = threading.Lock()
    assert folded(encoder, IMAGES) is encoder

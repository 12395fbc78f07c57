"""Grad-CAM on every encoder: it explains the class, comes from the weights, finds what decides, leaves no trace."""

import re
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from made_encoders import made_head, make_images, settle, settled_encoder, slow_if_deep
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional

from fewshot_cxr.encoders import ENCODERS, build_encoder
from fewshot_cxr.explain import ClassScore, Difference, ExemplarSimilarity, Similarity, grad_cam, map_layers, pair_maps
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.torch_seeding import torch_generator

NAMES = slow_if_deep([*sorted(ENCODERS), "timm:test_vit", "timm:test_mambaout"])
# Layers before which, or behind which, timm works in place, and one in the midst of each of the others.
INNER = {
    "densenet121": [
        "backbone.features.norm5",
        "backbone.features.denseblock4",
        "backbone.features.denseblock4.denselayer16.conv2",
    ],
    "resnet18": ["backbone.layer4", "backbone.layer4.0.downsample.1", "backbone.layer4.1.act2"],
    "vgg16": ["backbone.features.28", "backbone.features.29"],
    "resnet9": ["backbone.7", "backbone.9.units.1.0"],
    "covidnet": ["backbone.4.upper"],
    "efficientnet_attention": ["backbone.bn2"],
}


def double_score(class_id):
    head = nn.Linear(8, 3, dtype=torch.float64)
    head.load_state_dict(made_head().state_dict())
    return ClassScore(head, class_id)


@cache
def shared_encoder(name, seed=0):
    return settled_encoder(name, seed=seed)


def traces(encoder):
    hooks = [
        (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
        for module in encoder.modules()
    ]
    weights = [(weight.requires_grad, weight.grad is None, weight._version) for weight in encoder.parameters()]
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    return hooks, weights, [module.training for module in encoder.modules()], state


def assert_untouched(encoder, before):
    after = traces(encoder)
    assert after[:3] == before[:3]
    assert all(torch.equal(after[3][name], value) for name, value in before[3].items())


def slow_grad_cam(encoder, images, target, layer):
    """Measure, instead of deriving, by how much the score rises when a little more of each place is added everywhere.

    With A the map and w_k the mean gradient of channel k, adding t A_k(p) to all of channel k, for all k, raises the
    score by t n_places sum_k w_k A_k(p). Signed, at the places of the map.
    """
    kept, added = {}, {}

    def hook(module, inputs, output):
        kept["map"] = output.clone()
        return output + added["amount"]

    def score(amount):
        added["amount"] = amount
        with torch.no_grad():
            if layer == "features":
                kept["map"] = encoder.features(images)
                return target(encoder.head(encoder.pool(kept["map"] + amount)))
            handle = encoder.get_submodule(layer).register_forward_hook(hook)
            try:
                return target(encoder(images))
            finally:
                handle.remove()

    score(0)
    layer_map, step = kept["map"], 1e-6
    heat = torch.zeros(len(images), *layer_map.shape[2:], dtype=torch.float64)
    for row in range(heat.shape[1]):
        for column in range(heat.shape[2]):
            amount = step * layer_map[:, :, row, column, None, None]
            heat[:, row, column] = (score(amount) - score(-amount)) / (2 * step) / heat[0].numel()
    return heat


@pytest.mark.parametrize("name", NAMES)
def test_heat_is_finite_nonnegative_and_leaves_the_encoder_untouched(name):
    encoder, images = shared_encoder(name), make_images(3)
    before, random_state = traces(encoder), torch.get_rng_state()
    heat = grad_cam(encoder, images, ClassScore(made_head(), torch.tensor([0, 1, 2])))
    assert heat.shape == (3, 64, 64)
    assert heat.dtype == np.float32
    assert np.isfinite(heat).all()
    assert heat.min() >= 0
    assert heat.max() > 0
    assert_untouched(encoder, before)
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("name", NAMES)
def test_maps_of_two_classes_differ(name):
    encoder, images, head = shared_encoder(name), make_images(3), made_head()
    one, other = (grad_cam(encoder, images, ClassScore(head, class_id)) for class_id in (0, 1))
    assert np.abs(one - other).max() > 0.05 * max(one.max(), other.max())


@pytest.mark.parametrize("pool", ["cls", "mean", "cls+mean"])
def test_heat_of_a_class_token_lies_among_the_patches(pool):
    encoder = settled_encoder("timm:test_vit", pool=pool)
    heat = grad_cam(encoder, make_images(2), ClassScore(made_head(), 0))
    assert encoder.heat_layer == ("features" if pool == "mean" else "last_patches")
    assert heat.shape == (2, 64, 64)
    assert (heat.std(axis=(1, 2)) > 0.1 * heat.mean(axis=(1, 2))).all()
    assert heat.max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_other_weights_give_another_map(name):
    """Source: Adebayo et al., "Sanity Checks for Saliency Maps", 2018, arXiv:1810.03292."""
    images = make_images(6)
    maps = [grad_cam(shared_encoder(name, seed), images, ClassScore(made_head(), 0)).ravel() for seed in (0, 1, 2)]
    # Of three pairs, since one may agree by chance: a transformer that never trained follows the clouds' brightness.
    alike = spearmanr(np.stack(maps, axis=1)).statistic[np.triu_indices(3, 1)]
    assert alike.mean() < 0.6


def assert_heat_is_the_rise(encoder, images, target, layer):
    slow = slow_grad_cam(encoder, images, target, layer)
    assert slow.abs().max() > 0
    for sign in (1, -1):
        expected = functional.interpolate((sign * slow).relu()[:, None], size=images.shape[2:], mode="bilinear")[:, 0]
        heat = grad_cam(encoder, images, lambda rows, sign=sign: sign * target(rows), layer=layer)
        np.testing.assert_allclose(heat, expected, rtol=1e-3, atol=1e-3 * slow.abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_heat_is_the_measured_rise_of_the_score(name):
    encoder = settled_encoder(name).double()
    assert_heat_is_the_rise(encoder, make_images(1).double(), double_score(1), "features")


@pytest.mark.parametrize(("name", "layer"), [(name, layer) for name, layers in INNER.items() for layer in layers])
@pytest.mark.slow
def test_heat_of_an_inner_layer_is_the_measured_rise_of_the_score(name, layer):
    images = make_images(1, size_px=32 if name in ("vgg16", "resnet9") else 64).double()
    encoder = settled_encoder(name).double()
    before = traces(encoder)
    assert_heat_is_the_rise(encoder, images, double_score(0), layer)
    assert_untouched(encoder, before)


def test_batch_order_and_neighbours_play_no_part():
    encoder, images, head = settled_encoder("densenet121").double(), make_images(4).double(), made_head()
    class_ids = torch.tensor([0, 1, 2, 0])
    together = grad_cam(encoder, images, ClassScore(head, class_ids))
    reordered = grad_cam(encoder, images.flip(0), ClassScore(head, class_ids.flip(0)))[::-1]
    alone = [
        grad_cam(encoder, image[None], ClassScore(head, int(class_id)))[0]
        for image, class_id in zip(images, class_ids, strict=True)
    ]
    np.testing.assert_allclose(reordered, together, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.stack(alone), together, rtol=1e-4, atol=1e-6)


def test_same_call_gives_the_same_bytes_in_any_mode_of_the_caller():
    encoder, images, target = shared_encoder("resnet18"), make_images(3), ClassScore(made_head(), 0)
    expected = grad_cam(encoder, images, target).tobytes()
    assert grad_cam(encoder, images, target).tobytes() == expected
    with torch.no_grad():
        assert grad_cam(encoder, images, target).tobytes() == expected
    with torch.inference_mode():
        assert grad_cam(encoder, images + 0, target).tobytes() == expected
    with torch.autocast("cpu", torch.bfloat16):
        assert grad_cam(encoder, images, target).tobytes() == expected
    asking = images.clone().requires_grad_()
    assert grad_cam(encoder, asking, target).tobytes() == expected
    assert asking.grad is None


@pytest.mark.parametrize("layer", [None, "backbone.layer3"])
def test_partly_frozen_encoder_in_training_is_as_before(layer):
    encoder, images, target = settled_encoder("resnet18"), make_images(2), ClassScore(made_head(), 0)
    in_eval = grad_cam(encoder, images, target, layer=layer)
    encoder.train().freeze(3)
    seen = []
    handle = encoder.backbone.layer4.register_forward_hook(lambda *_: seen.append(1))
    before = traces(encoder)
    assert True in before[2]
    assert False in before[2]
    np.testing.assert_array_equal(grad_cam(encoder, images, target, layer=layer), in_eval)
    assert_untouched(encoder, before)
    handle.remove()
    assert seen


@pytest.mark.parametrize("layer", [None, "backbone.layer3"])
def test_wholly_frozen_encoder_gives_the_same_heat(layer):
    encoder, images, target = settled_encoder("resnet18"), make_images(2), ClassScore(made_head(), 0)
    free = grad_cam(encoder, images, target, layer=layer)
    encoder.freeze(len(encoder.layer_groups()))
    np.testing.assert_array_equal(grad_cam(encoder, images, target, layer=layer), free)


@pytest.mark.parametrize("layer", [None, "backbone.7"])
def test_target_that_fails_leaves_no_trace(layer):
    encoder = settled_encoder("resnet9").train()
    before = traces(encoder)

    def failing(embeddings):
        raise ArithmeticError("on purpose")

    with pytest.raises(ArithmeticError, match="on purpose"):
        grad_cam(encoder, make_images(2), failing, layer=layer)
    assert_untouched(encoder, before)


@pytest.mark.parametrize("name", NAMES)
def test_constant_network_has_flat_and_finite_heat(name):
    encoder = settled_encoder(name)
    with torch.no_grad():
        for weight in encoder.head.parameters():
            weight.zero_()
    exemplars = encoder(make_images(4)).detach()
    for target in (
        ClassScore(made_head(), 0),
        Similarity(exemplars[0]),
        Similarity(exemplars[0], "cosine"),
        ExemplarSimilarity(exemplars, torch.tensor([0, 0, 1, 1]), 1),
    ):
        heat = grad_cam(encoder, make_images(2), target)
        assert np.isfinite(heat).all()
        assert np.ptp(heat) == 0


CELL_PX = 8


def planted_films(n_films, *, is_planted, seed, patch_px=32):
    """Noise, and in it a bright patch that keeps to the cells of the map: films, where the patch lies."""
    draw = torch_generator(seed, "test-planted")
    films = 0.1 * torch.randn(n_films, 1, 64, 64, generator=draw)
    is_inside = torch.zeros(n_films, 64, 64, dtype=torch.bool)
    places = CELL_PX * torch.randint((64 - patch_px) // CELL_PX + 1, (n_films, 2), generator=draw)
    for film, (top, left) in enumerate(places.tolist()):
        is_inside[film, top : top + patch_px, left : left + patch_px] = is_planted
    return films + 2 * is_inside[:, None], is_inside.numpy()


@pytest.fixture(scope="module")
def patch_finder():
    """A network that learned to tell films with a bright patch from films without: encoder, head.

    Its kernels are a pixel wide, so that no cell of its map sees beyond itself: else the heat of a cell beside the
    patch, which does see it, would be right as well.
    """
    encoder = build_encoder("resnet9", image_spec=ImageSpec(size_px=64), width=8, stem_pool=1, embedding_dim=8)
    head, labels, centre = made_head(2), torch.arange(2).repeat_interleave(8), torch.zeros(3, 3)
    centre[1, 1] = 1
    kernels = [layer.weight for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
    for step in range(12):
        with torch.no_grad():
            for kernel in kernels:
                kernel.mul_(centre if step else 3 * centre)
        films = torch.cat([planted_films(8, is_planted=flag, seed=2 * step + flag)[0] for flag in (False, True)])
        optimiser.zero_grad()
        functional.cross_entropy(head(encoder(films)), labels).backward()
        for kernel in kernels:
            kernel.grad.mul_(centre)
        optimiser.step()
    settle(encoder, films)
    return encoder, head


def test_planted_patch_that_alone_decides_the_class_is_found(patch_finder):
    encoder, head = patch_finder
    plain, _ = planted_films(8, is_planted=False, seed=98)
    films, is_inside = planted_films(8, is_planted=True, seed=99)
    with torch.no_grad():
        assert head(encoder(plain)).argmax(1).eq(0).all()
        assert head(encoder(films)).argmax(1).eq(1).all()
        exemplars = encoder(torch.cat([plain, films.flip(0)]))
    own, other = (ExemplarSimilarity(exemplars, torch.arange(2).repeat_interleave(8), label) for label in (1, 0))
    for target, layer in product((ClassScore(head, 1), Difference(own, other)), (encoder.heat_layer, "features")):
        heat = grad_cam(encoder, films, target, layer=layer)
        shares = (heat * is_inside).sum((1, 2)) / heat.sum((1, 2))
        assert is_inside.mean() == 0.25
        assert shares.mean() > 0.7


def test_pair_is_mapped_on_both_films():
    encoder, one, other = shared_encoder("resnet9"), make_images(2), make_images(2, seed=1)
    before = traces(encoder)
    heat, other_heat = pair_maps(encoder, one, other, distance="cosine")
    assert_untouched(encoder, before)
    with torch.no_grad():
        embeddings = encoder(one), encoder(other)
    expected = [
        grad_cam(encoder, one, Similarity(embeddings[1], "cosine")),
        grad_cam(encoder, other, Similarity(embeddings[0], "cosine")),
    ]
    assert min(map(np.max, expected)) > 0
    swapped = pair_maps(encoder, other, one, distance="cosine")[::-1]
    for pair in ((heat, other_heat), swapped):
        np.testing.assert_allclose(pair, expected, rtol=1e-3, atol=1e-4 * np.max(expected))


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "cosine", "l1"])
def test_film_beside_itself_has_flat_heat(distance):
    encoder, images = shared_encoder("resnet9"), make_images(2)
    for heat in pair_maps(encoder, images, images, distance=distance):
        assert heat.max() < 1e-4


def test_layers_that_give_a_map_are_listed():
    encoder = shared_encoder("resnet18")
    before = traces(encoder)
    layers = map_layers(encoder, make_images(1))
    assert_untouched(encoder, before)
    assert {"backbone.conv1", "backbone.layer4", "backbone.layer2.0.conv1"} < set(layers)
    assert not {"backbone", "backbone.fc", "head", "features"} & set(layers)
    assert "backbone.blocks.0" not in map_layers(shared_encoder("timm:test_vit"), make_images(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"layer": "backbone.layer5"},
            "the encoder has no layer 'backbone.layer5' (did you mean 'backbone.layer4'?); there are: features, "
            "backbone.maxpool, backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4",
        ),
        (
            {"layer": "head"},
            "layer 'head' gives no map (N, c, h, w) of several places; there are: features, "
            "backbone.maxpool, backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4",
        ),
        ({"images": torch.zeros(0, 1, 64, 64)}, "Grad-CAM needs an image, got none"),
        ({"images": torch.zeros(2, 3, 64, 64)}, "images must have the shape (N, 1, S, S), got (2, 3, 64, 64)"),
        (
            {"images": torch.full((2, 1, 64, 64), torch.nan)},
            "the heat is not finite; look for NaN in the images, the weights or the target",
        ),
        ({"target": lambda rows: rows}, "the target must give one number per film, (2,), got (2, 8)"),
        (
            {"target": lambda rows: rows.detach().sum(1)},
            "the target has lost its gradient; compute it from the embeddings by torch, undetached",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(changes, message):
    keywords = {"images": make_images(2), "target": ClassScore(made_head(), 0)} | changes
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        grad_cam(shared_encoder("resnet18"), **keywords)


def test_pairs_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"as many films of one size, got \(2, 1, 64, 64\) and \(1, 1, 64, 64\)"):
        pair_maps(shared_encoder("resnet9"), make_images(2), make_images(1))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["resnet9", "densenet121", "vgg16"])
def test_gpu_draws_the_same_heat(name):
    encoder, images, head = settled_encoder(name).double(), make_images(3).double(), made_head()
    on_cpu = grad_cam(encoder, images, ClassScore(head, 0))
    on_gpu = grad_cam(encoder.cuda(), images.cuda(), ClassScore(head.cuda(), 0))
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-3, atol=1e-3 * on_cpu.max())

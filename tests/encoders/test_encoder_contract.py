"""What every encoder promises, for each line of the table and for timm's kinds: convolutions, a transformer, NHWC."""

from copy import deepcopy
from functools import cache

import pytest
import timm
import torch
from made_encoders import SMALL, make_images, settle, slow_if_deep
from torch import nn
from torch.nn import functional

from fewshot_cxr.encoders import ENCODERS, build_encoder, load_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec

TIMM = ["timm:resnet10t", "timm:test_efficientnet", "timm:test_vit", "timm:test_mambaout"]
NAMES = slow_if_deep(sorted(ENCODERS) + [name for name in TIMM if timm.is_model(name.removeprefix("timm:"))])


def build(name, n_channels=1, **options):
    spec = ImageSpec(size_px=64, n_channels=n_channels)
    return build_encoder(name, image_spec=spec, **SMALL.get(name, {}), **options)


@cache
def _built(name):
    return build(name)


def copied(name):
    """A new encoder with the weights of seed 0: to copy them is quicker than to draw them."""
    return deepcopy(_built(name))


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_encoder_keeps_the_contract(name, n_channels):
    encoder = build(name, n_channels, embedding_dim=24)
    assert encoder.training
    assert encoder.embedding_dim == 24
    assert encoder.card == {}
    for size_px in (96, 64):
        images = make_images(2, size_px, n_channels=n_channels)
        features = encoder.features(images)
        assert features.ndim == 4
        assert min(features.shape[2:]) >= 2
        assert encoder.pool(features).shape == (2, encoder.n_features)
        assert encoder(images).shape == (2, 24)
    encoder(images).square().sum().backward()
    gradients = [weight.grad for weight in encoder.parameters() if weight.grad is not None]
    assert len(gradients) >= len(list(encoder.parameters())) - 1  # a transformer's class token may go unused
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("name", NAMES)
def test_forward_is_features_pool_head(name):
    encoder = copied(name).eval()
    images = make_images(2)
    assert torch.equal(encoder(images), encoder.head(encoder.pool(encoder.features(images))))


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_of_new_encoder_are_finite_and_spread(name):
    images = make_images(8)
    embeddings = settle(copied(name), images)(images).detach()
    assert embeddings.isfinite().all()
    distances = torch.pdist(embeddings)
    assert distances.min() > 0.01 * embeddings.norm(dim=1).mean()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_row_depends_on_its_own_image_alone(name):
    images = make_images(3).double()  # in single precision a deep network makes much of a rounding error
    encoder = settle(copied(name).double(), images)
    with torch.inference_mode():
        together = encoder(images)
        assert torch.equal(together, encoder(images))
        alone = torch.cat([encoder(image[None]) for image in images])
        reordered = encoder(images.flip(0)).flip(0)
    torch.testing.assert_close(alone, together, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(reordered, together, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_channels_last_gives_the_same(name):
    images = make_images(2).double()
    encoder = settle(copied(name).double(), images)
    with torch.inference_mode():
        plain = encoder(images)
        last = encoder.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, plain, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_near_float32(name):
    images = make_images(12)
    encoder = settle(copied(name), images)
    with torch.inference_mode():
        exact = encoder(images)
        with torch.autocast("cpu", torch.bfloat16):
            rough = encoder(images).float()
    assert functional.cosine_similarity(exact, rough).mean() > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_training_step_in_bfloat16_is_finite(name):
    encoder = copied(name)
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = encoder(make_images(2))
    embeddings.float().square().mean().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in encoder.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_heat_can_be_taken_from_the_map(name):
    encoder = copied(name).eval()
    features = encoder.features(make_images(2))
    before = features.detach().clone()
    hooked = features.clone()
    hooked.register_hook(lambda gradient: gradient)
    (heat,) = torch.autograd.grad(encoder.head(encoder.pool(hooked)).square().sum(), hooked)
    assert torch.equal(features, before)
    assert torch.equal(hooked, before)
    assert heat.shape == features.shape
    assert heat.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_hooks_on_the_backbone_survive_a_backward_pass(name):
    encoder = copied(name)
    seen = []
    encoder.backbone.register_forward_hook(lambda *_: None)
    last = [layer for layer in encoder.backbone.modules() if isinstance(layer, nn.Conv2d)][-1]
    last.register_forward_hook(lambda layer, inputs, output: seen.append(output))
    encoder(make_images(2)).sum().backward()
    assert seen


@pytest.mark.parametrize("name", NAMES)
def test_pooled_features_are_the_embeddings(name):
    encoder = build(name, output="pooled").eval()
    images = make_images(2)
    assert encoder.embedding_dim == encoder.n_features
    assert torch.equal(encoder(images), encoder.pool(encoder.features(images)))
    assert not list(encoder.head.parameters())
    assert encoder.recipe["options"]["output"] == "pooled"


@pytest.mark.parametrize("name", NAMES)
def test_dropout_is_of_training_alone(name):
    images = make_images(3)
    encoder = settle(build(name, dropout=0.9), images)
    features = encoder.features(images)
    assert torch.equal(encoder.head(encoder.dropout(encoder.pool(features))), encoder(images))
    assert encoder.train().dropout(torch.ones(1000)).eq(0).float().mean() > 0.8


@pytest.mark.parametrize("name", NAMES)
def test_seed_decides_the_weights(name):
    before = torch.random.get_rng_state()
    same, other = (build(name, seed=seed).state_dict() for seed in (0, 1))
    one = _built(name).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("output", ["head", "pooled"])
@pytest.mark.slow
def test_saved_encoder_comes_back(name, output, tmp_path):
    images = make_images(2)
    encoder = settle(build(name, output=output, seed=3), images)
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={"findings": ["normal"], "val_accuracy": 0.5})
    for place in (tmp_path, tmp_path / "encoder.safetensors"):
        loaded = load_encoder(place)
        assert not any(layer.training for layer in loaded.modules())
        assert loaded.card == {"findings": ["normal"], "val_accuracy": 0.5}
        assert (loaded.recipe, loaded.image_spec) == (encoder.recipe, encoder.image_spec)
        saved, found = encoder.state_dict(), loaded.state_dict()
        assert saved.keys() == found.keys()
        assert all(torch.equal(saved[key], found[key]) for key in saved)
        assert torch.equal(loaded(images), encoder(images))


@pytest.mark.parametrize("name", NAMES)
def test_wrong_images_are_refused(name):
    encoder = copied(name)
    with pytest.raises(ValueError, match=r"images must have the shape \(N, 1, S, S\), got \(2, 3, 64, 64\)"):
        encoder(make_images(2, n_channels=3))
    with pytest.raises(ValueError, match=r"images must have the shape \(N, 1, S, S\), got \(1, 64, 64\)"):
        encoder.features(make_images(1)[0])
    with pytest.raises(ValueError, match=r"images must be float, standardised as image_spec says, got torch.uint8"):
        encoder(torch.zeros(2, 1, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize("name", NAMES)
def test_wrong_options_are_refused(name):
    with pytest.raises(TypeError, match="unexpected keyword argument 'embeding_dim'"):
        build(name, embeding_dim=64)
    with pytest.raises(
        ValueError, match=r"unknown output 'pool' \(did you mean 'pooled'\?\); choose from head, pooled"
    ):
        build(name, output="pool")
    with pytest.raises(ValueError, match="embedding_dim must be at least 1, got 0"):
        build(name, embedding_dim=0)
    with pytest.raises(ValueError, match=r"with output='pooled', got 7; leave it out"):
        build(name, output="pooled", embedding_dim=7)

"""The published sizes of the three networks, their options, and a slow retelling of COVID-Net's sums."""

import pytest
import torch
from torch.nn import functional

from fewshot_cxr.encoders import NORMALISATIONS, CovidNet, EfficientNetAttention, ResNet9, build_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.seeding import torch_generator

RGB = ImageSpec(n_channels=3)
PUBLISHED = {"head": "published", "batch_norm": False, "dropout": 0.5}


def count(module):
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize(
    ("width", "n_classes", "n_weights"), [(64, 10, 6_575_370), (32, 10, 1_647_242), (32, 3, 1_645_443)]
)
def test_resnet9_has_the_known_size(width, n_classes, n_weights):
    assert count(ResNet9(RGB, width=width, embedding_dim=n_classes)) == n_weights


def test_resnet9_pools_the_largest_value():
    encoder = ResNet9(ImageSpec(size_px=32), output="pooled").eval()
    images = torch.randn(2, 1, 32, 40)
    assert torch.equal(encoder(images), encoder.features(images).flatten(2).max(2).values)


def test_covidnet_has_the_published_sizes():
    encoder = CovidNet(ImageSpec(size_px=224), embedding_dim=256, **PUBLISHED)
    assert count(encoder.backbone) == 7_918_512
    assert count(encoder.head) == 51_643_648
    assert count(encoder) == 59_562_160


def test_covidnet_wide_preset_has_the_published_size():
    with torch.device("meta"):
        encoder = CovidNet(RGB, width=256, embedding_dim=1024, **PUBLISHED)
    assert round(count(encoder) / 1e6, 1) == 135.3


def test_covidnet_default_is_small():
    assert count(CovidNet()) == pytest.approx(8e6, rel=0.02)


def test_covidnet_published_head_takes_one_size():
    encoder = CovidNet(ImageSpec(size_px=70), width=8, embedding_dim=5, **PUBLISHED).eval()
    assert encoder(torch.rand(2, 1, 70, 70)).shape == (2, 5)
    assert encoder(torch.rand(2, 1, 70, 70)).min() >= 0  # the last layer is a ReLU, as published
    message = (
        r"the published head takes images of 70 px \(a 2 x 2 map\), got a map of \(3, 3\); head='linear' takes any size"
    )
    with pytest.raises(ValueError, match=message):
        encoder(torch.rand(2, 1, 96, 96))


@pytest.mark.parametrize("batch_norm", [True, False])
def test_covidnet_sums_what_came_before(batch_norm):
    encoder = CovidNet(ImageSpec(size_px=64), width=8, batch_norm=batch_norm).eval()
    images = torch.rand(2, 1, 64, 64)
    stem, *stages = encoder.backbone
    features = stem(images)
    for stage in stages:
        earlier = [functional.max_pool2d(path(features), 2) for path in (stage.upper, stage.entry)]
        for block in stage.blocks:
            earlier.append(block(torch.stack(earlier).sum(0)))
        features = torch.stack(earlier).sum(0)
    assert [1 + len(stage.blocks) for stage in stages] == [3, 4, 6, 3]
    torch.testing.assert_close(encoder.features(images), features)


def test_covidnet_without_normalisation_is_finite_and_spread():
    encoder = build_encoder("covidnet", image_spec=ImageSpec(size_px=64), width=32, batch_norm=False).eval()
    coarse = torch.rand(8, 1, 6, 6, generator=torch_generator(0))
    embeddings = encoder(functional.interpolate(coarse, size=64, mode="bilinear") * 4 - 2).detach()
    assert embeddings.isfinite().all()
    assert torch.pdist(embeddings).min() > 0.01 * embeddings.norm(dim=1).mean()


def test_covidnet_gradient_reaches_the_stem_unexploded():
    encoder = build_encoder("covidnet", image_spec=ImageSpec(size_px=96), width=32)
    coarse = torch.rand(8, 1, 6, 6, generator=torch_generator(0))
    encoder(functional.interpolate(coarse, size=96, mode="bilinear") * 4 - 2).square().mean().backward()
    stem, *_, last = encoder.backbone
    assert stem[0].weight.grad.norm() < 100 * last.upper[0].weight.grad.norm()


def test_attention_has_the_published_size():
    encoder = EfficientNetAttention(gate_stride=3, gate_width=1280)
    assert [count(gate) for gate in encoder.gates] == [16_996_161, 18_536_641]


@pytest.mark.parametrize("gate_stride", [1, 3])
@pytest.mark.parametrize("normalisation", sorted(NORMALISATIONS))
def test_attention_maps_weigh_the_places(normalisation, gate_stride):
    options = {"normalisation": normalisation, "gate_stride": gate_stride, "gate_width": 8}
    encoder = build_encoder("efficientnet_attention", image_spec=ImageSpec(size_px=160), **options).eval()
    images = torch.randn(3, 1, 160, 160)
    maps = encoder.attention_maps(images)
    assert [weights.shape for weights in maps] == [(3, 1, 5, 5)] * 2
    assert encoder.features(images).shape == (3, 1792, 5, 5)
    for weights in maps:
        assert weights.min() >= 0
        if normalisation in ("sigmoid", "range"):
            assert weights.max() <= 1
        else:
            torch.testing.assert_close(weights.sum((1, 2, 3)), torch.ones(3))


@pytest.mark.parametrize("normalisation", sorted(NORMALISATIONS))
def test_equal_places_get_equal_finite_weights(normalisation):
    for value in (-5.0, 0.0, 5.0):
        values = torch.full((2, 1, 4, 4), value, requires_grad=True)
        weights = NORMALISATIONS[normalisation](values)
        weights.square().sum().backward()
        assert weights.isfinite().all()
        assert values.grad.isfinite().all()
        assert weights.max() == weights.min()


def test_mean_flow_is_the_share_above_the_smallest():
    values = torch.tensor([[3.0, 1.0], [2.0, 1.0]]).view(1, 1, 2, 2)
    expected = torch.tensor([[2 / 3, 0.0], [1 / 3, 0.0]]).view(1, 1, 2, 2)
    torch.testing.assert_close(NORMALISATIONS["mean_flow"](values), expected, atol=1e-5, rtol=0)


def test_attention_works_on_a_single_place():
    encoder = build_encoder("efficientnet_attention", image_spec=ImageSpec(size_px=32), gate_width=8).eval()
    images = torch.randn(2, 1, 32, 32)
    assert all(torch.allclose(weights, torch.ones(2, 1, 1, 1)) for weights in encoder.attention_maps(images))
    assert encoder(images).isfinite().all()


@pytest.mark.parametrize(
    ("name", "options", "smallest"),
    [
        ("covidnet", {"width": 8}, 32),
        ("resnet9", {}, 16),
        ("resnet9", {"stem_pool": 1}, 8),
        ("efficientnet_attention", {}, 32),
        ("efficientnet_attention", {"gate_stride": 3, "gate_width": 8}, 65),
    ],
)
def test_smallest_image(name, options, smallest):
    encoder = build_encoder(name, image_spec=ImageSpec(size_px=smallest), **options).eval()
    assert encoder(torch.rand(1, 1, smallest, smallest)).isfinite().all()
    message = rf"images must be at least {smallest} px wide, got \({smallest}, {smallest - 1}\)"
    with pytest.raises(ValueError, match=message):
        encoder(torch.rand(1, 1, smallest, smallest - 1))
    if smallest > 8:
        message = rf"size_px of this encoder must be at least {smallest}, got {smallest - 1}"
        with pytest.raises(ValueError, match=message):
            build_encoder(name, image_spec=ImageSpec(size_px=smallest - 1), **options)


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("resnet9", {"width": 0}, "width must be at least 1, got 0"),
        ("covidnet", {"width": 2}, "width must be at least 4, got 2"),
        ("covidnet", {"head": "publishd"}, r"unknown head 'publishd' \(did you mean 'published'\?\)"),
        ("efficientnet_attention", {"normalisation": "sum"}, "unknown normalisation 'sum'"),
        ("efficientnet_attention", {"gate_stride": 0}, "gate_stride must be at least 1, got 0"),
        ("efficientnet_attention", {"gate_width": 0}, "gate_width must be at least 1, got 0"),
    ],
)
def test_impossible_options_are_refused(name, option, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(name, **option)

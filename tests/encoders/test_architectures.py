"""The published sizes of the three networks, their options, and a slow retelling of COVID-Net's sums."""

from functools import cache

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from fewshot_cxr.encoders import (
    COVIDNET_PRESETS,
    NORMALISATIONS,
    PUBLISHED_GATES,
    CovidNet,
    EfficientNetAttention,
    ResNet9,
    build_encoder,
    efficientnet_attention,
    load_encoder,
    save_encoder,
)
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.torch_seeding import seeded_torch, torch_generator

RGB = ImageSpec(n_channels=3)


def count(module):
    return sum(weight.numel() for weight in module.parameters())


@cache
def without_memory(name):
    """An encoder whose weights have shapes and no values."""
    with torch.device("meta"):
        return build_encoder(name, image_spec=RGB, output="pooled")


@pytest.mark.parametrize(
    ("width", "n_classes", "n_weights"), [(64, 10, 6_575_370), (32, 10, 1_647_242), (32, 3, 1_645_443)]
)
def test_resnet9_has_the_known_size(width, n_classes, n_weights):
    assert count(ResNet9(RGB, width=width, embedding_dim=n_classes)) == n_weights


def test_resnet9_pools_the_largest_value():
    encoder = ResNet9(ImageSpec(size_px=32), output="pooled").eval()
    images = torch.randn(2, 1, 32, 40)
    assert torch.equal(encoder(images), encoder.features(images).flatten(2).max(2).values)


@pytest.mark.parametrize("size_px", [16, 65, 128, 224])
@pytest.mark.parametrize("width", [32, 64])
def test_resnet9_takes_any_size(width, size_px):
    encoder = build_encoder("resnet9", image_spec=ImageSpec(size_px=size_px), width=width).eval()
    with torch.inference_mode():
        assert encoder(torch.rand(1, 1, size_px, size_px)).shape == (1, 128)


def test_covidnet_has_the_published_sizes():
    with torch.device("meta"):
        encoder = CovidNet(ImageSpec(size_px=224), **COVIDNET_PRESETS["siamese-covid-net"])
        siamese = nn.Linear(encoder.embedding_dim, 1)  # on the differences of two embeddings
        single = nn.Linear(encoder.embedding_dim, 3)
    assert count(encoder.backbone) == 7_918_512
    assert count(encoder.head) == 51_643_648
    assert count(encoder) == 59_562_160
    assert count(encoder) + count(siamese) == 59_562_417
    assert count(encoder) + count(single) == 59_562_931


def test_covidnet_wide_preset_has_the_published_size():
    with torch.device("meta"):
        encoder = CovidNet(RGB, **COVIDNET_PRESETS["covid-net"])
        head = nn.Linear(encoder.embedding_dim, 3)
    assert encoder.n_features == 100_352
    assert round((count(encoder) + count(head)) / 1e6, 1) == 135.3


def test_covidnet_presets_are_options(tmp_path):
    preset = COVIDNET_PRESETS["siamese-covid-net"] | {"width": 8, "embedding_dim": 6}
    encoder = build_encoder("covidnet", image_spec=ImageSpec(size_px=64), **preset)
    assert preset.items() <= encoder.recipe["options"].items()
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={})
    images = torch.rand(2, 1, 64, 64)
    assert torch.equal(load_encoder(tmp_path)(images), encoder.eval()(images))


def test_covidnet_default_is_small():
    assert count(CovidNet()) == pytest.approx(8e6, rel=0.02)


@pytest.mark.parametrize(
    ("name", "n_outputs", "has_bias", "n_weights"),
    [
        ("vgg16", 4, True, 134_276_932),
        ("resnet18", 4, True, 11_178_564),
        ("densenet121", 4, True, 6_957_956),
        ("densenet121", 14, False, 6_968_192),
    ],
)
def test_transfer_networks_have_the_published_sizes(name, n_outputs, has_bias, n_weights):
    encoder = without_memory(name)
    with torch.device("meta"):
        head = nn.Linear(encoder.embedding_dim, n_outputs, bias=has_bias)
    assert count(encoder) + count(head) == n_weights


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "densenet121"])
@pytest.mark.slow
def test_transfer_networks_are_those_of_torchvision(name):
    with seeded_torch(0, "torchvision"):
        published = getattr(torchvision.models, name)(weights=None).eval()
    encoder = build_encoder(name, image_spec=RGB, embedding_dim=1000).eval()
    state = {key: value for key, value in published.state_dict().items() if not key.startswith(("fc.", "classifier."))}
    encoder.backbone.load_state_dict(state)
    classifier = published.classifier if name == "densenet121" else published.fc
    encoder.head.load_state_dict(classifier.state_dict())
    for size_px in (224, 160):
        images = torch.randn(1, 3, size_px, size_px, generator=torch_generator(0))
        with torch.inference_mode():
            torch.testing.assert_close(encoder(images), published(images))


@pytest.mark.parametrize("name", ["densenet121", "resnet18", "resnet50", "vgg16"])
def test_transfer_networks_start_from_the_weights_of_torchvision(name):
    config = without_memory(name).backbone.pretrained_cfg
    assert (config["architecture"], config["tag"]) == (name, "tv_in1k")
    assert config["mean"] == (0.485, 0.456, 0.406)


@pytest.mark.slow
def test_vgg16_is_that_of_torchvision():
    width = 16  # of 4096 weights a row there are too many for a test
    encoder = build_encoder("vgg16", image_spec=RGB, fc_width=width, embedding_dim=10).eval()
    with torch.device("meta"):
        published = torchvision.models.vgg16(weights=None, dropout=0.5)
    classifier = published.classifier
    classifier[0], classifier[3] = nn.Linear(25_088, width), nn.Linear(width, 4096)
    classifier[6] = nn.Linear(4096, 10)
    published.features.to_empty(device="cpu")
    state = encoder.backbone.state_dict()
    published.features.load_state_dict({k[9:]: value for k, value in state.items() if k.startswith("features.")})
    for layer, own in ((classifier[0], "fc1"), (classifier[3], "fc2")):
        layer.weight.data = state[f"pre_logits.{own}.weight"].flatten(1)
        layer.bias.data = state[f"pre_logits.{own}.bias"]
    classifier[6].load_state_dict(encoder.head.state_dict())
    for size_px in (224, 256, 96):
        images = torch.randn(1, 3, size_px, size_px, generator=torch_generator(0))
        with torch.inference_mode():
            torch.testing.assert_close(encoder(images), published.eval()(images))
    drops = [layer.p for layer in classifier if isinstance(layer, nn.Dropout)]
    assert drops == [encoder.backbone.pre_logits.drop.p, encoder.dropout.p] == [0.5, 0.5]


def test_covidnet_published_head_takes_one_size():
    options = COVIDNET_PRESETS["siamese-covid-net"] | {"width": 8, "embedding_dim": 5}
    encoder = CovidNet(ImageSpec(size_px=70), **options).eval()
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
    with torch.device("meta"):
        encoder = EfficientNetAttention(**PUBLISHED_GATES)
    assert [count(gate) for gate in encoder.gates] == [16_996_161, 18_536_641]
    assert count(encoder.gates) == 35_532_802


def test_attention_default_is_small():
    assert count(EfficientNetAttention()) == pytest.approx(7.9e6, rel=0.01)


@pytest.fixture(scope="module")
def backbone():
    return efficientnet_attention.create_backbone("efficientnet_b0", ImageSpec(), pretrained=False)


@pytest.fixture
def one_backbone(backbone, monkeypatch):
    """The encoders of a test have one backbone, which takes longer to make than the gates that are looked at."""
    monkeypatch.setattr(efficientnet_attention, "create_backbone", lambda *_, **__: backbone)


@pytest.mark.usefixtures("one_backbone")
@pytest.mark.parametrize("gate_stride", [1, 3])
@pytest.mark.parametrize("normalisation", sorted(NORMALISATIONS))
@pytest.mark.slow
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
    assert torch.equal(NORMALISATIONS["mean_flow"](values), expected)


def stage_and_last(n_channels, seed=0):
    """What a gate sees of a 224-pixel image: a stage and the last map, both 7 x 7."""
    generator = torch_generator(seed)
    sizes = [(2, channels, 7, 7) for channels in (n_channels, 1280)]
    return [torch.randn(size, generator=generator, requires_grad=True) for size in sizes]


@pytest.mark.usefixtures("one_backbone")
@pytest.mark.parametrize("normalisation", sorted(NORMALISATIONS))
@pytest.mark.parametrize("gate_stride", [1, 3])
def test_places_that_a_gate_sees(gate_stride, normalisation):
    options = {"gate_stride": gate_stride, "gate_width": 8, "normalisation": normalisation}
    encoder = build_encoder("efficientnet_attention", image_spec=ImageSpec(size_px=224), **options)
    for gate, n_channels in zip(encoder.gates, (192, 320), strict=True):
        inputs = stage_and_last(n_channels)
        _, weights = gate(*inputs)
        weights.square().sum().backward()
        for values in inputs:
            is_seen = values.grad.abs().amax((0, 1)) > 0
            if gate_stride == 1:
                assert is_seen.all()
            else:
                assert is_seen[:6, :6].all()
                assert not is_seen[6].any()
                assert not is_seen[:, 6].any()


@pytest.mark.usefixtures("one_backbone")
def test_published_gate_shuts_one_place_of_four():
    options = PUBLISHED_GATES | {"gate_width": 8}
    encoder = build_encoder("efficientnet_attention", image_spec=ImageSpec(size_px=224), **options)
    for gate, n_channels in zip(encoder.gates, (192, 320), strict=True):
        inputs = stage_and_last(n_channels)
        inner = functional.leaky_relu(gate.stage(inputs[0]) + gate.gating(inputs[1]))
        assert inner.shape[2:] == (2, 2)
        values = gate.value(inner)
        above = values - values.amin((2, 3), keepdim=True)
        expected = functional.interpolate(above / above.sum((2, 3), keepdim=True), size=7, mode="bilinear")
        _, weights = gate(*inputs)
        torch.testing.assert_close(weights, expected)
        assert (weights.amin((2, 3)) == 0).all()
        torch.testing.assert_close(weights.sum((2, 3)), torch.full((2, 1), 12.25))


@pytest.mark.usefixtures("one_backbone")
def test_published_aggregation_sums_what_the_gates_pass():
    encoder = build_encoder("efficientnet_attention", gate_width=8, aggregation="sum")
    features = torch.rand(2, 1792, 7, 7)
    expected = torch.cat([features[:, :512].sum((2, 3)), features[:, 512:].mean((2, 3))], dim=1)
    torch.testing.assert_close(encoder.pool(features), expected)


@pytest.mark.usefixtures("one_backbone")
@pytest.mark.parametrize("options", [{}, PUBLISHED_GATES])
@pytest.mark.parametrize("normalisation", sorted(NORMALISATIONS))
def test_gate_passes_a_constant_map(normalisation, options):
    options = options | {"gate_width": 8, "normalisation": normalisation}
    encoder = build_encoder("efficientnet_attention", image_spec=ImageSpec(size_px=224), **options)
    for gate, n_channels in zip(encoder.gates, (192, 320), strict=True):
        nn.init.zeros_(gate.value.weight)  # padding would make the rim differ
        inputs = [torch.ones(2, channels, 7, 7, requires_grad=True) for channels in (n_channels, 1280)]
        passed, weights = gate(*inputs)
        passed.square().sum().backward()
        assert weights.isfinite().all()
        assert all(values.grad.isfinite().all() for values in inputs)
        torch.testing.assert_close(weights, weights[:, :, :1, :1].expand_as(weights))


@pytest.mark.usefixtures("one_backbone")
@pytest.mark.parametrize(("normalisation", "value"), [("sigmoid", 3), ("mean", 3), ("range", 3), ("softmax", 10)])
def test_gates_begin_open(normalisation, value):
    encoder = EfficientNetAttention(normalisation=normalisation, gate_width=8)
    assert [gate.value.bias.item() for gate in encoder.gates] == [value, value]


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
        ("vgg16", {"fc_width": 8}, 32),
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
        ("vgg16", {"fc_width": 0}, "fc_width must be at least 1, got 0"),
        ("vgg16", {"fc_width": 8, "pretrained": True}, "pretrained weights have fc_width=4096, got 8"),
        ("efficientnet_attention", {"aggregation": "sums"}, r"unknown aggregation 'sums' \(did you mean 'sum'\?\)"),
        ("efficientnet_attention", {"normalisation": "sum"}, "unknown normalisation 'sum'"),
        ("efficientnet_attention", {"gate_stride": 0}, "gate_stride must be at least 1, got 0"),
        ("efficientnet_attention", {"gate_width": 0}, "gate_width must be at least 1, got 0"),
    ],
)
def test_impossible_options_are_refused(name, option, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(name, **option)

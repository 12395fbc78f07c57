import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fewshot_cxr.encoders import build_encoder, fit_joined_head, join, load_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec

SPEC = ImageSpec(size_px=64, n_channels=3)
WIDTHS = (5, 3)


@pytest.fixture
def films():
    """Vectors that differ within a finding along two columns most of all, and between findings along two others."""
    rng = np.random.default_rng(0)
    class_ids = np.repeat([0, 1, 2], 30)
    vectors = rng.normal(size=(90, 8)) * [9, 1, 1, 1, 1, 5, 1, 1] + 4
    vectors[:, 2] += 3 * (class_ids == 1)
    vectors[:, 6] += 3 * (class_ids == 2)
    return torch.tensor(vectors, dtype=torch.float32), torch.tensor(class_ids)


def by_hand(vectors, class_ids, keep):
    """Compute both parts as the docstring says them, in the covariance's own directions."""
    x, y = vectors.double().numpy(), class_ids.numpy()
    x = x - x.mean(0)
    x = np.concatenate([part / part.std(0, ddof=1) / part.shape[1] ** 0.5 for part in (x[:, :5], x[:, 5:])], axis=1)
    within = x - np.stack([x[y == finding].mean(0) for finding in y])
    variances, directions = np.linalg.eigh(within.T @ within / len(x))
    white = x @ directions / np.sqrt(variances + variances.mean())
    white /= np.linalg.norm(white, axis=1, keepdims=True)
    means = np.stack([white[y == finding].mean(0) for finding in range(3)])
    taught = np.linalg.svd(means - means.mean(0))[2][:2]
    return white, keep * white @ taught.T


def distances(vectors):
    return torch.cdist(torch.as_tensor(vectors).double(), torch.as_tensor(vectors).double()).numpy()


def test_both_parts_are_what_a_slow_computation_gives(films):
    head = fit_joined_head(*films, WIDTHS)
    embeddings = head(films[0])
    assert embeddings.shape == (90, 10)
    kept, taught = by_hand(*films, keep=2.0)
    np.testing.assert_allclose(distances(embeddings[:, :8].detach()), distances(kept), atol=1e-5)
    np.testing.assert_allclose(distances(embeddings[:, 8:].detach()), distances(taught), atol=1e-5)


def test_the_second_part_tells_the_known_findings_apart_as_a_discriminant_does(films):
    vectors, class_ids = films
    taught = fit_joined_head(vectors, class_ids, WIDTHS)(vectors)[:, 8:].detach().numpy()
    oracle = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(vectors.numpy(), class_ids)
    means = np.stack([taught[class_ids == finding].mean(0) for finding in range(3)])
    nearest = ((taught[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == oracle.predict(vectors.numpy())).mean() > 0.9


def test_the_order_of_films_and_the_unit_of_the_vectors_change_no_distance(films):
    vectors, class_ids = films
    order = torch.randperm(90, generator=torch.Generator().manual_seed(0))
    usual = distances(fit_joined_head(vectors, class_ids, WIDTHS)(vectors).detach())
    other = fit_joined_head(7 * vectors[order] + 3, class_ids[order], WIDTHS)(7 * vectors + 3)
    np.testing.assert_allclose(distances(other.detach()), usual, atol=1e-4)


def test_a_column_that_never_varied_does_not_rule_a_new_film(films):
    vectors, class_ids = films
    vectors[:, 4] = 1.0
    head, new = fit_joined_head(vectors, class_ids, WIDTHS), vectors[:1].clone()
    new[:, 4] = 2.0
    assert (head(new) - head(vectors[:1])).norm() < 1.5
    assert head(vectors).isfinite().all()


@pytest.mark.parametrize("class_ids", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_too_few_films_are_refused(class_ids):
    with pytest.raises(ValueError, match="a joined head needs two findings and more films than findings"):
        fit_joined_head(torch.randn(4, 8), torch.tensor(class_ids), WIDTHS)


def joined_encoder():
    encoder = build_encoder("efficientnet_lite0", image_spec=SPEC, pool="stages", output="pooled").eval()
    with torch.no_grad():
        vectors = encoder(torch.rand(12, 3, 64, 64))
    join(encoder, fit_joined_head(vectors, torch.arange(12) % 3, encoder.pooled_widths))
    return encoder.eval()


def test_a_joined_encoder_is_saved_and_loaded(tmp_path):
    encoder, images = joined_encoder(), torch.rand(2, 3, 64, 64)
    encoder.head.keep.fill_(0.5)
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={})
    loaded = load_encoder(tmp_path)
    assert loaded.embedding_dim == encoder.embedding_dim == encoder.n_features + 2
    torch.testing.assert_close(loaded(images), encoder(images))


def test_only_a_pooled_output_of_the_same_width_is_joined(films):
    head = fit_joined_head(*films, WIDTHS)
    with pytest.raises(ValueError, match="the encoder has a head"):
        join(build_encoder("resnet9", width=4), head)
    with pytest.raises(ValueError, match=r"the encoder pools to \d+ features, the joined head takes 8"):
        join(build_encoder("resnet9", width=4, output="pooled"), head)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_stages_are_the_means_and_spreads_of_the_layers(name):
    encoder = build_encoder(name, image_spec=SPEC, pool="stages", output="pooled").eval()
    images, seen = torch.rand(2, 3, 64, 64), {}
    wanted = {
        "efficientnet_lite0": ["blocks.2", "blocks.4", "blocks.6", "bn2"],
        "timm:resnet18": ["layer2", "layer3", "layer4"],
        "timm:vit_tiny_patch16_224": ["blocks.5", "blocks.8", "blocks.11"],
    }[name]
    for layer in wanted:
        module = encoder.backbone.get_submodule(layer)
        module.register_forward_hook(lambda module, given, output, layer=layer: seen.update({layer: output}))
    pooled = encoder(images)
    maps = [seen[layer] for layer in wanted]
    if name.startswith("timm:vit"):
        maps = [encoder.backbone.norm(tokens)[:, 1:].transpose(1, 2).unflatten(2, (4, 4)) for tokens in maps]
    parts = [each.mean((2, 3)) for each in maps] + [each.std((2, 3), correction=0) for each in maps]
    torch.testing.assert_close(pooled, torch.cat(parts, dim=1), atol=2e-3, rtol=2e-3)
    assert encoder.pooled_widths == tuple(part.shape[1] for part in parts)


def test_heat_reaches_a_joined_embedding():
    encoder = joined_encoder()
    features = encoder.features(torch.rand(1, 3, 64, 64)).detach().requires_grad_()
    encoder.head(encoder.pool(features))[:, -2:].sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0

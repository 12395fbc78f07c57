import numpy as np
import pytest
import torch
from easyfsl.methods import SimpleShot
from sklearn.linear_model import LogisticRegression, Ridge

from fewshot_cxr.inference.rules import RULES

LABELS = torch.tensor([2, 0, 1, 0, 1, 0, 2, 1, 0])


def episodes(n_episodes, dim, n_queries=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(n_episodes, 3, dim, generator=generator)
    support = centres[:, LABELS] + torch.randn(n_episodes, len(LABELS), dim, generator=generator)
    return support, centres.repeat(1, n_queries, 1)[:, :n_queries] + torch.randn(
        n_episodes, n_queries, dim, generator=generator
    )


@pytest.mark.parametrize("signs", ["none", "positive", "mixed"])
def test_template_is_a_slow_loop(signs):
    support, queries = episodes(2, 6)
    drawn = torch.randn(6, generator=torch.Generator().manual_seed(1))
    options = {"none": {}, "positive": {"weights": drawn.abs(), "bias": 0.5}, "mixed": {"weights": drawn, "bias": -2.0}}
    values = RULES["template"](support, LABELS, queries, **options[signs])
    weights, bias = options[signs].get("weights", torch.ones(6)), options[signs].get("bias", 0.0)
    for episode, label in np.ndindex(2, 3):
        template = support[episode][label == LABELS].mean(dim=0)
        loop = [float((weights * (query - template).abs()).sum() + bias) for query in queries[episode]]
        np.testing.assert_allclose(values[episode, :, label].numpy(), loop, rtol=1e-4, atol=1e-5)


def test_template_tells_far_classes_apart_where_the_probability_is_1():
    support, queries = torch.tensor([[0.0], [100.0], [101.0]]), torch.tensor([[30.0]])
    values = RULES["template"](support, torch.arange(3), queries)
    assert values.sigmoid().tolist() == [[1.0, 1.0, 1.0]]
    assert values.argmin().item() == 0


def test_template_refuses_weights_of_another_encoder():
    support, queries = episodes(1, 6)
    with pytest.raises(
        ValueError, match=r"weights must have shape \(6,\), one per coordinate of the embedding, got \(5,\)"
    ):
        RULES["template"](support, LABELS, queries, weights=torch.ones(5))


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_simpleshot_by_cosine_is_easyfsls(offset):
    support, queries = (rows[0] + offset for rows in episodes(1, 16))
    given = torch.randn(16, generator=torch.Generator().manual_seed(1)) + offset
    own = torch.stack([support[label == LABELS].mean(dim=0) for label in range(3)]).mean(dim=0)
    for centre, theirs_on in ((given, given), (None, own)):
        theirs = SimpleShot(feature_centering=theirs_on, feature_normalization=2.0)
        theirs.process_support_set(support, LABELS)
        ours = RULES["simpleshot"](support, LABELS, queries, distance="cosine", centre=centre)
        torch.testing.assert_close(1 - ours, theirs(queries), rtol=1e-4, atol=1e-5)


def test_simpleshot_refuses_a_centre_of_another_encoder():
    support, queries = episodes(1, 6)
    with pytest.raises(ValueError, match=r"centre must have shape \(6,\), one per coordinate of the embedding, got"):
        RULES["simpleshot"](support, LABELS, queries, centre=torch.zeros(1, 6))


@pytest.mark.parametrize("dim", [4, 32])
@pytest.mark.parametrize("penalty", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(("longest", "centre"), [(1, 0), (20, 5)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # it cannot get nearer, and says so
def test_linear_probe_is_scikit_learns_logistic_regression(dim, penalty, longest, centre):
    axes = torch.linspace(1, longest, dim).double()
    support, queries = (rows.double() * axes + centre for rows in episodes(4, dim))
    shares = (-RULES["linear_probe"](support, LABELS, queries, penalty=penalty)).exp()
    for episode in range(4):
        theirs = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-12, max_iter=1000)
        theirs.fit(support[episode].numpy(), LABELS.numpy())
        np.testing.assert_allclose(shares[episode].numpy(), theirs.predict_proba(queries[episode].numpy()), atol=1e-7)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_linear_probe_takes_identical_exemplars_and_embeddings_of_any_size(scale):
    support, queries = (scale * rows for rows in episodes(3, 8))
    support[:, 1] = support[:, 3]
    values = RULES["linear_probe"](support, LABELS, queries)
    assert values.isfinite().all()
    torch.testing.assert_close((-values).exp().sum(dim=-1), torch.ones(3, 20))
    torch.testing.assert_close(RULES["linear_probe"](support[1], LABELS, queries[1]), values[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dim", [4, 32])
@pytest.mark.parametrize("penalty", [0.01, 1.0, 100.0])
def test_ridge_is_scikit_learns(dim, penalty):
    support, queries = (rows.double() for rows in episodes(4, dim))
    values = RULES["ridge"](support, LABELS, queries, penalty=penalty)
    for episode in range(4):
        theirs = Ridge(alpha=penalty).fit(support[episode].numpy(), np.eye(3)[LABELS.numpy()])
        np.testing.assert_allclose(1 - values[episode].numpy(), theirs.predict(queries[episode].numpy()), atol=1e-9)


@pytest.mark.parametrize("name", ["linear_probe", "ridge"])
def test_a_penalty_is_above_zero(name):
    support, queries = episodes(1, 4)
    with pytest.raises(ValueError, match="penalty must be above 0, got 0"):
        RULES[name](support, LABELS, queries, penalty=0)

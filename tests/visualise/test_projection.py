import sys

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.metrics import silhouette_samples

from fewshot_cxr.visualise.projection import (
    PROJECTIONS,
    TSNE_PUBLISHED,
    compared_rows,
    project,
)
from fewshot_cxr.visualise.set_apart import published_rows, silhouette

# The first call of UMAP in a process compiles for half a minute.
METHODS = [pytest.param(name, marks=[pytest.mark.slow] * (name == "umap")) for name in sorted(PROJECTIONS)]
QUICK = {"pca": {}, "tsne": {"max_iter": 300}, "umap": {}}
# umap asks for a Tensorflow that it can do without.
pytestmark = pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")


def blobs(n_each=12, dim=20, n_groups=3, spread=8.0, seed=0):
    draw = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), n_each)
    return spread * draw.standard_normal((n_groups, dim))[groups] + draw.standard_normal((len(groups), dim)), groups


@pytest.mark.parametrize("method", METHODS)
def test_a_projection_keeps_the_contract(method):
    vectors, groups = blobs()
    seen, n_threads = np.random.get_state()[1].copy(), torch.get_num_threads()
    first, again = (project(vectors, method=method, seed=3, **QUICK[method]) for _ in range(2))
    assert first.points.shape == (len(vectors), 2)
    assert first.points.dtype == np.float32
    assert np.isfinite(first.points).all()
    assert np.array_equal(first.points, again.points)
    assert first.method == method
    assert first.settings["seed"] == 3
    assert first.settings["distance"] == "euclidean"
    assert np.allclose(first.vectors, vectors, atol=1e-5)
    assert 0.5 < first.trustworthiness <= 1
    assert silhouette(first.points, groups) > 0.5, "blobs far apart stay apart"
    assert (np.random.get_state()[1] == seen).all(), "the global generator was used"
    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["few", "copies", "constant columns", "a line", "one column", "two places"])
def test_strange_embeddings_are_mapped(method, kind):
    vectors, _ = blobs(n_each=4)
    vectors = {
        "few": vectors[:4],
        "copies": vectors[[0, 0, 0, 1, 1, 2, 3, 4]],
        "constant columns": np.hstack([vectors, np.ones((len(vectors), 3))]),
        "a line": np.outer(np.arange(9.0), np.ones(5)),
        "one column": vectors[:, :1],
        "two places": vectors[[0] * 5 + [1]],
    }[kind]
    projection = project(vectors, method=method, **QUICK[method])
    assert np.isfinite(projection.points).all()
    assert len(projection.points) == len(vectors)


@pytest.mark.parametrize("n_films", [2, 3])
def test_two_and_three_films(n_films):
    vectors, _ = blobs()
    projection = project(vectors[:n_films], method="pca")
    between = np.linalg.norm(vectors[0] - vectors[1])
    assert np.linalg.norm(projection.points[0] - projection.points[1]) == pytest.approx(between, rel=1e-5)
    assert (projection.trustworthiness is None) == (n_films == 2)
    with pytest.raises(ValueError, match=rf"^t-SNE needs at least 4 films, got {n_films}; take the method pca$"):
        project(vectors[:n_films], method="tsne")


def test_pca_is_that_of_scikit_learn_with_a_sign_that_rows_cannot_turn():
    vectors, _ = blobs(n_each=8)
    projection = project(vectors, method="pca")
    fitted = PCA(2).fit(vectors)
    assert np.allclose(np.abs(projection.points), np.abs(fitted.transform(vectors)), atol=1e-4)
    assert projection.settings["variance_shares"] == pytest.approx(tuple(fitted.explained_variance_ratio_))
    order = np.random.default_rng(1).permutation(len(vectors))
    assert np.allclose(project(vectors[order], method="pca").points, projection.points[order], atol=1e-4)


def test_trustworthiness_is_that_of_scikit_learn():
    vectors, _ = blobs(n_each=9)
    projection = project(vectors, method="pca")
    assert projection.trustworthiness == pytest.approx(trustworthiness(vectors, projection.points, n_neighbors=5))
    assert projection.settings["n_trusted"] == len(vectors)


def test_of_many_films_trustworthiness_takes_some():
    vectors, _ = blobs(n_each=800, dim=3)
    projection = project(vectors, method="pca", seed=1)
    assert projection.settings["n_trusted"] == 2000
    assert projection.trustworthiness == project(vectors, method="pca", seed=1).trustworthiness
    assert projection.trustworthiness != project(vectors, method="pca", seed=2).trustworthiness


def test_cosine_looks_at_directions_only():
    vectors, _ = blobs()
    longer = vectors * np.linspace(0.1, 9, len(vectors))[:, None]
    one, other = (project(rows, method="pca", distance="cosine") for rows in (vectors, longer))
    assert np.allclose(one.points, other.points, atol=1e-5)
    assert np.allclose(np.linalg.norm(one.vectors, axis=1), 1)
    zero = np.vstack([vectors, np.zeros(vectors.shape[1])])
    assert not compared_rows(zero, "cosine")[-1].any()


def test_few_films_lower_the_perplexity_and_say_so():
    vectors, _ = blobs(n_each=5)
    projection = project(vectors, method="tsne", max_iter=250)
    assert projection.settings["perplexity"] == pytest.approx(14 / 3)
    assert projection.notes == ("15 films are few for t-SNE: perplexity 4.67 in place of 30.",)
    many, _ = blobs(n_each=31)
    assert project(many, method="tsne", max_iter=250).settings["perplexity"] == 30
    with pytest.raises(ValueError, match=r"^perplexity must be below the number of films, 15, got 25; leave it out$"):
        project(vectors, **TSNE_PUBLISHED)


@pytest.mark.slow
def test_few_films_lower_the_neighbours_of_umap_and_say_so():
    vectors, _ = blobs(n_each=5)
    assert project(vectors, method="umap").notes == ("15 neighbours are too many for 15 films; 14 were taken.",)
    with pytest.raises(ValueError, match=r"^UMAP needs at least 4 films, got 3; take the method pca$"):
        project(vectors[:3], method="umap")


def test_the_published_settings():
    vectors, groups = blobs(n_each=11)
    rows = published_rows(groups.tolist())
    assert rows.tolist() == [*range(10), *range(11, 21), *range(22, 32)]
    projection = project(vectors[rows], **TSNE_PUBLISHED | {"max_iter": 300})
    wanted = {
        "perplexity": 25,
        "learning_rate": 777,
        "min_grad_norm": 1e-7,
        "init": "pca",
        "is_exact": True,
        "seed": 42,
    }
    assert projection.settings.items() >= (wanted | {"n_iter_without_progress": 1000}).items()
    assert TSNE_PUBLISHED["max_iter"] == 1_000_000


def test_silhouette_is_the_mean_over_films():
    vectors, groups = blobs(spread=0.7)
    names = [f"finding {group}" for group in groups]
    assert silhouette(vectors, names) == pytest.approx(silhouette_samples(vectors, groups).mean())
    cosine = silhouette_samples(vectors, groups, metric="cosine").mean()
    assert silhouette(vectors, names, distance="cosine") == pytest.approx(cosine)
    assert silhouette(vectors, ["one"] * len(names)) is None
    assert silhouette(vectors, range(len(names))) is None


def test_silhouette_by_hand():
    # Two pairs: 1 apart within, so that a = 1; b is the mean distance to the other pair.
    vectors = np.array([[0.0], [1.0], [10.0], [11.0]])
    by_film = [(10.5 - 1) / 10.5, (9.5 - 1) / 9.5] * 2
    assert silhouette(vectors, ["a", "a", "b", "b"]) == pytest.approx(np.mean(by_film))


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((1, 3)), r"a map needs vectors of shape \(N, dim\) with at least 2 rows, got \(1, 3\)"),
        (np.ones(3), r"a map needs vectors of shape \(N, dim\) with at least 2 rows, got \(3,\)"),
        (np.ones((3, 0)), r"a map needs vectors of shape \(N, dim\) with at least 2 rows, got \(3, 0\)"),
        ([[0.0], [np.nan]], "row 1 of vectors is not finite; a diverged encoder"),
        ([[np.inf], [0.0]], "row 0 of vectors is not finite; a diverged encoder"),
        (np.ones((4, 3)), "all 4 vectors are the same, so that there is nothing to map; a collapsed encoder"),
    ],
)
def test_vectors_that_cannot_be_mapped_are_refused(vectors, message):
    with pytest.raises(ValueError, match=message):
        project(vectors, method="pca")


def test_options_that_do_not_exist_are_refused():
    vectors, _ = blobs()
    with pytest.raises(ValueError, match=r"unknown projection 'tsen' \(did you mean 'tsne'\?\); choose from"):
        project(vectors, method="tsen")
    with pytest.raises(ValueError, match=r"^distance must be one of euclidean, cosine, got 'l1'$"):
        project(vectors, distance="l1")
    with pytest.raises(TypeError, match="perplexty"):
        project(vectors, perplexty=3)
    with pytest.raises(ValueError, match="each film needs a group, got 1 groups for 36 films"):
        silhouette(vectors, ["a"])


def test_umap_refuses_what_it_cannot_measure_and_the_others_take_it():
    vectors = blobs()[0] * 1e20
    message = r"^the vectors reach [1-9]e\+21, and UMAP measures no distance above 2e\+19; divide them all by one"
    with pytest.raises(ValueError, match=message):
        project(vectors, method="umap")
    for method in ("pca", "tsne"):
        assert np.isfinite(project(vectors, method=method, **QUICK[method]).points).all()


def test_umap_that_is_not_installed_says_how(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r'^UMAP is not installed; pip install "fewshot_cxr\[umap\]", or take'):
        project(blobs()[0], method="umap")

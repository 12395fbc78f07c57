import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.inference import RULES

LABELS = torch.tensor([0, 0, 0, 1, 1, 2])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_a_rule_keeps_the_contract(name, distance):
    support, queries = draw(4, 6, 8), draw(4, 5, 8, seed=1)
    values = RULES[name](support, LABELS, queries, distance=distance)
    assert values.shape == (4, 5, 3)
    assert torch.isfinite(values).all()
    alone = RULES[name](support[2], LABELS, queries[2], distance=distance)
    torch.testing.assert_close(values[2], alone)
    order = torch.tensor([5, 3, 0, 4, 2, 1])
    torch.testing.assert_close(values, RULES[name](support[:, order], LABELS[order], queries, distance=distance))


@pytest.mark.parametrize("name", sorted(RULES))
def test_an_exemplar_seen_again_is_recognised(name):
    support = torch.eye(3).repeat_interleave(2, dim=0) * 10
    values = RULES[name](support, torch.tensor([0, 0, 1, 1, 2, 2]), torch.eye(3) * 10, distance="euclidean")
    assert values.argmin(dim=-1).tolist() == [0, 1, 2]


def test_prototype_is_scikit_learns_nearest_centroid():
    support, queries = draw(30, 5), draw(200, 5, seed=1)
    labels = torch.arange(3).repeat(10)
    ours = RULES["prototype"](support, labels, queries, distance="euclidean").argmin(-1)
    assert (NearestCentroid().fit(support, labels).predict(queries) == ours.numpy()).all()


def test_mean_distance_is_the_mean_over_exemplars():
    support, queries = draw(6, 5), draw(7, 5, seed=1)
    ours = RULES["mean_distance"](support, LABELS, queries, distance="l1")
    for label in range(3):
        loop = [np.mean([float((q - s).abs().sum()) for s in support[label == LABELS]]) for q in queries]
        np.testing.assert_allclose(ours[:, label].numpy(), loop, rtol=1e-5)


def test_published_means_are_reproduced():
    # system 1, figure 7: with one "unknown" exemplar its distance is its mean, and it wins over covid: an error there
    values = RULES["mean_distance"](
        torch.tensor([[0.996312], [1.168087], [0.869112]]), torch.tensor([0, 1, 2]), torch.zeros(1, 1), distance="l1"
    )
    assert values.argmin().item() == 2


@pytest.mark.parametrize("k", [1, 3, 5])
def test_knn_votes_as_scikit_learn_where_votes_differ(k):
    support, queries = draw(30, 4), draw(300, 4, seed=1)
    labels = torch.arange(3).repeat(10)
    ours = RULES["knn"](support, labels, queries, distance="euclidean", k=k)
    shares = KNeighborsClassifier(k).fit(support, labels).predict_proba(queries)
    top_two = np.sort(shares, axis=1)[:, -2:]
    decided = top_two[:, 1] > top_two[:, 0]
    assert decided.mean() > 0.5
    assert (shares.argmax(1)[decided] == ours.argmin(-1).numpy()[decided]).all()


def test_knn_ties_go_to_the_nearest_exemplar():
    support = torch.tensor([[1.0], [-2.0], [3.0], [-2.5]])
    values = RULES["knn"](support, torch.tensor([1, 0, 1, 0]), torch.zeros(1, 1), distance="l1", k=4)
    assert values.argmin().item() == 1


def test_knn_refuses_no_neighbours():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        RULES["knn"](draw(6, 2), LABELS, draw(1, 2), k=0)

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from fewshot_cxr.distances import DISTANCES, class_averages, mean_distances, pairwise_distances

SCIPY = {"euclidean": "euclidean", "squared_euclidean": "sqeuclidean", "cosine": "cosine", "l1": "cityblock"}


@pytest.mark.parametrize("name", sorted(DISTANCES))
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_distances_equal_scipys(name, offset):
    rows, columns = torch.randn(5, 16) + offset, torch.randn(7, 16) + offset
    expected = cdist(rows.double().numpy(), columns.double().numpy(), SCIPY[name])
    np.testing.assert_allclose(pairwise_distances(rows, columns, name).numpy(), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_distances_are_batched(name):
    rows, columns = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    together = pairwise_distances(rows, columns, name)
    for index in range(3):
        torch.testing.assert_close(together[index], pairwise_distances(rows[index], columns[index], name))


def test_mean_distances_equal_a_slow_loop():
    queries, support = torch.randn(6, 4), torch.randn(5, 4)
    labels = torch.tensor([0, 2, 1, 2, 0])
    got = mean_distances(queries, support, labels, "euclidean")
    for q in range(6):
        for label in range(3):
            own = [float((queries[q] - support[s]).norm()) for s in range(5) if labels[s] == label]
            assert float(got[q, label]) == pytest.approx(sum(own) / len(own), rel=1e-5)


def test_the_door_is_guarded():
    with pytest.raises(ValueError, match="dim 3 cannot be compared with dim 4"):
        pairwise_distances(torch.zeros(1, 3), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="unknown distance 'manhatten'"):
        pairwise_distances(torch.zeros(1, 3), torch.zeros(1, 3), "manhatten")
    with pytest.raises(ValueError, match=r"labels must hold every class 0..n_way-1, got \[0, 2\]"):
        class_averages(torch.tensor([0, 2]))

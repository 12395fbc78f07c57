import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.objectives import triplet_statistics

SCIPY = {"euclidean": "euclidean", "squared_euclidean": "sqeuclidean", "cosine": "cosine", "l1": "cityblock"}


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize("margin", [0.1, 1.0, 3.0])
def test_statistics_equal_a_slow_loop(distance, margin):
    class_ids = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1, 3])
    embeddings = torch.randn(10, 8, generator=torch.Generator().manual_seed(0)) + class_ids[:, None]
    distances = cdist(embeddings.double().numpy(), embeddings.double().numpy(), SCIPY[distance])
    is_active = [
        distances[a, n] - distances[a, p] < margin
        for a in range(10)
        for p in range(10)
        for n in range(10)
        if a != p and class_ids[a] == class_ids[p] and class_ids[a] != class_ids[n]
    ]
    pairs = [distances[a, b] for a in range(10) for b in range(10) if a != b]
    got = triplet_statistics(embeddings, class_ids, distance=distance, margin=margin)
    assert got["active_share"].item() == pytest.approx(sum(is_active) / len(is_active), abs=1e-6)
    assert got["distance_spread"].item() == pytest.approx(np.std(pairs, ddof=1) / np.mean(pairs), rel=1e-5)


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_collapsed_embeddings_have_no_spread(distance):
    for seed in range(5):
        one_point = torch.randn(1, 128, generator=torch.Generator().manual_seed(seed)).expand(48, -1)
        got = triplet_statistics(one_point, torch.arange(48) % 3, distance=distance, margin=0.2)
        assert got["distance_spread"].item() == 0
        assert got["active_share"].item() == 1


def test_one_direction_has_no_spread_by_cosine():
    lengths = 1 + torch.arange(48).unsqueeze(1) / 7
    one_direction = torch.randn(1, 128, generator=torch.Generator().manual_seed(0)) * lengths
    got = triplet_statistics(one_direction, torch.arange(48) % 3, distance="cosine", margin=0.2)
    assert got["distance_spread"].item() == 0


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_well_separated_classes_have_no_active_triplet(distance):
    class_ids = torch.arange(12) % 3
    got = triplet_statistics(torch.eye(3)[class_ids] * 100, class_ids, distance=distance, margin=0.2)
    assert got["active_share"].item() == 0
    assert got["distance_spread"].item() > 0.5


@pytest.mark.parametrize("class_ids", [[1, 1, 1, 1], [0, 1, 2, 3]], ids=["one class", "no positive"])
def test_a_batch_without_triplets_has_none_active(class_ids):
    got = triplet_statistics(torch.randn(4, 8), torch.tensor(class_ids), distance="euclidean", margin=1.0)
    assert got["active_share"].item() == 0
    assert got["distance_spread"].isfinite()


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_mixed_precision_changes_nothing(distance):
    embeddings, class_ids = torch.randn(24, 8, requires_grad=True), torch.arange(24) % 3
    plain = triplet_statistics(embeddings, class_ids, distance=distance, margin=0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = triplet_statistics(embeddings, class_ids, distance=distance, margin=0.5)
    assert plain == mixed
    assert not plain["distance_spread"].requires_grad

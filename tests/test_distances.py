import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from fewshot_cxr.distances import DISTANCES, TableDistances, class_means, mean_distances, pairwise_distances

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


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_many_episodes_measure_what_one_does(offset):
    rows, columns = torch.randn(2, 3, 15, 32) + offset, torch.randn(2, 3, 25, 32) + offset
    rows[0, 1, 4] = columns[0, 1, 7]
    rows[1, 2, 0] = columns[1, 2, 3] + 1e-4
    together = pairwise_distances(rows, columns)
    assert together[0, 1, 4, 7] == 0
    for first, second in np.ndindex(2, 3):
        alone = pairwise_distances(rows[first, second], columns[first, second])
        torch.testing.assert_close(together[first, second], alone, rtol=2e-4, atol=1e-5)
    near = pairwise_distances(rows[1, 2].double(), columns[1, 2].double())
    assert float(together[1, 2, 0, 3]) == pytest.approx(float(near[0, 3]), rel=1e-6)


def test_columns_are_shared_between_episodes():
    rows, columns = torch.randn(4, 5, 8), torch.randn(3, 8)
    rows[2, 1] = columns[1]
    for name in DISTANCES:
        together = pairwise_distances(rows, columns, name)
        torch.testing.assert_close(together, pairwise_distances(rows, columns.expand(4, 3, 8), name))


@pytest.mark.parametrize("name", sorted(DISTANCES))
@pytest.mark.parametrize("n_columns", [2, 5, 7, 26, 33])
def test_identical_columns_tie_exactly(name, n_columns):
    # A matrix product alone ends on other digits in its last columns.
    rows, column = torch.randn(16, 75, 128), torch.randn(16, 1, 128)
    for columns in (column.expand(16, n_columns, 128).contiguous(), column.expand(16, n_columns, 128)):
        values = pairwise_distances(rows, columns, name)
        assert (values == values[..., :1]).all()
        alone = pairwise_distances(rows[0], columns[0], name)
        assert (alone == alone[..., :1]).all()


@pytest.mark.parametrize("name", ["cosine", "euclidean", "squared_euclidean"])
def test_copies_tie_in_each_episode_for_itself(name):
    numbers = torch.Generator().manual_seed(0)
    columns = torch.randn(6, 40, 16, generator=numbers)
    copied = torch.randint(40, (6, 40), generator=numbers)
    columns[1:5] = columns[1:5].gather(1, copied[1:5].unsqueeze(-1).expand(-1, -1, 16))
    rows = torch.randn(6, 5, 16, generator=numbers)
    found = pairwise_distances(rows, columns, name)
    slow = torch.cdist(rows.double(), columns.double())
    slow = {"cosine": slow, "euclidean": slow, "squared_euclidean": slow**2}[name]
    for episode in range(6):
        is_copy = (columns[episode].unsqueeze(0) == columns[episode].unsqueeze(1)).all(dim=-1)
        ties = found[episode].unsqueeze(-1) == found[episode].unsqueeze(-2)
        assert ties[:, is_copy].all(), episode
    if name != "cosine":
        torch.testing.assert_close(found.double(), slow, rtol=1e-4, atol=1e-4)


def test_copies_of_another_episode_are_none():
    # In bfloat16 256 and 257 are one number, and so are 0 and -0.
    columns = torch.randn(300, 4, 8, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    columns[:, 3] = columns[:, 2]
    columns[256, 2:] = columns[257, :2] = columns[257, 2:]
    columns[0, 2:, 0] = torch.tensor([0.0, -0.0])
    rows = torch.randn(300, 3, 8, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    found = pairwise_distances(rows, columns, "cosine")
    alone = torch.stack([pairwise_distances(*one, "cosine") for one in zip(rows, columns, strict=True)])
    torch.testing.assert_close(found, alone, rtol=0.02, atol=0.02)
    assert torch.equal(found[..., 2], found[..., 3])


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_a_hundred_thousand_columns_are_never_measured_against_each_other(name):
    columns = torch.randn(100_000, 8, generator=torch.Generator().manual_seed(0))  # of which many have the same mark
    columns[-3:] = columns[:3]
    found = pairwise_distances(columns[10:11], columns, name)  # 40 GB, if they were
    assert torch.equal(found[0, -3:], found[0, :3])
    assert int(found.argmin()) == 10


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_gradients_are_finite_at_zero_and_go_to_the_row_itself(name):
    points = torch.randn(2, 4, 8)
    points[:, 1] = points[:, 0]
    points.requires_grad_()
    pairwise_distances(points, points.detach(), name)[:, 1, 2].sum().backward()
    assert torch.isfinite(points.grad).all()
    assert not points.grad[:, 0].any()
    columns = points.detach().clone().requires_grad_()
    pairwise_distances(points.detach(), columns, name)[:, 2, 1].sum().backward()
    if name != "squared_euclidean":  # its gradient runs through the mean column as well, which cancels but for rounding
        assert not columns.grad[:, 0].any()
    assert columns.grad[:, 1].any()


@pytest.mark.parametrize("dim", [-2, -1])
def test_class_means_equal_a_slow_loop(dim):
    values, labels = torch.randn(3, 6, 6), torch.tensor([0, 2, 1, 2, 0, 2])
    got = class_means(values, labels, dim=dim)
    for label in range(3):
        own = [values.select(dim, index) for index in range(6) if labels[index] == label]
        torch.testing.assert_close(got.select(dim, label), torch.stack(own).mean(dim=0))


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
        class_means(torch.zeros(2, 1), torch.tensor([0, 2]))


@pytest.mark.parametrize("spread", [1.0, 1e-6])
@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_rows_of_a_table_are_measured_as_themselves(distance, spread):
    draw = torch.Generator().manual_seed(0)
    table = 1 + spread * torch.randn(30, 8, generator=draw)
    table[7] = table[3]  # copies must tie
    rows, columns = torch.randint(30, (40, 9), generator=draw), torch.randint(30, (40, 6), generator=draw)
    columns[:, :2] = torch.tensor([3, 7])
    found = TableDistances(table, distance)(rows, columns)
    torch.testing.assert_close(found, pairwise_distances(table[rows], table[columns], distance), atol=1e-6, rtol=1e-5)
    assert (found[..., 0] == found[..., 1]).all()

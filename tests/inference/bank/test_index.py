import subprocess
import sys

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fewshot_cxr.distances import DISTANCES, pairwise_distances
from fewshot_cxr.inference.bank import NearestIndex, knn_by_index, nearest_by_index
from fewshot_cxr.inference.bank import index as index_module
from fewshot_cxr.inference.rules import RULES

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)


def draw(n, dim=16, *, seed=0, copies=0):
    """Vectors, the last of which are copies of the first."""
    vectors = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    vectors[n - copies :] = vectors[:copies]
    return vectors


def measured(queries, vectors, distance):
    return pairwise_distances(torch.from_numpy(queries).double(), torch.from_numpy(vectors).double(), distance).numpy()


def in_order(distances, names, k):
    """Rows of the k nearest, ties by name: a loop over queries."""
    return np.array([sorted(range(len(names)), key=lambda row: (own[row], names[row]))[:k] for own in distances])


def names_of(n, seed=0):
    return [f"{name}.png" for name in np.random.default_rng(seed).permutation(n)]


def heaps(n, *, n_heaps=20, seed=0):
    """Vectors in heaps that lie in eight of their 32 directions, as embeddings do."""
    numbers = np.random.default_rng(seed)
    plane = np.random.default_rng(1).standard_normal((8, 32))
    centres = 3 * np.random.default_rng(2).standard_normal((n_heaps, 8))
    points = centres[numbers.integers(0, n_heaps, n)] + numbers.standard_normal((n, 8))
    return (points @ plane + 0.1 * numbers.standard_normal((n, 32))).astype(np.float32)


@pytest.fixture
def whole_measures(monkeypatch):
    """How often all vectors are measured, since faiss alone could not tell which are nearest."""
    counted, whole = [], NearestIndex._by_measuring_all

    def counting(self, *arguments):
        counted.append(1)
        return whole(self, *arguments)

    monkeypatch.setattr(NearestIndex, "_by_measuring_all", counting)
    return counted


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize("n_queries", [1, 50])
@pytest.mark.parametrize("offset", [0, 300])
def test_the_nearest_are_those_of_our_own_distances(distance, n_queries, offset, whole_measures):
    vectors, queries, names = draw(3000, copies=5) + offset, draw(n_queries, seed=1) + offset, names_of(3000)
    rows, distances = NearestIndex(vectors, distance=distance, paths=names).search(queries, 10)
    ours = measured(queries, vectors, distance)
    assert np.allclose(distances, np.sort(ours, axis=1)[:, :10], rtol=1e-9, atol=1e-12)
    if distance == "cosine" and offset:  # angles of a thousandth: 32 bits tell them apart badly, 64 well
        assert np.allclose(np.take_along_axis(ours, rows, axis=1), distances, atol=1e-12)
    else:
        assert np.array_equal(rows, in_order(ours, names, 10))
        assert not whole_measures


@given(data=st.data())
@EXAMPLES
def test_ties_are_ordered_by_path_whatever_the_order_of_rows(data):
    n, dim = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 3))
    whole = arrays.arrays(np.int64, (n + 3, dim), elements=st.integers(-3, 3))
    points = data.draw(whole)
    vectors, queries = points[:n].astype(np.float32), points[n:].astype(np.float32)
    names, k = data.draw(st.permutations([f"{row:02}" for row in range(n)])), data.draw(st.integers(1, 45))
    distance = data.draw(st.sampled_from(["euclidean", "squared_euclidean", "l1"]))
    apart = points[n:, None] - points[None, :n]
    wholly = np.abs(apart).sum(axis=2) if distance == "l1" else (apart**2).sum(axis=2)  # whole numbers: no rounding
    rows, distances = NearestIndex(vectors, distance=distance, paths=names).search(queries, k)
    assert np.array_equal(rows, in_order(wholly, names, k))
    nearest = np.take_along_axis(wholly, rows, axis=1)
    assert np.array_equal(distances, np.sqrt(nearest) if distance == "euclidean" else nearest)
    order = data.draw(st.permutations(range(n)))
    shuffled, _ = NearestIndex(vectors[order], distance=distance, paths=[names[row] for row in order]).search(
        queries, k
    )
    assert [[names[order[row]] for row in own] for own in shuffled] == [[names[row] for row in own] for own in rows]


def test_without_paths_ties_are_ordered_by_row():
    rows, distances = NearestIndex(np.ones((6, 2), dtype=np.float32)).search(np.zeros((2, 2), dtype=np.float32), 4)
    assert rows.tolist() == [[0, 1, 2, 3]] * 2
    assert distances == pytest.approx(np.full((2, 4), 2**0.5))


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize("size", [1e-30, 1e15, 1e30])
def test_the_unit_does_not_matter(distance, size):
    vectors, queries = draw(500), draw(3, seed=1)
    here, there = (
        NearestIndex(times * vectors, distance=distance).search(times * queries, 5)[0]
        for times in (np.float32(1), np.float32(size))
    )
    assert np.array_equal(here, there)


def test_more_copies_than_are_looked_at_are_all_measured(whole_measures):
    vectors = np.concatenate([draw(300), np.full((200, 16), 0.01, dtype=np.float32)])
    names = names_of(500)
    rows, _ = NearestIndex(vectors, paths=names).search(np.zeros((2, 16), dtype=np.float32), 5)
    assert whole_measures == [1, 1]
    assert rows.tolist() == [sorted(range(300, 500), key=names.__getitem__)[:5]] * 2


def test_queries_far_from_all_are_measured_in_64_bits(whole_measures):
    vectors, queries = draw(300), 1e25 * draw(2, seed=1)
    rows, distances = NearestIndex(vectors).search(queries, 3)
    assert len(whole_measures) == 2
    assert np.array_equal(distances, np.take_along_axis(measured(queries, vectors, "euclidean"), rows, axis=1))


def test_a_zero_vector_has_cosine_0_with_everything():
    vectors = np.array([[0, 0], [1, 0], [0, 0], [-1, 0]], dtype=np.float32)
    queries = np.array([[2, 0], [0, 0]], dtype=np.float32)
    rows, distances = NearestIndex(vectors, distance="cosine").search(queries, 4)
    assert rows.tolist() == [[1, 0, 2, 3], [0, 1, 2, 3]]
    assert distances.tolist() == [[0, 1, 1, 2], [1, 1, 1, 1]]


@pytest.mark.parametrize("kind", ["exact", "ivf", "hnsw"])
@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_only_those_that_are_allowed_are_found(kind, distance):
    vectors, queries = heaps(3000), heaps(30, seed=9)
    among = np.random.default_rng(0).random(3000) < 0.1
    rows, distances = NearestIndex(vectors, distance=distance, kind=kind).search(queries, 7, among=among)
    assert among[rows].all()
    ours = measured(queries, vectors, distance)
    assert np.allclose(distances, np.take_along_axis(ours, rows, axis=1), rtol=1e-9, atol=1e-9)
    best = np.sort(ours[:, among], axis=1)[:, 6:7]
    assert (distances <= best + 1e-9).mean() >= (1 if kind == "exact" else 0.8)


def test_a_memory_mapped_file_is_the_same_as_an_array(tmp_path, monkeypatch):
    monkeypatch.setattr(index_module, "BLOCK", 100)
    vectors, queries = draw(730), draw(20, seed=1)
    mapped = np.memmap(tmp_path / "vectors", np.float32, "w+", shape=vectors.shape)
    mapped[:] = vectors
    for kind in ("exact", "ivf", "hnsw"):
        here, there = (NearestIndex(those, kind=kind).search(queries, 3) for those in (vectors, mapped))
        assert np.array_equal(here, there), kind


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_an_approximate_index_finds_what_it_says(kind, distance):
    vectors, queries = heaps(6000), heaps(200, seed=5)
    index = NearestIndex(vectors, kind=kind, distance=distance)
    rows, distances = index.search(queries, 10)
    ours = measured(queries, vectors, distance)
    found = (distances <= np.sort(ours, axis=1)[:, 9:10] + 1e-9).mean()
    assert index.recall_at_10 >= index_module.RECALL
    assert found == pytest.approx(index.recall_at_10, abs=0.05)
    assert np.allclose(distances, np.take_along_axis(ours, rows, axis=1), rtol=1e-9, atol=1e-9)
    assert repr(index).endswith(f"{kind}, effort {index.effort}, recall@10 {index.recall_at_10:.4g})")


def test_the_search_goes_farther_until_the_recall_is_there(monkeypatch):
    vectors = draw(4000, 32)  # no heaps, all directions alike: the hardest case
    index = NearestIndex(vectors, kind="ivf")
    assert index.effort > 8
    assert index.recall_at_10 >= 0.95
    monkeypatch.setattr(index_module, "RECALL", 0.2)
    hasty = NearestIndex(vectors, kind="ivf")
    assert (hasty.effort, hasty.recall_at_10 < index.recall_at_10) == (8, True)


def test_a_graph_that_finds_too_few_gives_way_to_cells(monkeypatch):
    vectors, queries = heaps(6000, n_heaps=60), heaps(50, seed=5)
    for name, few in (("_LINKS", 2), ("_BUILD_EFFORT", 2), ("_MOST_CANDIDATES", 64)):
        monkeypatch.setattr(index_module, name, few)
    with pytest.warns(
        UserWarning, match=r"^a graph \(hnsw\) finds \d+% of the ten nearest of these 6,000 vectors, where"
    ):
        index = NearestIndex(vectors, kind="hnsw")
    cells = NearestIndex(vectors, kind="ivf")
    assert repr(index) == repr(cells)
    assert index.recall_at_10 >= 0.95
    assert all(map(np.array_equal, index.search(queries, 10), cells.search(queries, 10)))


def test_the_recall_is_that_of_a_loop(monkeypatch):
    monkeypatch.setattr(index_module, "RECALL", 0.0)
    monkeypatch.setattr(index_module, "_N_ASKED", 2000)
    vectors = draw(2000, 8)
    index = NearestIndex(vectors, kind="ivf")
    ours = measured(vectors, vectors, "euclidean")
    np.fill_diagonal(ours, np.inf)
    rows, _ = index.search(vectors, 11)
    best = np.argsort(ours, axis=1)[:, :10]
    shares = [len({*found} & {*wanted}) / 10 for found, wanted in zip(rows.tolist(), best.tolist(), strict=True)]
    assert 0.3 < index.recall_at_10 < 0.99
    assert np.mean(shares) == pytest.approx(index.recall_at_10, abs=1e-9)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
@pytest.mark.parametrize("n", [1, 2, 9, 70])
def test_an_approximate_index_of_few_vectors_gives_as_many_as_asked(kind, n, capfd):
    index = NearestIndex(draw(n), kind=kind)
    rows, _ = index.search(draw(3, seed=1), n)
    assert np.array_equal(np.sort(rows, axis=1), np.tile(np.arange(n), (3, 1)))
    assert capfd.readouterr() == ("", "")


def test_above_a_size_auto_is_approximate(monkeypatch):
    monkeypatch.setattr(index_module, "EXACT_UP_TO", 500)
    few, many = NearestIndex(heaps(500)), NearestIndex(heaps(501))
    assert (few.kind, few.recall_at_10, many.kind) == ("exact", 1.0, "ivf")
    assert repr(few) == "NearestIndex(500 vectors, euclidean, exact)"


def test_the_cells_follow_from_the_seed():
    vectors, queries = draw(3000), draw(20, seed=1)
    found = [NearestIndex(vectors, kind="ivf", seed=seed).search(queries, 20) for seed in (0, 0)]
    assert np.array_equal(*found)


@given(data=st.data())
@EXAMPLES
def test_the_rules_are_the_same_by_index(data):
    n_way, k = data.draw(st.integers(2, 4)), data.draw(st.integers(1, 12))
    n, distance = data.draw(st.integers(n_way, 40)), data.draw(st.sampled_from(sorted(DISTANCES)))
    vectors, queries = (draw(size, 4, seed=data.draw(st.integers(0, 999))) for size in (n, 5))
    copied = data.draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n))
    vectors = vectors[copied] if data.draw(st.booleans()) else vectors
    labels = torch.tensor([*range(n_way), *(data.draw(st.integers(0, n_way - 1)) for _ in range(n - n_way))])
    index = NearestIndex(vectors, distance=distance)
    asked = torch.from_numpy(vectors).double(), labels, torch.from_numpy(queries).double()
    by_rule = RULES["nearest"](*asked, distance=distance)
    torch.testing.assert_close(nearest_by_index(index, labels, queries), by_rule, rtol=1e-6, atol=1e-6)
    by_rule = RULES["knn"](*asked, distance=distance, k=k)
    torch.testing.assert_close(knn_by_index(index, labels, queries, k), by_rule, rtol=1e-6, atol=1e-6)


@given(points=arrays.arrays(np.int64, (25, 2), elements=st.integers(-2, 2)), k=st.integers(1, 22))
@EXAMPLES
def test_ties_for_the_last_vote_are_shared_by_index_too(points, k):
    vectors, queries, labels = points[:20].astype(np.float32), points[20:].astype(np.float32), torch.arange(20) % 3
    index = NearestIndex(vectors, distance="l1")
    by_rule = RULES["knn"](
        torch.from_numpy(vectors).double(), labels, torch.from_numpy(queries).double(), distance="l1", k=k
    )
    torch.testing.assert_close(knn_by_index(index, labels, queries, k), by_rule, rtol=1e-6, atol=1e-6)


def test_the_threads_are_those_of_torch_and_faiss_keeps_its_own(monkeypatch):
    before, used = faiss.omp_get_max_threads(), []
    search = faiss.IndexFlat.search

    def watched(self, *arguments, **options):
        used.append(faiss.omp_get_max_threads())
        return search(self, *arguments, **options)

    monkeypatch.setattr(faiss.IndexFlat, "search", watched)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        NearestIndex(draw(50)).search(draw(2), 3)
    finally:
        torch.set_num_threads(n_threads)
    assert used == [3]
    assert faiss.omp_get_max_threads() == before


@pytest.mark.slow
@pytest.mark.parametrize("first", ["faiss", "torch"])
def test_faiss_and_torch_work_in_one_process_whichever_comes_first(first):
    script = f"""
import {first}
import torch, numpy as np
from fewshot_cxr.inference.bank import NearestIndex
torch.set_num_threads(2)
vectors = np.random.default_rng(0).standard_normal((4000, 64)).astype(np.float32)
for _ in range(3):
    rows, found = NearestIndex(vectors, kind="ivf").search(vectors[:64], 5)
    apart = torch.cdist(torch.from_numpy(vectors[:64]), torch.from_numpy(vectors))
    assert (apart.argmin(dim=1).numpy() == rows[:, 0]).all()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"vectors must have shape \(n, dim\) with n and dim above 0, got \(3,\)"):
        NearestIndex(np.zeros(3))
    with pytest.raises(ValueError, match="row 2 of vectors is not finite"):
        NearestIndex(np.array([[0.0, 1], [1, 1], [np.nan, 0]]))
    with pytest.raises(ValueError, match="unknown kind 'pq'; choose from auto, exact, hnsw, ivf"):
        NearestIndex(draw(3), kind="pq")
    with pytest.raises(ValueError, match="unknown distance"):
        NearestIndex(draw(3), distance="hamming")
    with pytest.raises(ValueError, match="paths has 1 entries for 3 vectors"):
        NearestIndex(draw(3), paths=["a"])
    index = NearestIndex(draw(3))
    with pytest.raises(ValueError, match=r"embeddings of shape \(1, 2\) cannot be compared with dim 16"):
        index.search(np.zeros((1, 2)), 1)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        index.search(draw(1), 0)
    with pytest.raises(ValueError, match="among allows no vector"):
        index.search(draw(1), 1, among=np.zeros(3, dtype=bool))
    with pytest.raises(ValueError, match="labels must hold every class"):
        nearest_by_index(index, torch.tensor([0, 2, 2]), draw(1))
    assert index.search(np.empty((0, 16)), 2)[0].shape == (0, 2)

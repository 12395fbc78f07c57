import shutil

import numpy as np
import pytest
import torch

from fewshot_cxr import Embeddings
from fewshot_cxr.distances import pairwise_distances
from fewshot_cxr.inference.bank import DiskIndex, build_on_disk, disk_building

N, DIM, SIZES = 1500, 16, (400, 1000, 100)


def draw(n, *, seed=0):
    """Vectors in heaps that lie in six of 16 directions, as embeddings do."""
    numbers, shared = np.random.default_rng(seed), np.random.default_rng(1)
    heaps, plane = 3 * shared.standard_normal((12, 6)), shared.standard_normal((6, DIM))
    points = heaps[numbers.integers(0, 12, n)] + numbers.standard_normal((n, 6))
    return (points @ plane + 0.1 * numbers.standard_normal((n, DIM))).astype(np.float32)


VECTORS = draw(N)


def lay(folder):
    parts = np.split(VECTORS, np.cumsum(SIZES)[:-1])
    shards = [folder / f"part{number}.safetensors" for number in range(len(parts))]
    for shard, part in zip(shards, parts, strict=True):
        Embeddings(part, np.zeros(len(part), dtype=int), paths=[f"{row}.png" for row in range(len(part))]).save(shard)
    return shards


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    return lay(folder), build_on_disk(lay(folder), folder / "index", code_bytes=4), folder


def nearest(queries, distance):
    """All distances, as our own arithmetic measures them, and the rows in their order."""
    apart = pairwise_distances(torch.from_numpy(queries).double(), torch.from_numpy(VECTORS).double(), distance).numpy()
    return apart, np.argsort(apart, axis=1, kind="stable")


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "squared_euclidean"])
def test_what_is_found_is_nearest_and_the_recall_is_that_of_a_loop(distance, tmp_path, capfd):
    index, asked = build_on_disk(lay(tmp_path), tmp_path / "index", distance=distance, code_bytes=4), draw(200, seed=5)
    rows, distances = index.search(asked, 10)
    apart, order = nearest(asked, distance)
    np.testing.assert_allclose(distances, np.take_along_axis(apart, rows, axis=1), rtol=1e-9, atol=1e-12)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert len(index) == N
    assert all(len({*found}) == 10 for found in rows.tolist())
    shares = [len({*one} & {*best}) / 10 for one, best in zip(rows.tolist(), order[:, :10].tolist(), strict=True)]
    assert index.recall_at_10 >= 0.95
    assert np.mean(shares) == pytest.approx(index.recall_at_10, abs=0.05)
    assert (rows[:, 0] == order[:, 0]).mean() == pytest.approx(index.recall_at_1, abs=0.05)
    assert capfd.readouterr() == ("", "")  # faiss prints what it does to files


def test_rows_are_counted_through_the_files_and_all_can_be_asked_for(built):
    _, index, _ = built
    assert index.search(VECTORS[[0, 400, 1499]], 1)[0].tolist() == [[0], [400], [1499]]
    rows, distances = index.search(VECTORS[:2], N + 7)
    apart, _ = nearest(VECTORS[:2], "euclidean")
    assert np.array_equal(np.sort(rows, axis=1), np.tile(np.arange(N), (2, 1)))
    np.testing.assert_allclose(distances, np.sort(apart, axis=1), rtol=1e-9, atol=1e-12)
    assert index.search(np.empty((0, DIM)), 3)[0].shape == (0, 3)


def test_a_build_that_was_stopped_goes_on_to_the_same_index(built, tmp_path, monkeypatch):
    (shards, whole, _), written, write = built, [], disk_building._write

    def stopping(faiss, index, path):
        if len(written) == 3:
            raise KeyboardInterrupt
        write(faiss, index, path)
        written.append(path.name)

    monkeypatch.setattr(disk_building, "_write", stopping)
    with pytest.raises(KeyboardInterrupt):
        build_on_disk(shards, tmp_path / "index", code_bytes=4)
    with pytest.raises(FileNotFoundError):
        DiskIndex(tmp_path / "index")
    monkeypatch.setattr(disk_building, "_write", lambda *of: [written.append(of[2].name), write(*of)])
    told = []
    again = build_on_disk(shards, tmp_path / "index", code_bytes=4, progress=lambda *of: told.append(of))
    assert (len(written), len(set(written)), told) == (4, 4, [(1, 3), (2, 3), (3, 3)])
    assert all(map(np.array_equal, whole.search(VECTORS[:50], 9), again.search(VECTORS[:50], 9)))
    assert {file.name for file in (tmp_path / "index").iterdir()} == {"index.safetensors", "cells.faiss", "cells.lists"}


def test_damage_is_named_and_a_folder_can_be_moved(built, tmp_path):
    _, index, folder = built
    found, moved = index.search(VECTORS[:5], 3), shutil.copytree(folder, tmp_path / "there")
    assert all(map(np.array_equal, DiskIndex(moved / "index").search(VECTORS[:5], 3), found))
    files = [*(moved / "index" / name for name in ("index.safetensors", "cells.faiss", "cells.lists"))]
    for file in [*files, moved / "part1.safetensors"]:
        content = file.read_bytes()
        for place in (20, len(content) // 2, len(content) - 3):
            file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            with pytest.raises(OSError, match=f"{file.name} is damaged"):
                DiskIndex(moved / "index")
        file.write_bytes(content)
    Embeddings(VECTORS[:400] + 1, np.zeros(400, dtype=int)).save(moved / "part0.safetensors")
    with pytest.raises(ValueError, match="part0.safetensors has changed since it was indexed: build the index anew"):
        DiskIndex(moved / "index")
    (moved / "part0.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="part0.safetensors: no such file"):
        DiskIndex(moved / "index")


def test_wrong_input_is_refused(built, tmp_path):
    shards, index, folder = built
    with pytest.raises(FileExistsError, match="holds an index: name another folder"):
        build_on_disk(shards, folder / "index", code_bytes=4)
    for wrong in ({"code_bytes": 5}, {"distance": "l1", "code_bytes": 4}, {"code_bytes": 32}):
        with pytest.raises(ValueError, match="1,500 vectors of dim 16 by .* cannot be coded in"):
            build_on_disk(shards, tmp_path / "other", **wrong)
    with pytest.raises(ValueError, match="^100 vectors of dim 16 by euclidean .* at least 256 vectors"):
        build_on_disk(shards[2:], tmp_path / "other", code_bytes=4)
    with pytest.raises(ValueError, match="unknown distance 'hamming'"):
        build_on_disk(shards, tmp_path / "other", distance="hamming", code_bytes=4)
    Embeddings(np.ones((300, 4)), np.zeros(300, dtype=int)).save(tmp_path / "narrow.safetensors")
    for wrong in ([], [*shards, tmp_path / "narrow.safetensors"]):
        with pytest.raises(ValueError, match="files of embeddings have no common dim: name those of one encoder"):
            build_on_disk(wrong, tmp_path / "other", code_bytes=4)
    with pytest.raises(ValueError, match=r"embeddings of shape \(1, 2\) cannot be compared with dim 16"):
        index.search(np.zeros((1, 2)), 1)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        index.search(VECTORS[:1], 0)
    assert not (tmp_path / "other").exists()

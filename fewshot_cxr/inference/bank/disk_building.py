"""An index on the disk, made from many files of embeddings: learnt from a sample, coded file by file, merged."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewshot_cxr._progress import Bar, tell
from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.encoders.weights import file_sha256
from fewshot_cxr.inference.bank.by_faiss import BLOCK, nearest_distances, threaded_faiss
from fewshot_cxr.inference.bank.disk_index import (
    CELLS,
    HEAD,
    KIND,
    LISTS,
    CodedSearch,
    DiskIndex,
    MappedVectors,
    map_vectors,
    open_cells,
)
from fewshot_cxr.inference.bank.geometry import Geometry, geometry_of
from fewshot_cxr.inference.bank.index import RECALL
from fewshot_cxr.seeding import generator
from fewshot_cxr.storage import save_tensors, told_hash
from fewshot_cxr.whole_files import whole_file

_TRAINING, _LEAST = 40, 256  # vectors for each cell; what a code of 8 bits is learnt from at least
_N_ASKED, _N_NEAREST = 200, 10  # rows by which the recall is measured
_FIRST_EFFORT = 8  # cells that are searched
# In a process of its own: it prints, and lets go of what it has mapped only at its end.
_MERGING = """
import sys, faiss
from faiss.contrib.ondisk import merge_ondisk
cells, lists, trained, *coded = sys.stdin.read().split("\\n")
index = faiss.read_index(trained)
merge_ondisk(index, coded, lists)
faiss.write_index(index, cells)
"""


def build_on_disk(
    shards: Sequence[str | Path],
    folder: str | Path,
    *,
    distance: str = "euclidean",
    code_bytes: int = 32,
    seed: int = 0,
    progress: Bar | None = None,
) -> DiskIndex:
    """Index the vectors of many files of embeddings in a folder; a build that was stopped goes on with the next file.

    Args:
        shards: files of `Embeddings.save`; rows are counted through them in this order.
        folder: of the index, made; it takes code_bytes + 8 bytes a vector, while it is built twice as many.
        distance: "euclidean", "squared_euclidean" or "cosine".
        code_bytes: of each vector's code; they must divide dim.
        seed: of the sample, the cells and the rows by which the recall is measured.
        progress: called with (files coded, files in all).

    Raises:
        FileExistsError: an index is there.
        ValueError: no files, fewer than 256 vectors, of unlike dim or not finite; a distance or code that cannot be.
    """
    folder, paths = Path(folder), [Path(shard) for shard in shards]
    if (folder / HEAD).exists():
        raise FileExistsError(f"{folder} holds an index: name another folder, or remove that one")
    vectors = map_vectors(paths)
    n, dim = int(vectors.starts[-1]), vectors.parts[0].shape[1]
    if n < _LEAST or dim % code_bytes or distance == "l1":
        raise ValueError(
            f"{n:,} vectors of dim {dim} by {distance} cannot be coded in {code_bytes} bytes: at least {_LEAST} "
            "vectors, bytes that divide dim, and no l1; few vectors need no codes: NearestIndex"
        )
    told = [told_hash(path, kind="embeddings") for path in paths]
    with only_writer(folder):
        search = CodedSearch(vectors, *_built(vectors, folder, (told, distance, code_bytes, seed), progress))
        header = _effort(search, seed) | {"distance": distance, "exponent": search.geometry.exponent}
        header["shards"] = [
            {"path": relpath(path, folder), "sha256": own} for path, own in zip(paths, told, strict=True)
        ]
        header["files"] = {name: file_sha256(folder / name) for name in (CELLS, LISTS)}
        centre = torch.from_numpy(search.geometry.centre)
        save_tensors(folder / HEAD, {"centre": centre}, kind=KIND, header=header)
        for part in folder.glob("*.part.faiss"):
            part.unlink()
    return DiskIndex(folder)


def _built(vectors: MappedVectors, folder: Path, told: tuple[Any, ...], progress: Bar | None) -> tuple[Geometry, Any]:
    """Train, code each file, merge; what lies there of a build of the same files and settings is taken as it is."""
    _, distance, code_bytes, seed = told
    several = [geometry_of(part, distance, block=BLOCK) for part in vectors.parts]
    centre = np.average([one.centre for one in several], axis=0, weights=list(map(len, vectors.parts)))
    geometry = Geometry(distance, centre.astype(np.float32), max(one.exponent for one in several))
    key = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
    trained, *coded = (folder / f"{key}.{number:06d}.part.faiss" for number in range(len(vectors.parts) + 1))
    with threaded_faiss() as faiss:
        if not trained.exists():
            _write(faiss, _trained(faiss, vectors, geometry, code_bytes, seed), trained)
        for number, file in enumerate(coded):
            if not file.exists():
                index, start = faiss.read_index(str(trained)), int(vectors.starts[number])
                for block in MappedVectors((vectors.parts[number],)).blocks():
                    index.add_with_ids(geometry.prepare(block), np.arange(start, start + len(block)))
                    start += len(block)
                _write(faiss, index, file)
            tell(progress, number + 1, len(coded))
    _merge(trained, coded, folder)
    return geometry, open_cells(folder)


def _merge(trained: Path, coded: Sequence[Path], folder: Path) -> None:
    files = [str(file.resolve()) for file in (folder / CELLS, folder / LISTS, trained, *coded)]
    command = [sys.executable, "-c", _MERGING]
    done = subprocess.run(command, input="\n".join(files), capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{folder}: its parts cannot be merged: {done.stderr.strip()[-200:]}; is there room on the disk?")
    for file in files[:2]:
        with open(file, "rb+") as written:
            os.fsync(written.fileno())


def _trained(faiss: Any, vectors: MappedVectors, geometry: Geometry, code_bytes: int, seed: int) -> Any:
    n, dim = int(vectors.starts[-1]), len(geometry.centre)
    n_cells, metric = max(1, min(round(n**0.5), n // _TRAINING)), getattr(faiss, f"METRIC_{geometry.metric}")
    index = faiss.IndexIVFPQ(faiss.IndexFlat(dim, metric), dim, n_cells, code_bytes, 8, metric)
    for clustering in (index.cp, index.pq.cp):
        clustering.seed, clustering.min_points_per_centroid = seed, 1  # it would print a warning where there are few
        clustering.max_points_per_centroid = _TRAINING
    n_sampled = min(n, _TRAINING * max(_LEAST, n_cells))
    some = generator(seed, "cells").choice(n, n_sampled, replace=False)
    index.train(geometry.prepare(vectors.take(np.sort(some))))
    return index


def _write(faiss: Any, index: Any, path: Path) -> None:
    with whole_file(path) as part:
        faiss.write_index(index, str(part))


def _effort(search: CodedSearch, seed: int) -> dict[str, Any]:
    """Search farther, each time twice as far, until as many of the ten nearest are found as RECALL asks for."""
    n = int(search.vectors.starts[-1])
    asked = generator(seed, "recall").choice(n, min(n, _N_ASKED), replace=False)
    queries, effort = search.vectors.take(np.sort(asked)), _FIRST_EFFORT
    nearest = nearest_distances(queries, search.vectors.blocks(), search.geometry, 1 + _N_NEAREST)
    while True:
        # Each query finds itself, or a copy of itself: the rest are its neighbours.
        found = search.nearest(queries, 1 + _N_NEAREST, effort)[1]
        ten, one = (float((found[:, 1 : k + 1] <= nearest[:, k : k + 1]).mean()) for k in (_N_NEAREST, 1))
        if ten >= RECALL or effort >= n:
            return {"effort": effort, "recall_at_1": one, "recall_at_10": ten}
        effort *= 2

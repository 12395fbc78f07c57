"""The nearest of more vectors than memory holds: cells of short codes on the disk, exact distances of the best.

The vectors stay in the files that hold them. Of each, faiss keeps a code (a product quantiser) in the cell that it lies
in; both are learnt from a sample. File by file is coded, and the parts are merged on the disk. A search reads the codes
of some cells, and measures the vectors that look nearest in 64 bits.

Source: Jegou, Douze, Schmid, "Product quantization for nearest neighbor search", 2011, doi:10.1109/TPAMI.2010.57.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_form, check_whole
from fewshot_cxr.encoders.weights import file_sha256
from fewshot_cxr.inference.bank.by_faiss import BLOCK, threaded_faiss
from fewshot_cxr.inference.bank.geometry import Geometry, measure
from fewshot_cxr.storage import load_tensors, map_tensors, told_hash

KIND, HEAD, CELLS, LISTS = "index on disk", "index.safetensors", "cells.faiss", "cells.lists"
_DTYPES = ("F32", "I64", "F64", "BOOL")
_FORM: dict[str, Any] = {"distance": str, "exponent": int, "effort": int, "recall_at_1": float, "recall_at_10": float}
_FORM |= {"shards": [{"path": str, "sha256": str}], "files": {CELLS: str, LISTS: str}}
_KEPT = 16  # vectors that are measured for each cell that is searched
_MEASURED = 1 << 22  # numbers that are measured at once in 64 bits: 32 MB


@dataclass(frozen=True, eq=False)
class MappedVectors:
    """The vectors of several files, mapped, as if they were one array."""

    parts: tuple[np.ndarray, ...]

    @cached_property
    def starts(self) -> np.ndarray:
        """The first row of each part, and the number of all rows."""
        return np.array([0, *accumulate(map(len, self.parts))])

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all vectors, some at a time."""
        for part in self.parts:
            yield from (part[start : start + BLOCK] for start in range(0, len(part), BLOCK))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of rows of any shape, float32, shape (..., dim)."""
        taken = np.empty((*rows.shape, self.parts[0].shape[1]), dtype=np.float32)
        places = np.searchsorted(self.starts, rows, side="right") - 1
        for place in np.unique(places):
            is_here = places == place
            taken[is_here] = self.parts[place][rows[is_here] - self.starts[place]]
        return taken


@dataclass(frozen=True, eq=False)
class CodedSearch:
    """What a search needs: the vectors, how they are compared, and faiss's index of their codes."""

    vectors: MappedVectors
    geometry: Geometry
    index: Any

    def nearest(self, queries: np.ndarray, k: int, effort: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and distances of the k nearest by the codes of so many cells."""
        n, dim = int(self.vectors.starts[-1]), queries.shape[1]
        k = min(k, n)
        n_kept = min(n, max(2 * k, _KEPT * effort))
        rows, distances = np.empty((len(queries), k), dtype=np.int64), np.empty((len(queries), k))
        size = max(1, _MEASURED // (n_kept * dim))
        for start in range(0, len(queries), size):
            part = slice(start, start + size)
            found = self._coded(queries[part], n_kept, effort)
            if (found < 0).sum(axis=1).max(initial=0) > n_kept - k:  # so few in these cells: look into all
                found = self._coded(queries[part], n_kept, self.index.nlist)
            apart = measure(queries[part, None], self.vectors.take(np.maximum(found, 0)), self.geometry.distance)
            apart[found < 0] = np.inf
            order = np.lexsort((found, apart))[:, :k]
            rows[part], distances[part] = (np.take_along_axis(of, order, axis=1) for of in (found, apart))
        return rows, distances

    def _coded(self, queries: np.ndarray, n_kept: int, n_cells: int) -> np.ndarray:
        with threaded_faiss(len(queries)) as faiss:
            asked = faiss.SearchParametersIVF(nprobe=min(n_cells, self.index.nlist))
            found: np.ndarray = self.index.search(self.geometry.prepare(queries), n_kept, params=asked)[1]
        return found


class DiskIndex:
    """The nearest of vectors in many files, by the index that `build_on_disk` made of them.

    The files and the index are mapped, and checked against their hashes when it is opened, which reads them once.

    Args:
        folder: of the index.

    Attributes:
        distance: a name in DISTANCES.
        effort: cells that are searched; 16 vectors are measured for each.
        recall_at_1, recall_at_10: share of the nearest and of the ten nearest that it finds, measured when it was made
            on 200 of the vectors, each without itself.

    Raises:
        FileNotFoundError: no index is there, or a file of vectors has gone.
        OSError: a file is damaged.
        ValueError: a file is of another kind, or no longer the one that was indexed.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        tensors, head = load_tensors(folder / HEAD, kind=KIND)
        check_form(head, _FORM, f"{folder / HEAD}: its header")
        for name, digest in head["files"].items():
            if file_sha256(folder / name) != digest:
                raise OSError(f"{folder / name} is damaged: its content does not match its hash; build the index anew")
        shards = [folder / shard["path"] for shard in head["shards"]]
        for shard, told in zip(shards, head["shards"], strict=True):
            if told_hash(shard, kind="embeddings") != told["sha256"]:
                raise ValueError(f"{shard} has changed since it was indexed: build the index anew")
        self.distance, self.effort = head["distance"], head["effort"]
        self.recall_at_1, self.recall_at_10 = head["recall_at_1"], head["recall_at_10"]
        geometry = Geometry(self.distance, tensors["centre"].numpy(), head["exponent"])
        self._search = CodedSearch(map_vectors(shards), geometry, open_cells(folder))

    def __len__(self) -> int:
        return int(self._search.vectors.starts[-1])

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the k nearest vectors of each query, nearest first; equally near ones by their rows.

        Args:
            queries: float32, shape (n_queries, dim).
            k: how many; more than there are gives all.

        Returns:
            Their rows, counted through the files in order, int64, and distances, float64, both (n_queries, k).

        Raises:
            ValueError: queries of another dim, or k below 1.
        """
        check_whole(k, "k", 1)
        queries, dim = np.ascontiguousarray(queries, dtype=np.float32), len(self._search.geometry.centre)
        if queries.ndim != 2 or queries.shape[1] != dim:
            raise ValueError(f"embeddings of shape {queries.shape} cannot be compared with dim {dim}: same encoder?")
        return self._search.nearest(queries, k, self.effort)


def map_vectors(shards: Sequence[Path]) -> MappedVectors:
    """Map the vectors of files of embeddings, checked against their hashes."""
    parts = [map_tensors(shard, kind="embeddings", dtypes=_DTYPES)[0]["vectors"] for shard in shards]
    if len({part.shape[1] for part in parts}) != 1:
        raise ValueError(f"{len(parts)} files of embeddings have no common dim: name those of one encoder")
    return MappedVectors(tuple(parts))


def open_cells(folder: Path) -> Any:
    """Return faiss's index of a folder, its lists mapped."""
    with threaded_faiss() as faiss:
        # By itself faiss looks for the lists where they were made, or prints where it found them instead.
        index = faiss.read_index(str(folder / CELLS), faiss.IO_FLAG_SKIP_IVF_DATA | faiss.IO_FLAG_READ_ONLY)
        lists = faiss.downcast_InvertedLists(index.invlists)
        lists.filename = str(folder / LISTS)
        lists.do_mmap()
    return index

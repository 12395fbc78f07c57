"""The exemplars nearest to a film, among any number of them."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr._checks import check_dense_labels, check_whole, lookup
from fewshot_cxr.inference.bank.by_faiss import BLOCK, nearest_distances, threaded_faiss
from fewshot_cxr.inference.bank.geometry import geometry_of, measure
from fewshot_cxr.inference.rules import knn_values
from fewshot_cxr.seeding import generator

KINDS = ("auto", "exact", "ivf", "hnsw")
EXACT_UP_TO = 500_000
"""Vectors up to which "auto" is exact."""
RECALL = 0.95
"""What an index that is not exact is made to find, of the ten nearest."""

_MEASURED = 1 << 22  # numbers that are measured at once in 64 bits: 32 MB
_SPARE = 10  # rows more than are asked for, which show that no other is nearer
_N_ASKED, _N_NEAREST = 200, 10  # rows by which the recall is measured
_TRAINING = 40  # vectors for each cell
_LINKS, _BUILD_EFFORT = 32, 40  # of HNSW
_FIRST_EFFORT = {"ivf": 8, "hnsw": 32}  # cells that are searched; candidates that are kept
_MOST_CANDIDATES = 1024  # of "hnsw", or one of 500 vectors: to keep more costs as much as to measure all


class NearestIndex:
    """Finds the nearest of many vectors, made from them and never read from a file.

    What faiss finds in 32 bits is measured anew in 64 bits. In an exact index a bound of the rounding shows that no
    other vector can be nearer; where it does not, all are measured, so that rows and distances are always those of
    `pairwise_distances`. An index that is not exact misses some: it searches as far as RECALL of the ten nearest asks,
    measured on 200 of the vectors, each without itself. Where a graph would have to search so far that it is no faster
    than measuring all, cells take its place, with a warning.

    Args:
        vectors: float32, shape (n, dim), finite; a np.memmap is read in parts. The index holds a copy of its own.
        distance: a name in DISTANCES.
        kind: "exact"; "ivf", which searches some of many cells; "hnsw", a graph; "auto": "exact" up to EXACT_UP_TO
            vectors, above that "ivf".
        paths: n texts, by which equally near rows are ordered; None: by their rows.
        seed: of cells and of the rows by which the recall is measured.

    Attributes:
        kind: which it is; of a graph that finds too few, "ivf".
        effort: cells that "ivf" searches, candidates that "hnsw" keeps; 0 for "exact".
        recall_at_10: share of the ten nearest that it finds.

    Raises:
        ValueError: vectors are none, of another shape or not finite; unknown kind or distance.

    Examples:
        >>> index = NearestIndex(np.float32([[0, 0], [3, 4], [6, 8]]))
        >>> rows, distances = index.search(np.float32([[0, 1]]), k=1)
        >>> index, rows.tolist(), distances.tolist()
        (NearestIndex(3 vectors, euclidean, exact), [[0]], [[1.0]])
    """

    def __init__(
        self,
        vectors: np.ndarray,
        *,
        distance: str = "euclidean",
        kind: str = "auto",
        paths: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        vectors = np.asanyarray(vectors, dtype=np.float32)
        if vectors.ndim != 2 or not vectors.size:
            raise ValueError(f"vectors must have shape (n, dim) with n and dim above 0, got {vectors.shape}")
        if paths is not None and len(paths) != len(vectors):
            raise ValueError(f"paths has {len(paths)} entries for {len(vectors)} vectors")
        lookup(dict.fromkeys(KINDS), kind, what="kind")
        self.kind = kind if kind != "auto" else "exact" if len(vectors) <= EXACT_UP_TO else "ivf"
        self.distance, self.effort, self.recall_at_10 = distance, 0, 1.0
        self._vectors, self._seed = vectors, seed
        self._geometry = geometry_of(vectors, distance, block=BLOCK)
        self._rank = np.arange(len(vectors))
        if paths is not None:
            self._rank[sorted(range(len(vectors)), key=paths.__getitem__)] = np.arange(len(vectors))
        with threaded_faiss() as faiss:
            self._index = self._built(faiss)
        if self.kind != "exact":
            self._choose_effort()

    def __len__(self) -> int:
        return len(self._vectors)

    def __repr__(self) -> str:
        found = "" if self.kind == "exact" else f", effort {self.effort}, recall@10 {self.recall_at_10:.4g}"
        return f"NearestIndex({len(self):,} vectors, {self.distance}, {self.kind}{found})"

    def search(self, queries: np.ndarray, k: int, *, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Find the k nearest vectors of each query, nearest first.

        Args:
            queries: float32, shape (n_queries, dim).
            k: how many; more than there are gives all.
            among: bool, shape (n,): which may be found; None: all.

        Returns:
            Their rows, int64, and distances, float64, both of shape (n_queries, k).

        Raises:
            ValueError: queries of another dim, k below 1, or nothing that may be found.
        """
        check_whole(k, "k", 1)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        dim = self._vectors.shape[1]
        if queries.ndim != 2 or queries.shape[1] != dim:
            raise ValueError(f"embeddings of shape {queries.shape} cannot be compared with dim {dim}: same encoder?")
        n_rows = self._n_rows(among)
        if not n_rows:
            raise ValueError("among allows no vector to be found; one at least is needed")
        k = min(k, n_rows)
        n_found = min(n_rows, k + max(k, _SPARE))
        rows, distances = np.empty((len(queries), k), dtype=np.int64), np.empty((len(queries), k))
        size = max(1, _MEASURED // (n_found * dim))
        for start in range(0, len(queries), size):
            part = slice(start, start + size)
            rows[part], distances[part] = self._search_few(queries[part], k, n_found, among)
        return rows, distances

    def _n_rows(self, among: np.ndarray | None) -> int:
        return len(self) if among is None else int(np.count_nonzero(among))

    def _search_few(
        self, queries: np.ndarray, k: int, n_found: int, among: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        prepared, n_rows = self._geometry.prepare(queries), self._n_rows(among)
        found, rows = self._found(prepared, n_found, among)
        distances = measure(queries[:, None], self._vectors[rows], self.distance)
        order = np.lexsort((self._rank[rows], distances))[:, :k]
        is_sure: np.ndarray = np.all(rows >= 0, axis=1)
        rows, distances = np.take_along_axis(rows, order, axis=1), np.take_along_axis(distances, order, axis=1)
        if self.kind == "exact" and n_found < n_rows:
            is_sure &= found[:, -1] > self._geometry.farthest_found(prepared, distances[:, -1])
        for query in np.flatnonzero(~is_sure):
            rows[query], distances[query] = self._by_measuring_all(queries[query], k, among)
        return rows, distances

    def _by_measuring_all(self, query: np.ndarray, k: int, among: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        rows, distances = np.empty(0, dtype=np.int64), np.empty(0)
        size = max(k, _MEASURED // len(query))
        allowed = np.arange(len(self)) if among is None else np.flatnonzero(among)
        for start in range(0, len(allowed), size):
            part = allowed[start : start + size]
            rows = np.concatenate([rows, part])
            distances = np.concatenate([distances, measure(query, self._vectors[part], self.distance)])
            order = np.lexsort((self._rank[rows], distances))[:k]
            rows, distances = rows[order], distances[order]
        return rows, distances

    def _found(self, prepared: np.ndarray, n_found: int, among: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return what faiss finds: its values (smaller is closer) and rows, -1 where it finds none."""
        with threaded_faiss(len(prepared)) as faiss:
            bits = None if among is None else np.packbits(among, bitorder="little")
            options: dict[str, Any] = {} if bits is None else {"sel": faiss.IDSelectorBitmap(bits)}
            if self.kind == "ivf":
                asked = faiss.SearchParametersIVF(nprobe=self.effort, **options)
            elif self.kind == "hnsw":
                asked = faiss.SearchParametersHNSW(efSearch=max(self.effort, n_found), **options)
            else:
                asked = faiss.SearchParameters(**options) if options else None
            values, rows = self._index.search(prepared, n_found, params=asked)
        return (-values if self._geometry.metric == "INNER_PRODUCT" else values), rows

    def _built(self, faiss: Any) -> Any:
        n, dim = self._vectors.shape
        metric = getattr(faiss, f"METRIC_{self._geometry.metric}")
        if self.kind == "exact":
            index = faiss.IndexFlat(dim, metric)
        elif self.kind == "hnsw":
            index = faiss.IndexHNSWFlat(dim, _LINKS, metric)
            index.hnsw.efConstruction = _BUILD_EFFORT
        else:
            n_cells = max(1, min(round(n**0.5), n // _TRAINING))
            index = faiss.IndexIVFFlat(faiss.IndexFlat(dim, metric), dim, n_cells, metric)
            index.cp.seed = self._seed
            index.cp.min_points_per_centroid = 1  # it would print a warning where there are few
            some = generator(self._seed, "cells").choice(n, min(n, n_cells * _TRAINING), replace=False)
            index.train(self._geometry.prepare(self._vectors[np.sort(some)]))
        for start in range(0, n, BLOCK):
            index.add(self._geometry.prepare(self._vectors[start : start + BLOCK]))
        return index

    def _choose_effort(self) -> None:
        """Search farther, each time twice as far, until as many of the nearest are found as RECALL asks for."""
        n = len(self)
        asked = generator(self._seed, "recall").choice(n, min(n, _N_ASKED), replace=False)
        n_others = min(_N_NEAREST, n - 1)
        self.effort = _FIRST_EFFORT[self.kind]
        if not n_others:
            return
        queries = self._vectors[np.sort(asked)]
        blocks = (self._vectors[start : start + BLOCK] for start in range(0, n, BLOCK))
        nearest = nearest_distances(queries, blocks, self._geometry, 1 + n_others)
        while True:
            # Each query finds itself, or a copy of itself: the rest are its neighbours.
            _, found = self.search(queries, 1 + n_others)
            self.recall_at_10 = float((found[:, 1:] <= nearest[:, -1:]).mean())
            if self.recall_at_10 >= RECALL or self.effort >= n:
                return
            self.effort *= 2
            if self.kind == "hnsw" and self.effort > max(_MOST_CANDIDATES, n // 500):
                self._take_cells()

    def _take_cells(self) -> None:
        """Go over from a graph to cells: of many heaps far from each other, a graph has few ways between them."""
        warnings.warn(
            f"a graph (hnsw) finds {self.recall_at_10:.0%} of the ten nearest of these {len(self):,} vectors, where "
            f"{RECALL:.0%} are asked for; cells (ivf) are searched instead",
            stacklevel=2,
        )
        self.kind, self.effort = "ivf", _FIRST_EFFORT["ivf"]
        with threaded_faiss() as faiss:
            self._index = self._built(faiss)


def nearest_by_index(index: NearestIndex, labels: Tensor, queries: np.ndarray) -> Tensor:
    """Return what the rule `nearest` does: the distance to the nearest exemplar of each class.

    Args:
        index: of the exemplars.
        labels: class of each, int64, shape (n,), holding every value 0..n_way-1.
        queries: float32, shape (n_queries, dim).

    Returns:
        float64, shape (n_queries, n_way).

    Examples:
        >>> index = NearestIndex(np.float32([[0], [1], [4]]))  # exemplars: normal, normal, covid19
        >>> nearest_by_index(index, torch.tensor([0, 0, 1]), np.float32([[2]])).tolist()
        [[1.0, 2.0]]
    """
    n_way = check_dense_labels(labels, name="labels")
    nearest = [index.search(queries, 1, among=(labels == label).numpy())[1] for label in range(n_way)]
    return torch.from_numpy(np.concatenate(nearest, axis=1))


def knn_by_index(index: NearestIndex, labels: Tensor, queries: np.ndarray, k: int = 5) -> Tensor:
    """Return what the rule `knn` does: the votes that each class did not get of the k nearest exemplars.

    Distances are those of 64 bits: of two exemplars that `knn` cannot tell apart in 32 bits, one may be the nearer.

    Args:
        index: of the exemplars.
        labels: class of each, int64, shape (n,), holding every value 0..n_way-1.
        queries: float32, shape (n_queries, dim).
        k: how many vote.

    Returns:
        float64, shape (n_queries, n_way): the share of the votes that each class did not get, and less than 1/k more
        by the rank of its nearest exemplar, as `knn` says.

    Examples:
        >>> index = NearestIndex(np.float32([[0], [1], [4]]))  # exemplars: normal, normal, covid19
        >>> votes_missed = knn_by_index(index, torch.tensor([0, 0, 1]), np.float32([[2]]), k=3)
        >>> votes_missed  # normal lacks 1 of 3 votes, covid19 2 of 3, and 1/12 as the farther one, which decides ties
        tensor([[0.3333, 0.7500]], dtype=torch.float64)
    """
    check_whole(k, "k", 1)
    k = min(k, len(index))
    to_nearest = nearest_by_index(index, labels, queries)
    votes = torch.zeros_like(to_nearest)
    open_rows, n_found = np.arange(len(queries)), k + 1
    while len(open_rows):
        rows, distances = index.search(queries[open_rows], n_found)
        last = distances[:, k - 1 : k]
        # Those that tie for the last place may go on behind what was found.
        is_whole = (distances[:, -1:] > last)[:, 0] | (n_found >= len(index))
        is_nearer, is_last = distances < last, distances == last
        places_left = k - is_nearer.sum(axis=1, keepdims=True)
        shares = is_nearer + is_last * (places_left / is_last.sum(axis=1, keepdims=True))
        own = torch.zeros(len(rows), votes.shape[1], dtype=torch.float64)
        own.scatter_add_(1, labels[torch.from_numpy(rows)], torch.from_numpy(shares))
        votes[torch.from_numpy(open_rows[is_whole])] = own[torch.from_numpy(is_whole)]
        open_rows, n_found = open_rows[~is_whole], 2 * n_found
    return knn_values(votes, to_nearest, k)

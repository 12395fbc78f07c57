"""The only door to faiss: its threads, and the true nearest of vectors that are read some at a time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from fewshot_cxr.inference.bank.geometry import Geometry, measure

BLOCK = 1 << 16  # vectors that are read at once
_BY_PRODUCT = 8  # queries from which a matrix product is faster


@contextmanager
def threaded_faiss(n_queries: int = 1) -> Iterator[Any]:
    """Yield faiss with as many threads as the caller gave torch; it counts its own."""
    import faiss

    n_threads, by_product_from = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
    faiss.omp_set_num_threads(torch.get_num_threads())
    if n_queries >= _BY_PRODUCT:  # by itself faiss 1.15 takes the product from a thousand on, four times slower
        faiss.cvar.distance_compute_blas_threshold = 1
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(n_threads)
        faiss.cvar.distance_compute_blas_threshold = by_product_from


def nearest_distances(queries: np.ndarray, blocks: Iterable[np.ndarray], geometry: Geometry, k: int) -> np.ndarray:
    """Return the distances of the k nearest of all vectors, ascending: what an index is measured against.

    Args:
        queries: float32, shape (n_queries, dim).
        blocks: the vectors, float32, shape (n, dim) each.
        geometry: of the vectors.
        k: how many; at most as many as there are.

    Returns:
        float64, shape (n_queries, k).
    """
    prepared, nearest = geometry.prepare(queries), np.empty((len(queries), 0))
    with threaded_faiss(len(prepared)) as faiss:
        metric = getattr(faiss, f"METRIC_{geometry.metric}")
        for block in blocks:
            _, places = faiss.knn(prepared, geometry.prepare(block), min(k, len(block)), metric=metric)
            nearest = np.concatenate([nearest, measure(queries[:, None], block[places], geometry.distance)], axis=1)
            nearest = np.sort(nearest, axis=1)[:, :k]
    return nearest

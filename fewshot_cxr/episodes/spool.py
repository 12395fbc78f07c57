"""Chunks of a tensor on their way into a file, before its shape is known."""

from collections.abc import Iterator
from math import prod
from typing import IO

import numpy as np

from fewshot_cxr.storage import TensorStream


class Int32Spool:
    """Chunks of one int32 tensor, kept in an open file until the last is known and `save_streams` can begin."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._shapes: list[tuple[int, ...]] = []

    def add(self, rows: np.ndarray) -> None:
        """Append rows; their width may differ from chunk to chunk."""
        self._shapes.append(rows.shape)
        self._file.write(np.ascontiguousarray(rows, dtype="<i4").tobytes())

    def stream(self, table: np.ndarray | None = None) -> TensorStream:
        """Return all rows, as wide as the widest, -1 at the end of others; `table`, if given, looks each value up."""
        widest = tuple(np.max([shape[1:] for shape in self._shapes], axis=0).tolist())
        return TensorStream((sum(shape[0] for shape in self._shapes), *widest), self._chunks(widest, table))

    def _chunks(self, widest: tuple[int, ...], table: np.ndarray | None) -> Iterator[np.ndarray]:
        self._file.seek(0)
        for shape in self._shapes:
            rows = np.full((shape[0], *widest), -1, dtype=np.int32)
            content = np.frombuffer(self._file.read(4 * prod(shape)), dtype="<i4")
            rows[tuple(slice(length) for length in shape)] = content.reshape(shape)
            yield rows if table is None else table[rows]

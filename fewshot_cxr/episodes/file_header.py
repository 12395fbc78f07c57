"""What an episodes file says of itself, and whether it is as it was written."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_cxr.episodes.film_list import FilmList
from fewshot_cxr.storage import map_tensors

KIND = "episodes"
TENSORS = {"class_ids": 2, "support": 3, "query": 3, "outside": 2}
"""Tensor of an episodes file -> its number of dimensions; `outside` may be absent."""
_HEADER: dict[str, type] = {"protocol": dict, "hash": str, "notes": list, "class_names": list, "films": dict}
_HEADER_HASH = "sha256"


def with_hash(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the header with the hash by which `open_episodes` knows damage."""
    return {**header, _HEADER_HASH: _header_hash(header)}


def _header_hash(header: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps({name: header[name] for name in _HEADER}, sort_keys=True).encode()).hexdigest()


def open_episodes(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any], FilmList]:
    """Return memory-mapped tensors, header and films of a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds something else or is of a newer format.
        OSError: the file is damaged.
    """
    damaged = f"{path} is damaged: its header is not as it was written; restore it or make it anew"
    try:
        tensors, header = map_tensors(path, kind=KIND)
        if not header.keys() >= _HEADER.keys() | {_HEADER_HASH} or not _are_episodes(tensors, header):
            raise ValueError(f"{path} holds no episodes that this version can read; make it anew")
        if header[_HEADER_HASH] != _header_hash(header) or not _is_whole(header):
            raise OSError(damaged)
        return tensors, header, FilmList.from_json(header["films"])
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise OSError(damaged) from error


def _is_whole(header: Mapping[str, Any]) -> bool:
    texts = [header["hash"], *header["notes"], *header["class_names"]]
    return (
        all(isinstance(header[name], kind) for name, kind in _HEADER.items())
        and all(isinstance(text, str) for text in texts)
        and isinstance(header["protocol"]["seed"], int)
    )


def _are_episodes(tensors: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> bool:
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    return (
        TENSORS.keys() >= shapes.keys() >= TENSORS.keys() - {"outside"}
        and "seed" in header["protocol"]
        and all(len(shape) == TENSORS[name] for name, shape in shapes.items())
        and len({shape[0] for shape in shapes.values()}) == 1
        and len({shapes[name][1] for name in ("class_ids", "support", "query")}) == 1
    )

"""What an episodes file says of itself and of its films, and whether it is as it was written.

Films are known by finding and path, so that they are found again among other rows in any order; no patient is named.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_form
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.storage import map_tensors

KIND = "episodes"
TENSORS = {"class_ids": 2, "support": 3, "query": 3, "outside": 2}
"""Tensor of an episodes file -> its number of dimensions; `outside` may be absent."""
_NUMBERS = ("n_way", "n_query", "n_outside", "n_episodes", "n_may_support", "n_may_query", "n_folds", "n_repeats")
_HEADER: dict[str, Any] = {
    "protocol": {
        "seed": int,
        **{f"{name}?": (int, None) for name in _NUMBERS},
        **{f"{name}?": [str] for name in ("always", "never", "notes")},
        **{f"{name}?": str for name in ("prevalence", "if_too_small")},
        "allow_patient_overlap?": bool,
    },
    "hash": str,
    "notes": [str],
    "class_names": [str],
    "films": {"findings": [str], "finding_of_film": [int], "paths": ([str], None)},
}


def open_episodes(path: str | Path, films: Embeddings) -> tuple[dict[str, np.ndarray], dict[str, Any], np.ndarray]:
    """Return memory-mapped tensors, header and the row at hand of every listed film, int64, shape (n_listed,).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds something else or is of a newer format; a film is not there, is there twice or with
            another finding; without paths, other rows.
        OSError: the file is damaged.
    """
    damaged = f"{path} is damaged: its header is not as it was written; restore it or make it anew"
    try:
        tensors, header = map_tensors(path, kind=KIND)
        if not header.keys() >= _HEADER.keys() or not _are_episodes(tensors, header):
            raise ValueError(f"{path} holds no episodes that this version can read; make it anew")
        _check_header(path, header)
        return tensors, header, _listed_rows(path, header["films"], films)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise OSError(damaged) from error


def _check_header(path: str | Path, header: Mapping[str, Any]) -> None:
    """Refuse a header whose values are not what those who use them take for granted; the text names the key."""
    check_form(header, _HEADER, f"{path}: the header")
    shots = header["protocol"].get("n_shot")
    shots = list(shots.values()) if isinstance(shots, dict) else [shots]
    check_form(shots, [(int, None)], f"{path}: the header.protocol.n_shot")
    films = header["films"]
    rows, n_findings = films["finding_of_film"], len(films["findings"])
    n_paths = len(rows if films["paths"] is None else films["paths"])
    if not all(0 <= index < n_findings for index in rows) or n_paths != len(rows):
        raise ValueError(f"{path}: the header's films must have a path each, or none, and one of {n_findings} findings")


def _are_episodes(tensors: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> bool:
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    return (
        TENSORS.keys() >= shapes.keys() >= TENSORS.keys() - {"outside"}
        and "seed" in header["protocol"]
        and all(len(shape) == TENSORS[name] for name, shape in shapes.items())
        and len({shape[0] for shape in shapes.values()}) == 1
        and len({shapes[name][1] for name in ("class_ids", "support", "query")}) == 1
    )


def list_films(films: Embeddings, is_used: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """List films without their numbers or patients, in an order that does not depend on that of the rows.

    Args:
        films: labelled embeddings. Those without paths are listed all, row by row.
        is_used: which films to list, bool, shape (N,).

    Returns:
        Plain JSON values; and the row of each listed film, int64, shape (n_listed,).
    """
    here, rows, paths = _findings(films), list(range(len(films))), None
    if films.paths is not None:
        named = list(zip(here, films.paths, strict=True))
        rows = sorted(np.flatnonzero(is_used).tolist(), key=named.__getitem__)
        paths = [films.paths[row] for row in rows]
    findings = [here[row] for row in rows]
    names = sorted(set(findings))
    position = {name: index for index, name in enumerate(names)}
    lines = (f"{finding}\0{path}" for finding, path in zip(findings, paths or [""] * len(rows), strict=True))
    listed = {
        "findings": names,
        "finding_of_film": [position[name] for name in findings],
        "paths": paths,
        "hash": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }
    return listed, np.array(rows, dtype=np.int64)


def _listed_rows(path: str | Path, listed: Mapping[str, Any], films: Embeddings) -> np.ndarray:
    findings, here = [listed["findings"][index] for index in listed["finding_of_film"]], _findings(films)
    if listed["paths"] is None:
        if here != findings:
            raise ValueError(
                f"{path}: the films are named by row, and these {len(here)} rows are not the {len(findings)} of then; "
                "take the same rows, or save anew from embeddings with paths"
            )
        return np.arange(len(here))
    if films.paths is None:
        raise ValueError(
            f"{path}: the films are named by path, and these embeddings have no paths; embed the films anew"
        )
    row_of: dict[tuple[str, str], int] = {}
    for row, film in enumerate(zip(here, films.paths, strict=True)):
        if row_of.setdefault(film, row) != row:
            raise ValueError(f"{path}: {film[1]} occurs twice as {film[0]}; each film must be one row")
    wanted = list(zip(findings, listed["paths"], strict=True))
    if missing := [film for film in wanted if film not in row_of]:
        (finding, name), finding_here = missing[0], dict(zip(films.paths, here, strict=True))
        instead = f", which is {finding_here[name]} here" if name in finding_here else ""
        count = "a film that is" if len(missing) == 1 else f"{len(missing)} films that are"
        raise ValueError(
            f"{path}: the episodes ask for {count} not here, the first: {name} as {finding}{instead}; "
            "embed those films too, or draw the episodes anew"
        )
    return np.array([row_of[film] for film in wanted], dtype=np.int64)


def _findings(films: Embeddings) -> list[str]:
    names = films.class_names
    if not films.is_multi_label:
        return [names[index] for index in films.class_ids.tolist()]
    present = (sorted(names[index] for index in np.flatnonzero(row == 1).tolist()) for row in films.class_ids)
    return [" and ".join(found) or "no finding" for found in present]

"""The films that a file names: by finding and path, so that they are found again among other rows in any order."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewshot_cxr.embeddings import Embeddings


@dataclass(frozen=True)
class FilmList:
    """Films without their numbers or patients.

    `findings`: of each film; several are joined by "and". `paths`: of each film; None: they are known by their row.
    """

    findings: tuple[str, ...]
    paths: tuple[str, ...] | None

    @classmethod
    def of(cls, films: Embeddings, is_used: np.ndarray) -> tuple["FilmList", np.ndarray]:
        """List films, and return the row of each, int64, shape (n_listed,).

        The order does not depend on that of the rows. Films without paths are listed all, row by row.

        Args:
            films: labelled embeddings.
            is_used: which films to list, bool, shape (N,).
        """
        found = _findings(films)
        if films.paths is None:
            return cls(tuple(found), None), np.arange(len(films))
        named = list(zip(found, films.paths, strict=True))
        rows = sorted(np.flatnonzero(is_used).tolist(), key=named.__getitem__)
        findings, paths = tuple(found[row] for row in rows), tuple(films.paths[row] for row in rows)
        return cls(findings, paths), np.array(rows, dtype=np.int64)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) over finding and path of all films, in order."""
        paths = self.paths or ("",) * len(self.findings)
        rows = [f"{finding}\0{path}" for finding, path in zip(self.findings, paths, strict=True)]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values with the hash, by which `from_json` knows damage."""
        names = sorted(set(self.findings))
        position = {name: index for index, name in enumerate(names)}
        return {
            "findings": names,
            "finding_of_film": [position[name] for name in self.findings],
            "paths": None if self.paths is None else list(self.paths),
            "hash": self.hash,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FilmList":
        """Rebuild from `to_json`.

        Raises:
            ValueError: the films do not match their hash.
        """
        findings = tuple(value["findings"][index] for index in value["finding_of_film"])
        films = cls(findings, None if value["paths"] is None else tuple(value["paths"]))
        if films.hash != value["hash"]:
            raise ValueError("the list of films does not match its hash; restore it or make it anew")
        return films

    def rows_in(self, films: Embeddings) -> np.ndarray:
        """Return the row of each listed film among others, int64, shape (n_listed,).

        Raises:
            ValueError: a film is not there, is there twice or with another finding; without paths, other rows.
        """
        here = _findings(films)
        if self.paths is None:
            if tuple(here) != self.findings:
                raise ValueError(
                    f"the films are named by row, and these {len(here)} rows are not the {len(self.findings)} of then; "
                    "take the same rows, or save anew from embeddings with paths"
                )
            return np.arange(len(here))
        if films.paths is None:
            raise ValueError("the films are named by path, and these embeddings have no paths; embed the films anew")
        row_of: dict[tuple[str, str], int] = {}
        for row, film in enumerate(zip(here, films.paths, strict=True)):
            if row_of.setdefault(film, row) != row:
                raise ValueError(f"{film[1]} occurs twice as {film[0]}; each film must be one row")
        wanted = list(zip(self.findings, self.paths, strict=True))
        missing = [film for film in wanted if film not in row_of]
        if missing:
            (finding, path), finding_here = missing[0], dict(zip(films.paths, here, strict=True))
            instead = f", which is {finding_here[path]} here" if path in finding_here else ""
            count = "a film that is" if len(missing) == 1 else f"{len(missing)} films that are"
            raise ValueError(
                f"the episodes ask for {count} not here, the first: {path} as {finding}{instead}; "
                "embed those films too, or draw the episodes anew"
            )
        return np.array([row_of[film] for film in wanted], dtype=np.int64)


def _findings(films: Embeddings) -> list[str]:
    names = films.class_names
    if not films.is_multi_label:
        return [names[index] for index in films.class_ids.tolist()]
    present = (sorted(names[index] for index in np.flatnonzero(row == 1).tolist()) for row in films.class_ids)
    return [" and ".join(found) or "no finding" for found in present]

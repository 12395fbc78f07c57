"""One text that stands for the films that a result is of."""

import hashlib
from collections.abc import Sequence

import numpy as np

from fewshot_cxr.embeddings import Embeddings


def films_hash(paths: Sequence[str], findings: Sequence[str], patient_ids: np.ndarray) -> str:
    """Return SHA-256 (hex) over path and finding of each film, and over which films are of one patient.

    Neither the order of rows nor the names of patients matter: a patient is known by the first of its films.

    Args:
        paths: N texts, each film's own.
        findings: N texts; the findings of a film of several joined to one text.
        patient_ids: int64, shape (N,).
    """
    films = [f"{path}\0{finding}" for path, finding in zip(paths, findings, strict=True)]
    first: dict[int, str] = {}
    for film, patient in zip(films, patient_ids.tolist(), strict=True):
        first[patient] = min(first.get(patient, film), film)
    rows = sorted(f"{film}\0{first[patient]}" for film, patient in zip(films, patient_ids.tolist(), strict=True))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def data_hash(films: Embeddings) -> str:
    """Return `films_hash` of embedded films; the embeddings do not enter, so that two encoders have the same.

    Films without paths are known by their row. A film of several findings counts as such; what is not stated does not.
    """
    names = films.class_names
    if films.is_multi_label:
        findings = ["|".join(names[index] for index in np.flatnonzero(row == 1).tolist()) for row in films.class_ids]
    else:
        findings = [names[index] for index in films.class_ids.tolist()]
    return films_hash(films.film_names, findings, films.patient_ids)

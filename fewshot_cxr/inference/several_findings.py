"""Embeddings of films that may show several findings, or none."""

from dataclasses import replace
from typing import Any

import numpy as np

from fewshot_cxr.data import CachedFilms, findings_table, patient_groups
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.inference.embed import embed_films
from fewshot_cxr.records import Records


def embed_with_all_findings(encoder: Encoder, films: CachedFilms, **work: Any) -> Embeddings:
    """Embed decoded films with every finding of each; `work` is what `embed_films` takes besides."""
    # It asks each film for its one finding, which says nothing here.
    unnamed = tuple(replace(film, findings=("",)) for film in films.records)
    vectors = embed_films(encoder, replace(films, records=replace(films.records, films=unnamed)), **work).vectors
    return with_all_findings(vectors, films.records)


def with_all_findings(vectors: np.ndarray, records: Records) -> Embeddings:
    """Return vectors, float (N, dim), with the `findings_table` of their films: present, absent or not stated."""
    names = records.findings
    return Embeddings(
        vectors,
        findings_table(records, names),
        patient_ids=patient_groups(records),
        class_names=names,
        sources=[film.source or "" for film in records],
        paths=[film.path for film in records],
    )

"""The films of bank_new_disease.py: read, embedded and marked once, then exemplars or questions of a bank."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from new_disease_methods import LITE0, LITE0_SPEC, say

from fewshot_cxr import build_encoder, split_by_patient
from fewshot_cxr.data import cache_films, patient_groups, read_gray
from fewshot_cxr.data.film_marks import film_marks
from fewshot_cxr.encoders import fit_joined_head
from fewshot_cxr.inference import sample_exemplars
from fewshot_cxr.inference.bank.answering import AskedFilm
from fewshot_cxr.inference.bank.exemplar_table import ExemplarTable
from fewshot_cxr.inference.embed import film_vectors
from fewshot_cxr.records import Records
from fewshot_cxr.training.keeping import choose_keep


class Pool:
    """Films with their pooled features and marks, each made once.

    Args:
        records: one finding each.
        novel: the finding that is new.
        size_px: of the encoder's images.
        kept: a file that holds the pooled features, or is to hold them; None: no such file.
    """

    def __init__(self, records: Records, novel: str, *, size_px: int, kept: Path | None = None) -> None:
        self.records, self.novel = records, novel
        self.findings = np.array([film.finding for film in records])
        self.patients = np.array([f"patient {code}" for code in patient_groups(records).tolist()])
        spec = replace(LITE0_SPEC, size_px=size_px)
        encoder = build_encoder(LITE0, image_spec=spec, pretrained=True, pool="stages", output="pooled")
        self.widths = encoder.pooled_widths
        if kept is not None and kept.is_file():
            self.pooled = np.load(kept)["pooled"]
        else:
            self.pooled = film_vectors(encoder, cache_films(records, spec, folder=os.environ.get("FSCXR_CACHE")))
            if kept is not None:
                np.savez(kept, pooled=self.pooled, vectors=self.pooled, patients=self.patients)
        self.marks = [film_marks(read_gray(records.file(film))) for film in records]
        say(f"{novel}: {len(records)} films")

    def rows_of(self, seed: int) -> dict[str, np.ndarray]:
        """Return the rows of each part of a split, and "known" and "new": those of train that are not, or are, new."""
        row_of = {film.path: row for row, film in enumerate(self.records)}
        parts = split_by_patient(self.records, (0.6, 0.1, 0.3), seed=seed)
        rows = {part[0].split: np.array([row_of[film.path] for film in part]) for part in parts}
        is_new = self.findings[rows["train"]] == self.novel
        return rows | {"known": rows["train"][~is_new], "new": rows["train"][is_new]}

    def embed(self, known: np.ndarray) -> np.ndarray:
        """Return embeddings of all films by the head that is fitted to the known ones."""
        vectors = torch.from_numpy(self.pooled)
        class_ids = torch.from_numpy(np.unique(self.findings[known], return_inverse=True)[1])
        head = fit_joined_head(vectors[known], class_ids, self.widths)
        choice = choose_keep(vectors[known], self.records.take(known.tolist()), self.widths, seed=0)
        head.keep.fill_(choice.weight)
        with torch.inference_mode():
            return head(vectors).numpy()

    def sampled(self, rows: np.ndarray, n: int, seed: int) -> np.ndarray:
        """Return up to n of some rows of one finding, one of each patient before a second one."""
        if not n:
            return rows[:0]
        taken = {film.path for film in sample_exemplars(self.records.take(rows.tolist()), n, seed=seed)}
        return np.array([row for row in rows.tolist() if self.records[row].path in taken])

    def table(self, rows: np.ndarray, vectors: np.ndarray) -> ExemplarTable:
        """Return some films as exemplars."""
        films, own = self.records.take(rows.tolist()), tuple(self.patients[rows].tolist())
        return ExemplarTable(
            vectors=vectors[rows],
            features=self.pooled[rows],
            findings=tuple(self.findings[rows].tolist()),
            films=tuple(film.path for film in films),
            digests=self.digests(rows),
            patients=own,
            groups=own,
            sources=tuple(film.source or "" for film in films),
            ages=np.full(len(rows), np.nan, dtype=np.float32),
            has_patient=np.ones(len(rows), dtype=bool),
            is_frontal=np.array([self.marks[row].is_frontal for row in rows.tolist()]),
        )

    def digests(self, rows: np.ndarray) -> tuple[str, ...]:
        """Return by what films are known again here."""
        return tuple(f"film {row:06d}" for row in rows.tolist())

    def asked(self, rows: np.ndarray, vectors: np.ndarray) -> list[AskedFilm]:
        """Return some films as a bank is asked about them."""
        paths = [self.records[row].path for row in rows.tolist()]
        own = zip(paths, vectors[rows], self.pooled[rows], (self.marks[row] for row in rows.tolist()), strict=True)
        return [AskedFilm(path, vector, features, marks=marks) for path, vector, features, marks in own]

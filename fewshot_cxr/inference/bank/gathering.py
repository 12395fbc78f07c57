"""From films to the exemplars of a bank."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fewshot_cxr._progress import Bar, tell
from fewshot_cxr._visible import one_form, visible
from fewshot_cxr.data import CachedFilms, cache_films, find_films
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.inference.bank.choosing import choose
from fewshot_cxr.inference.bank.exemplar_table import ExemplarTable, table_of
from fewshot_cxr.inference.batches import embed_and_pool
from fewshot_cxr.inference.device import choose_device
from fewshot_cxr.inference.predictor import sample_exemplars
from fewshot_cxr.records import Record, Records

Films = Records | Sequence[str | Path] | str | Path
THUMBNAIL_PX = 64


def exemplars_of(
    encoder: Encoder,
    records: Records,
    n_exemplars: int | None = None,
    *,
    choice: str = "all",
    distance: str = "euclidean",
    seed: int = 0,
    thumbnails: bool = False,
    device: str = "auto",
    cache_folder: str | Path | None = None,
    progress: Bar | None = None,
) -> tuple[ExemplarTable, tuple[str, ...]]:
    """Decode and embed films, choose among them, and say which could not be read.

    Args:
        encoder: of the bank.
        records: one finding each.
        n_exemplars: of each finding; None: all.
        choice: a name in CHOICES.
        distance: a name in DISTANCES, for the choice.
        seed: of the choice.
        thumbnails: keep small pictures.
        device: "auto", "cpu", "cuda" or "cuda:N".
        cache_folder: of decoded films; see `cache_films`.
        progress: called with (films embedded, in all).
    """
    if n_exemplars is not None and choice == "random":  # it looks at no picture: the others need not be decoded
        records = sample_exemplars(records, n_exemplars, seed=seed)
    films = cache_films(records, encoder.image_spec, folder=cache_folder)
    features, vectors = _embedded(encoder, films, choose_device(device), progress)
    table = table_of(films, features, vectors, thumbnail_px=THUMBNAIL_PX if thumbnails else None)
    if n_exemplars is not None and choice != "random":
        rows = choose(table.embeddings, n_exemplars, how=choice, distance=distance, seed=seed)
        table = table.take(rows.tolist())
    known = set(records.problems)
    lost = (one for one in films.records.problems if one not in known)
    return table, tuple(f"left out {one.path}: {one.reason}" for one in lost)


def records_of(films: Films, finding: str) -> Records:
    """Return films as records of one finding.

    Args:
        films: Records; or files, or a folder: of these nobody knows the patient.
        finding: that all of them show.

    Raises:
        ValueError: the finding is no name.
    """
    finding = named_finding(finding)
    if isinstance(films, Records):
        return Records(tuple(replace(film, findings=(finding,)) for film in films), films.root)
    if isinstance(films, (str, Path)):
        folder = Path(films)
        films = find_films(folder)[0] if folder.is_dir() else [folder]
    files = [Path(film).resolve() for film in films]
    # Not the root of the machine: the names of its folders would stand in the bank.
    root = Path(os.path.commonpath([file.parent for file in files])) if files else Path.cwd()
    return Records(tuple(Record(file.relative_to(root).as_posix(), (finding,)) for file in files), root)


def named_finding(text: str) -> str:
    """Return the name of a finding as it will stand in a bank.

    Raises:
        ValueError: it is blank, or has letters that nobody sees.
    """
    name = one_form(text.strip())
    if not name or name != visible(name):
        raise ValueError(f"a finding has a name of visible letters, such as covid19, got {text!r}")
    return name


def _embedded(
    encoder: Encoder, films: CachedFilms, device: torch.device, progress: Bar | None
) -> tuple[np.ndarray, np.ndarray]:
    # One at a time: who else is in a batch moves the last digits, and the order of adding would show in the hash.
    parts = []
    for part in embed_and_pool(encoder, (films.rows([row]) for row in range(len(films))), device):
        parts.append(part)
        tell(progress, len(parts), len(films))
    features, vectors = (np.concatenate(some) for some in zip(*parts, strict=True))
    return features, vectors

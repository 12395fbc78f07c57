"""Films through a trained encoder to embeddings, a batch at a time."""

import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from fewshot_cxr import data
from fewshot_cxr._checks import check_whole
from fewshot_cxr._progress import Auto, Bar, bar_of, tell
from fewshot_cxr.data.reading import read_all
from fewshot_cxr.embeddings import Embeddings, warn_of_collapse
from fewshot_cxr.encoders import Encoder, as_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.batches import embed_and_pool, for_many, head_vectors
from fewshot_cxr.inference.device import choose_device
from fewshot_cxr.inference.kept_features import KeptFeatures, features_kept
from fewshot_cxr.records import Problem, Record, Records


def embed(
    encoder: Encoder | nn.Module,
    records: Records | Dataset[Any],
    *,
    image_spec: ImageSpec | None = None,
    batch_size: int = 128,
    device: str = "auto",
    cache_folder: str | Path | None = None,
    progress: Bar | Auto | None = "auto",
) -> Embeddings:
    """Embed films, each once.

    Args:
        encoder: its `image_spec` says how films are prepared. Or any module of torch whose output is the embedding.
        records: single-label films, or a Dataset (see `DatasetFilms`).
        image_spec: what the images of a module are; an encoder has its own.
        batch_size: films at a time; changes speed and memory only.
        device: "auto", "cpu", "cuda" or "cuda:N".
        cache_folder: of decoded films; None: FSCXR_CACHE, else the user's cache folder.
        progress: called with (films embedded, in all); "auto": bars in a terminal or a notebook; None: nothing.

    Returns:
        One row per readable film, in the order of `records`. Unreadable films are left out with a warning that names
        the first; `cache_films` gives all of them.

    Raises:
        FileNotFoundError: no film is readable.
        TypeError: a module without an image spec.
        ValueError: absent device, no film, a film with several findings, or a module that does not take such images.

    Examples:
        >>> white, gray = np.full((8, 8), 255, dtype=np.uint8), np.full((8, 8), 128, dtype=np.uint8)
        >>> films = [(white, "normal"), (gray, "covid19")]  # or Records, or a Dataset of torch
        >>> found = embed(nn.Flatten(), films, image_spec=ImageSpec(size_px=8), device="cpu")
        >>> found.vectors.shape, found.class_names, found.class_ids.tolist()
        ((2, 64), ('covid19', 'normal'), [1, 0])
    """
    encoder, report = as_encoder(encoder, image_spec), bar_of(progress, "embedding films")
    if not isinstance(records, Records):
        films: data.CachedFilms = data.DatasetFilms(records, encoder.image_spec)
        return embed_films(encoder, films, batch_size=batch_size, device=device, progress=report)
    decoding = bar_of("auto", "decoding films") if progress == "auto" else None
    films = data.cache_films(records, encoder.image_spec, folder=cache_folder, progress=decoding)
    n_lost = len(records) - len(films)
    if n_lost:
        first = films.records.problems[len(records.problems)]
        warnings.warn(
            f"{n_lost} of {len(records)} films are unreadable and left out, the first: {first.path} ({first.reason})",
            stacklevel=2,
        )
    return embed_films(encoder, films, batch_size=batch_size, device=device, progress=report)


def embed_films(
    encoder: Encoder,
    films: data.CachedFilms,
    *,
    is_multi_label: bool = False,
    batch_size: int = 128,
    device: str = "auto",
    progress: Bar | None = None,
) -> Embeddings:
    """Embed films that are decoded already; see `embed`, and `with_facts` for `is_multi_label`.

    Examples:
        >>> from fewshot_cxr import data
        >>> from fewshot_cxr.encoders import as_encoder
        >>> spec, film = ImageSpec(size_px=8, mean=(0.5,), std=(0.25,)), np.full((8, 8), 255, dtype=np.uint8)
        >>> encoder = as_encoder(nn.Sequential(nn.AvgPool2d(8), nn.Flatten()), spec)  # the mean gray of a film
        >>> embed_films(encoder, data.DatasetFilms([(film, "normal")], spec), device="cpu").vectors.tolist()
        [[2.0]]
    """
    vectors = film_vectors(encoder, films, batch_size=batch_size, device=device, keeps=True, progress=progress)
    if any((films.rows([row]) != films.rows([0])).any() for row in range(1, len(films))):  # they are no copies of one
        warn_of_collapse(vectors, "embedding")
    distance, weights = encoder.card.get("distance"), encoder.origin
    return with_facts(vectors, films.records, is_multi_label=is_multi_label, distance=distance, weights=weights)


def film_vectors(
    encoder: Encoder,
    films: data.CachedFilms,
    *,
    batch_size: int = 128,
    device: str = "auto",
    keeps: bool = False,
    progress: Bar | None = None,
) -> np.ndarray:
    """Return the embeddings of decoded films, float32, shape (N, dim); see `embed`.

    Args:
        encoder: as for `embed`.
        films: as for `embed_films`.
        batch_size: as for `embed`.
        device: as for `embed`.
        keeps: look for features that were kept of the films, and keep those of the others; for an encoder that is asked
            again, not for one in training.
        progress: as for `embed`.
    """
    check_whole(batch_size, "batch_size", 1)
    if not len(films):
        raise ValueError("there is no film to embed")
    chosen, parts, n_done = choose_device(device), [], 0
    kept = features_kept(encoder, films, chosen) if keeps else None
    with closing(film_features(encoder, films, chosen, batch_size=batch_size, kept=kept)) as batches:
        for features in batches:
            parts.append(head_vectors(encoder, torch.from_numpy(features)))
            n_done += len(features)
            tell(progress, n_done, len(films))
    return np.concatenate(parts)


def film_features(
    encoder: Encoder,
    films: data.CachedFilms,
    device: torch.device,
    *,
    batch_size: int,
    kept: KeptFeatures | None = None,
) -> Generator[np.ndarray]:
    """Yield the pooled features of decoded films, float32, shape (B, n_features), batch by batch in their order."""
    encoder, quick = encoder.to(device), None
    is_known = np.zeros(len(films), dtype=bool) if kept is None else kept.is_known
    try:
        for first in range(0, len(films), batch_size):
            rows = np.arange(first, min(first + batch_size, len(films)))
            features = np.empty((len(rows), encoder.n_features), dtype=np.float32)
            known = is_known[rows]
            if kept is not None:
                features[known] = kept.of(rows[known])
            if not known.all():
                images = films.rows(rows[~known])
                quick = for_many(encoder, images, device) if quick is None else quick
                features[~known] = next(embed_and_pool(quick, [images], device))[0]
                if kept is not None:
                    kept.keep(rows[~known], features[~known])
            yield features
    finally:  # of a run that is stopped, too
        if kept is not None:
            kept.write()


def embed_files(
    encoder: Encoder,
    files: Sequence[str | Path],
    *,
    batch_size: int = 128,
    device: str = "auto",
    any_modality: bool = False,
    progress: Bar | None = None,
) -> tuple[np.ndarray, list[Path], list[Problem]]:
    """Embed unlabelled films by file name, without the cache.

    Args:
        encoder: its `image_spec` says how films are prepared.
        files: of the films.
        batch_size: films at a time; changes speed and memory only.
        device: "auto", "cpu", "cuda" or "cuda:N".
        any_modality: take what is no X-ray of the chest by its DICOM header, too.
        progress: called with (films done, films in all).

    Returns:
        Embeddings, float32, shape (n_readable, dim); the readable files; what was left out and why.

    Raises:
        FileNotFoundError: no file is readable; the first reason is named.

    Examples:
        >>> from fewshot_cxr.encoders import as_encoder
        >>> import tempfile
        >>> from PIL import Image
        >>> encoder = as_encoder(nn.Flatten(), ImageSpec(size_px=8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (8, 8)).save(f"{folder}/film.png")
        ...     files = [f"{folder}/film.png", f"{folder}/gone.png"]
        ...     vectors, read, problems = embed_files(encoder, files, device="cpu")
        >>> vectors.shape, [file.name for file in read], len(problems)
        ((1, 64), ['film.png'], 1)
    """
    check_whole(batch_size, "batch_size", 1)
    chosen = choose_device(device)
    read: list[Path] = []
    problems: list[Problem] = []
    facts: list[tuple[Record, data.DecodingFacts]] = []
    parts = []

    def decoded(path: Path) -> tuple[np.ndarray, data.DecodingFacts]:
        film = data.decode_film(path, bit_depth=encoder.image_spec.bit_depth, any_modality=any_modality)
        return data.to_square(film.gray, encoder.image_spec), film.facts

    for first in range(0, len(files), batch_size):
        films, paths = [], [Path(path) for path in files[first : first + batch_size]]
        for path, found in zip(paths, read_all(decoded, paths), strict=True):
            if isinstance(found, str):
                problems.append(Problem(None, str(path), found, "unreadable"))
                continue
            films.append(found[0])
            read.append(path)
            facts.append((Record(str(path), ()), found[1]))
        parts += [vectors for _, vectors in embed_and_pool(encoder, [np.stack(films)] if films else [], chosen)]
        tell(progress, min(first + batch_size, len(files)), len(files))
    if not read:
        reason = f"{problems[0].path}: {problems[0].reason}" if problems else "there is none"
        raise FileNotFoundError(f"no film is readable: {reason}")
    for note in data.notes_of_films(facts):
        warnings.warn(note, stacklevel=2)
    return np.concatenate(parts), read, problems


def with_facts(
    vectors: np.ndarray,
    records: Records,
    *,
    is_multi_label: bool = False,
    distance: str | None = None,
    weights: Mapping[str, Any] | None = None,
) -> Embeddings:
    """Return vectors with the findings, patient, source and path of the films that they belong to.

    Args:
        vectors: float, shape (N, dim).
        records: N films.
        is_multi_label: a film may show several findings, or none: it has a row of `findings_table`.
        distance: see `Embeddings`.
        weights: see `Embeddings`.
    """
    names = records.findings
    return Embeddings(
        vectors,
        data.findings_table(records, names) if is_multi_label else [film.finding for film in records],
        # As in splits: a patient whose films lie in two groups joins these, and meets itself in no episode.
        patient_ids=data.patient_ids(records),
        class_names=names,
        sources=[film.source or "" for film in records],
        paths=[film.path for film in records],
        distance=distance,
        weights=weights,
    )

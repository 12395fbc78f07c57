"""What a film shows without an encoder: the baselines that an encoder must beat."""

import warnings

import numpy as np
import torch
from torch.nn import functional

from fewshot_cxr.data import CachedFilms
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.image_spec import BORDER_SHARE
from fewshot_cxr.inference.embed import with_facts

_CHUNK = 512


def embed_baselines(films: CachedFilms) -> dict[str, Embeddings]:
    """Return every baseline that the films allow, by name: pixels, border, and source where sources are stated.

    Examples:
        >>> from fewshot_cxr import ImageSpec
        >>> from fewshot_cxr.data import DatasetFilms
        >>> films = DatasetFilms([(np.zeros((64, 64), np.uint8), "normal")], ImageSpec(size_px=64))
        >>> {name: baseline.vectors.shape for name, baseline in embed_baselines(films).items()}  # no source is stated
        {'pixels': (1, 1024), 'border': (1, 448)}
    """
    baselines = {"pixels": embed_pixels(films), "border": embed_border(films)}
    source = embed_source(films)
    return baselines if source is None else {**baselines, "source": source}


def embed_floors(films: CachedFilms) -> dict[str, Embeddings]:
    """Return what `embed_baselines` does; this name goes in the next minor release."""
    warnings.warn("embed_floors is now embed_baselines", DeprecationWarning, stacklevel=2)
    return embed_baselines(films)


def embed_pixels(films: CachedFilms, side_px: int = 32) -> Embeddings:
    """Return the films themselves, averaged down to side_px x side_px, 0..1: float32, shape (N, side_px^2).

    Examples:
        >>> from fewshot_cxr import ImageSpec
        >>> from fewshot_cxr.data import DatasetFilms
        >>> film = np.uint8([[0] * 4 + [255] * 4] * 8)  # the left half is black, the right one white
        >>> embed_pixels(DatasetFilms([(film, "normal")], ImageSpec(size_px=8)), side_px=2).vectors.tolist()
        [[0.0, 1.0, 0.0, 1.0]]
    """
    return with_facts(_thumbnails(films, side_px), films.records)


def embed_border(films: CachedFilms, side_px: int = 32) -> Embeddings:
    """Return the outer eighth of each side of the thumbnail alone; what it tells cannot be lung.

    Examples:
        >>> from fewshot_cxr import ImageSpec
        >>> from fewshot_cxr.data import DatasetFilms
        >>> film = np.pad(np.zeros((6, 6), np.uint8), 1, constant_values=255)  # a white frame of one pixel
        >>> border = embed_border(DatasetFilms([(film, "normal")], ImageSpec(size_px=8)), side_px=8)
        >>> border.vectors.shape, border.vectors.min().item()
        ((1, 28), 1.0)
    """
    width = max(1, round(side_px * BORDER_SHARE))
    is_border = np.ones((side_px, side_px), dtype=bool)
    is_border[width:-width, width:-width] = False
    return with_facts(_thumbnails(films, side_px)[:, is_border.ravel()], films.records)


def embed_source(films: CachedFilms) -> Embeddings | None:
    """Return 1 at the film's source and 0 elsewhere, float32, shape (N, n_sources); None where no film states one.

    Examples:
        >>> from fewshot_cxr.data import CachedFilms
        >>> from fewshot_cxr import Record, Records
        >>> sources = {"a.png": "hospital_a", "b.png": "hospital_b", "c.png": "hospital_b"}
        >>> films = tuple(Record(path, ("normal",), source=source) for path, source in sources.items())
        >>> nowhere = np.zeros(0, dtype=np.int64)  # no pixel plays a part
        >>> embed_source(CachedFilms(Records(films, "."), (), nowhere, nowhere, size_px=224)).vectors.tolist()
        [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    sources = [film.source or "" for film in films.records]
    names = sorted(set(sources))
    if names == [""]:
        return None
    return with_facts(np.array([[source == name for name in names] for source in sources], np.float32), films.records)


def _thumbnails(films: CachedFilms, side_px: int) -> np.ndarray:
    vectors = np.empty((len(films), side_px**2), dtype=np.float32)
    for first in range(0, len(films), _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, len(films)))
        images = torch.from_numpy(films.rows(rows)).unsqueeze(1).float() / 255
        vectors[rows] = functional.interpolate(images, size=side_px, mode="area").flatten(1).numpy()
    return vectors

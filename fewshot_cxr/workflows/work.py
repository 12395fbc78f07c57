"""Where and how films are decoded and embedded."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fewshot_cxr.data import CachedFilms, cache_films
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import embed_films
from fewshot_cxr.records import Records

Progress = Callable[[str, int, int], None]
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Work:
    """Where and how films are decoded and embedded; it changes no number."""

    device: str = "auto"
    cache_folder: Path | None = None
    n_workers: int | None = None
    progress: Progress | None = None

    def decode(self, records: Records, spec: ImageSpec, what: str) -> CachedFilms:
        """Decode films, or find them in the cache."""
        report = self.report(f"decoding {what} films")
        return cache_films(records, spec, folder=self.cache_folder, n_workers=self.n_workers, progress=report)

    def embed(self, encoder: Encoder, films: CachedFilms, what: str) -> Embeddings:
        """Embed decoded films."""
        report = self.report(f"embedding {what} films")
        return embed_films(encoder, films, batch_size=BATCH, device=self.device, progress=report)

    def report(self, what: str) -> Callable[[int, int], None] | None:
        """Return how to tell of one kind of work."""
        return None if self.progress is None else partial(self.progress, what)

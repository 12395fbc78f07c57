"""On what films are decoded and go through a network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fewshot_cxr import data, inference  # each name loads when it is asked for: torch where films go through a network
from fewshot_cxr._progress import Bar, Bars
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import Records

if TYPE_CHECKING:
    from fewshot_cxr.embeddings import Embeddings
    from fewshot_cxr.encoders import Encoder


@dataclass(frozen=True, kw_only=True)
class Compute:
    """On what films are decoded and go through a network, and how many at a time; it changes no number.

    Args:
        device: as for `choose_device`.
        n_workers: threads that decode; None: one for each core.
        cache_folder: of decoded films; None: as for `cache_films`.
        batch_size: films at a time.
        progress: called with (what is done, done, total).
    """

    device: str = "auto"
    n_workers: int | None = None
    cache_folder: str | Path | None = None
    batch_size: int = 64
    progress: Bars | None = None

    def decode(self, records: Records, spec: ImageSpec, what: str = "films") -> data.CachedFilms:
        """Decode films, or find them in the cache."""
        report = self.report(f"decoding {what}")
        return data.cache_films(records, spec, folder=self.cache_folder, n_workers=self.n_workers, progress=report)

    def embed(
        self, encoder: Encoder, films: data.CachedFilms, what: str = "films", *, is_multi_label: bool = False
    ) -> Embeddings:
        """Embed decoded films of one finding each, or of several."""
        return inference.embed_films(
            encoder,
            films,
            is_multi_label=is_multi_label,
            batch_size=self.batch_size,
            device=self.device,
            progress=self.report(f"embedding {what}"),
        )

    def classify(self, classifier: inference.Classifier, films: data.CachedFilms, what: str = "films") -> np.ndarray:
        """Return the logits of decoded films."""
        how = {"batch_size": self.batch_size, "device": self.device, "progress": self.report(f"classifying {what}")}
        return inference.classify_films(classifier, films, **how)  # type: ignore[arg-type]  # of their own types

    def report(self, what: str) -> Bar | None:
        """Return how to tell of one kind of work."""
        return None if self.progress is None else partial(self.progress, what)

"""The methods of new_disease.py: what each makes of all films, given those that it may learn from."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from fewshot_cxr import ImageSpec, SiameseTrainer, build_encoder
from fewshot_cxr.data import cache_films
from fewshot_cxr.encoders import fit_joined_head, weights_spec
from fewshot_cxr.inference import embed_films
from fewshot_cxr.inference.baselines import embed_pixels, embed_source
from fewshot_cxr.inference.embed import film_vectors
from fewshot_cxr.records import Records
from fewshot_cxr.training.keeping import choose_keep

KNOWN = ("normal", "pneumonia")
LEARNT = {"known": "train", "known of val": "val"}
LITE0 = "efficientnet_lite0"
LITE0_SPEC = weights_spec(LITE0, pretrained=True)
TRAINED: dict[str, dict[str, Any]] = {
    "resnet9": {},
    "resnet9+simclr": {"aux": "simclr"},
    "covidnet": {"encoder": "covidnet"},
    "efficientnet_attention": {"encoder": "efficientnet_attention"},
    "lite0-tuned": {
        "encoder": LITE0,
        "encoder_options": {"pretrained": True, "output": "pooled"},
        "image_spec": replace(LITE0_SPEC, size_px=224),
        "lr": 3e-4,
        "layer_decay": 0.7,
        "n_epochs": 4,
    },
}


@dataclass(frozen=True)
class View:
    """What a method makes of all films, how it is compared, and what that cost beside embedding."""

    vectors: np.ndarray
    distance: str = "euclidean"
    seconds: float = 0.0


class Films:
    """The films of a data set, decoded and embedded once for each frozen encoder."""

    def __init__(self, records: Records, folder: str | None) -> None:
        self.records, self.folder = records, folder
        self.findings = np.array([film.finding for film in records])
        self.kept: dict[int, tuple[torch.Tensor, tuple[int, ...]]] = {}

    def pooled(self, size_px: int) -> tuple[torch.Tensor, tuple[int, ...]]:
        """Return means and spreads of EfficientNet-Lite0's stages of each film, and the widths of their groups."""
        if size_px not in self.kept:
            spec = replace(LITE0_SPEC, size_px=size_px)
            encoder = build_encoder(LITE0, image_spec=spec, pretrained=True, pool="stages", output="pooled")
            films, start = self.decoded(spec), time.perf_counter()
            vectors = film_vectors(encoder, films)
            say(f"Lite0, {size_px} px: {len(vectors)} films in {time.perf_counter() - start:.0f} s")
            self.kept[size_px] = torch.from_numpy(vectors), encoder.pooled_widths
        return self.kept[size_px]

    def decoded(self, spec: ImageSpec):
        """Return the films as the spec has them."""
        return cache_films(self.records, spec, folder=self.folder)


def frozen(films: Films, rows: Mapping[str, np.ndarray], *, size_px: int) -> View:
    """Return what the makers read: the means of the last map, which are the fourth group."""
    vectors, widths = films.pooled(size_px)
    return View(torch.split(vectors, list(widths), dim=1)[3].numpy(), "cosine")


def joined(films: Films, rows: Mapping[str, np.ndarray], *, of: Films | None = None, size_px: int = 320) -> View:
    """Return the published features, and beside them what the known films, of this or of another set, teach.

    What `SiameseTrainer(keep="auto")` does, on features that are embedded once for all splits.
    """
    of, known = of or films, rows["known"]
    vectors, widths = of.pooled(size_px)
    class_ids = torch.from_numpy(np.unique(of.findings[known], return_inverse=True)[1])
    start = time.perf_counter()
    head = fit_joined_head(vectors[known], class_ids, widths)
    choice = choose_keep(vectors[known], of.records.take(known.tolist()), widths, seed=0)
    head.keep.fill_(choice.weight)
    seconds = time.perf_counter() - start
    say(f"joined: weight {choice.weight:g} ({choice.how})")
    with torch.inference_mode():
        return View(head(films.pooled(size_px)[0]).numpy(), seconds=seconds)


def trained(films: Films, rows: Mapping[str, np.ndarray], *, settings: Mapping[str, Any]) -> View:
    """Train on the known films of train, choose the epoch by those of val, and embed all."""
    usual = {"image_spec": ImageSpec(size_px=96), "cache_folder": films.folder, "seed": 0}
    start = time.perf_counter()
    parts = (films.records.take(rows[name].tolist()) for name in LEARNT)
    fitted = SiameseTrainer(**{**usual, **settings}).fit(*parts, progress=None)
    seconds = time.perf_counter() - start
    embedded = embed_films(fitted.encoder, films.decoded(fitted.encoder.image_spec))
    return View(embedded.vectors, fitted.card["distance"], seconds)


def shown(films: Films, rows: Mapping[str, np.ndarray], *, what: Callable[..., Any]) -> View:
    """Return what needs no encoder."""
    return View(what(films.decoded(ImageSpec(size_px=96))).vectors)


FREE: dict[str, Callable[..., View]] = {
    "pixels": partial(shown, what=embed_pixels),
    "source": partial(shown, what=embed_source),
    "lite0-224": partial(frozen, size_px=224),
    "lite0-320": partial(frozen, size_px=320),
    "joined": joined,
}
SIMPLE = ("pixels", "source")  # what needs no encoder is asked by one rule alone
METHODS = FREE | {name: partial(trained, settings=settings) for name, settings in TRAINED.items()}


def say(text: str) -> None:
    """Say on the other channel how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

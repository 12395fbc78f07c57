"""Films as pooled features, embedded once: what the head is trained on where nothing before it is."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.data import CachedFilms, XrayDataset, scale_films, standardise
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.encoders.base import eval_mode
from fewshot_cxr.inference.batches import for_many, head_vectors, portions
from fewshot_cxr.inference.embed import film_features
from fewshot_cxr.inference.kept_features import features_kept
from fewshot_cxr.inference.out_of_memory import pooled_features
from fewshot_cxr.torch_seeding import torch_generator
from fewshot_cxr.training.views import Augmenter

_BATCH = 64  # films at a time


@dataclass(frozen=True, eq=False)
class FilmVectors:
    """Pooled features of a run's films, from which batches are drawn in place of images.

    Args:
        train: of the training films, float32, shape (n_films, n_views, n_features).
        val: of the validation films, float32, shape (n_films, n_features).
        class_ids: of the training films, as `XrayDataset` has them.
        group_ids: of the training films, likewise.
    """

    train: Tensor
    val: Tensor
    class_ids: np.ndarray
    group_ids: np.ndarray

    @property
    def notes(self) -> tuple[str, ...]:
        """Say how often each film was embedded."""
        n_views = self.train.shape[1]
        how = "as it is" if n_views == 1 else f"training films in {n_views} views"
        return (f"the head alone is trained: each film was embedded once, {how}",)

    def val_embeddings(self, encoder: Encoder) -> np.ndarray:
        """Return what the head makes of the validation films, float32, shape (n_films, dim)."""
        return head_vectors(encoder, self.val)

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        """Return vectors, shape (B, n_views, n_features), and class ids, as `XrayDataset` does for images."""
        return self.train[rows], torch.from_numpy(self.class_ids[rows])


def trains_head_alone(encoder: Encoder) -> bool:
    """Return whether no weight before the head is trained, so that pooled features stay what they are."""
    head = {id(weight) for weight in encoder.head.parameters()}
    return not any(weight.requires_grad for weight in encoder.parameters() if id(weight) not in head)


def embed_once(
    encoder: Encoder,
    train: XrayDataset,
    val: CachedFilms,
    *,
    augmenter: Augmenter,
    n_views: int,
    device: torch.device,
    progress: Bar | None,
) -> FilmVectors:
    """Embed the training films, as they are and perhaps in augmented views, and the validation films as they are.

    Args:
        encoder: moves to the device; its mode is as before afterwards.
        train: films that the head is trained on.
        val: films for validation.
        augmenter: makes the views; where it changes nothing, there is but the film as it is.
        n_views: of each training film, the first being the film as it is.
        device: of the work; the vectors lie on the CPU.
        progress: called with (films embedded, in all), a film counting once for each view.
    """
    n_views = 1 if augmenter.augmentation is None else n_views
    n_all, parts = n_views * len(train) + len(val), list[Tensor]()

    def take(features: Tensor) -> None:
        parts.append(features)
        tell(progress, sum(map(len, parts)), n_all)

    def take_all(films: CachedFilms) -> None:
        kept = features_kept(encoder, films, device)
        with closing(film_features(encoder, films, device, batch_size=_BATCH, kept=kept)) as batches:
            for features in batches:
                take(torch.from_numpy(features))

    take_all(train.films)
    quick = for_many(encoder, train.films.rows([0]), device) if n_views > 1 else encoder
    with eval_mode(quick), torch.inference_mode():
        for view in range(1, n_views):
            for images in _view(train, augmenter, view):
                moved = standardise(images.to(device), encoder.image_spec).to(memory_format=torch.channels_last)
                take(torch.cat([pooled_features(quick, part) for part in portions(moved)]).float().cpu())
    take_all(val)
    vectors = torch.cat(parts)
    views, plain = vectors[: -len(val)].clone(), vectors[-len(val) :].clone()
    stored = views.view(n_views, len(train), -1).transpose(0, 1).contiguous()
    return FilmVectors(stored, plain, train.class_ids, train.group_ids)


def stored_view(vectors: Tensor, seed: int, *key: int | str) -> Tensor:
    """Take one view of each film, shape (N, n_features) of (N, n_views, n_features); each draws its own."""
    drawn = torch.randint(vectors.shape[1], (len(vectors),), generator=torch_generator(seed, "view", *key))
    return vectors[torch.arange(len(vectors), device=vectors.device), drawn.to(vectors.device)]


def _view(films: XrayDataset, augmenter: Augmenter, view: int) -> Iterator[Tensor]:
    for rows in _batches(len(films)):
        images, class_ids = films.__getitems__(rows)
        yield augmenter(scale_films(images), class_ids, "stored view", view, rows[0])


def _batches(n_films: int) -> Iterator[list[int]]:
    for first in range(0, n_films, _BATCH):
        yield list(range(first, min(first + _BATCH, n_films)))

"""Decoded films through a trained encoder, a batch at a time."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from fewshot_cxr.data import CachedFilms, to_images
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.encoders.modes import eval_mode


def film_batches(films: CachedFilms, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the films in order, uint8 (B, S, S), B at most `batch_size`."""
    for first in range(0, len(films), batch_size):
        yield films.rows(np.arange(first, min(first + batch_size, len(films))))


def embed_batches(encoder: Encoder, batches: Iterable[np.ndarray], device: torch.device) -> Iterator[np.ndarray]:
    """Yield embeddings, float32 (B, dim), of batches of films, uint8 (B, S, S).

    The encoder moves to the device; its mode (train, eval) is as before afterwards.
    """
    with eval_mode(encoder.to(device)):
        for films in batches:
            with torch.inference_mode():
                images = to_images(torch.from_numpy(films).to(device), encoder.image_spec)
                yield encoder(images.to(memory_format=torch.channels_last)).float().cpu().numpy()

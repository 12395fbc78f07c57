"""Batches of decoded films through an encoder: pooled features, and embeddings."""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr import data
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.encoders.base import eval_mode
from fewshot_cxr.encoders.folding import folded
from fewshot_cxr.inference.out_of_memory import pooled_features

_PIXELS_AT_ONCE = 800_000  # of a processor
_LOOKED_AT = 16  # films, for one on which folding is tried


def embed_batches(encoder: Encoder, batches: Iterable[np.ndarray], device: torch.device) -> Iterator[np.ndarray]:
    """Yield embeddings, float32 (B, dim), of batches of films, uint8 (B, S, S).

    The encoder moves to the device; its mode (train, eval) is as before afterwards. On a processor its batch
    normalisation is folded, so that vectors are those of `embed_and_pool` within rounding.
    """
    batches = iter(batches)
    first = next(batches, np.empty(0))
    quick = for_many(encoder.to(device), first, device)
    for _, vectors in embed_and_pool(quick, chain([first] if len(first) else [], batches), device):
        yield vectors


def embed_and_pool(
    encoder: Encoder, batches: Iterable[np.ndarray], device: torch.device
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pooled features, float32 (B, n_features), and embeddings of the same films; see `embed_batches`.

    A head that gives vectors of unit length takes from a film what tells that it is strange; its features keep that.
    """
    with eval_mode(encoder.to(device)):
        for films in batches:
            with torch.inference_mode():
                images = _as_weights(encoder, data.to_images(torch.from_numpy(films).to(device), encoder.image_spec))
                parts = [part.to(memory_format=torch.channels_last) for part in portions(images)]
                pooled = [pooled_features(encoder, part) for part in parts]
                heads = [encoder.head(encoder.dropout(part)) for part in pooled]
                found = [torch.cat(some).float().cpu().numpy() for some in (pooled, heads)]
            # Out of the mode: who asks for the next batch may train meanwhile.
            yield found[0], found[1]


def portions(images: Tensor) -> tuple[Tensor, ...]:
    """Part images that a processor embeds into few at a time.

    Blocks of memory so large that they are asked of the system anew for each layer cost it half of its time.

    Args:
        images: shape (N, C, S, S), on any device; those of another device stay together.
    """
    if images.device.type != "cpu":
        return (images,)
    return torch.split(images, max(1, _PIXELS_AT_ONCE // (images.shape[-2] * images.shape[-1])))


def for_many(encoder: Encoder, films: np.ndarray, device: torch.device) -> Encoder:
    """Return what embeds many films the soonest: on a processor the encoder with its batch normalisation folded.

    Args:
        encoder: its mode (train, eval) is as before afterwards.
        films: one at least to try it on, uint8, shape (N, S, S).
        device: of the encoder.
    """
    if device.type != "cpu" or not len(films):
        return encoder
    with eval_mode(encoder):
        some = films[:_LOOKED_AT]
        film = some.reshape(len(some), -1).std(axis=1).argmax()  # a black one, which could not be read, tells nothing
        images = data.to_images(torch.from_numpy(films[film, None]), encoder.image_spec)
        return folded(encoder, _as_weights(encoder, images))


def head_vectors(encoder: Encoder, pooled: Tensor) -> np.ndarray:
    """Return the embeddings, float32, shape (N, dim), of films whose pooled features are known."""
    with eval_mode(encoder), torch.inference_mode():
        embeddings: Tensor = encoder.head(_as_weights(encoder, pooled))
    return embeddings.float().cpu().numpy()


def _as_weights(encoder: Encoder, values: Tensor) -> Tensor:
    """Bring values to the device and the precision of an encoder's weights, if it has any."""
    weight = next((each for each in encoder.parameters() if each.is_floating_point()), values)
    return values.to(weight.device, weight.dtype)

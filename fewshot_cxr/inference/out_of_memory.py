"""Films that memory does not hold together are embedded in halves, and a warning says so."""

import warnings

import torch
from torch import Tensor

from fewshot_cxr.encoders import Encoder

_OF_THE_PROCESSOR = "can't allocate memory"  # torch has no error of its own for it


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of a GPU, or of the processor, is used up."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and _OF_THE_PROCESSOR in str(error)
    )


def pooled_features(encoder: Encoder, images: Tensor) -> Tensor:
    """Pool the features of images; those that memory does not hold together half by half, with the same result.

    Args:
        encoder: in eval mode, in which no film knows of another.
        images: standardised, shape (N, C, S, S).

    Returns:
        Shape (N, n_features).
    """
    try:
        return encoder.pool(encoder.features(images))
    except (RuntimeError, MemoryError) as error:
        if len(images) == 1 or not is_out_of_memory(error):
            raise
    # Here, as the error holds on to what was computed until then.
    half = -(-len(images) // 2)
    warnings.warn(f"out of memory: {len(images)} films are embedded {half} at a time (--batch-size)", stacklevel=2)
    return torch.cat([pooled_features(encoder, part) for part in torch.split(images, half)])

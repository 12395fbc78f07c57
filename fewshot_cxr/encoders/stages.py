"""Several layers of a network as one map: what films share with photographs lies in the middle, not at the end."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from fewshot_cxr.encoders.base import eval_mode

N_STAGES = 3  # from the end
_LEAST_VARIANCE = 1e-8  # the gradient of a root has none at 0


def stage_map(backbone: Any, images: Tensor) -> Tensor:
    """Return the last stages of a network of timm, and what its last layer makes of them, at the last one's places.

    Args:
        backbone: of timm, with `forward_intermediates`.
        images: as it takes them, float, shape (N, n_channels, S, S).

    Returns:
        Float32, shape (N, 2 n, h, w): the n channels of all of them, averaged within each place, then their squares,
        likewise, so that `pool_stages` finds means and spreads of the whole layers.
    """
    layers = [layer.float() for layer in _layers(backbone, images)]
    squares, grid = [layer.square() for layer in layers], (layers[-1].shape[2], layers[-1].shape[3])
    return torch.cat([adaptive_avg_pool2d(part, grid) for part in (*layers, *squares)], dim=1)


def pool_stages(features: Tensor) -> Tensor:
    """Return the mean and the standard deviation of each channel, (N, 2 n), of a map of `stage_map`."""
    means, squares = features.mean((2, 3)).chunk(2, dim=1)
    return torch.cat([means, (squares - means.square()).clamp(min=_LEAST_VARIANCE).sqrt()], dim=1)


def stage_widths(backbone: Any, images: Tensor) -> tuple[int, ...]:
    """Return the widths of the groups that `pool_stages` gives: the means of each layer, then the spreads of each.

    Raises:
        ValueError: the network does not give its stages, or does not take such images.
    """
    side = images.shape[-1]
    if not hasattr(backbone, "forward_intermediates"):
        raise ValueError(f"{type(backbone).__name__} of timm does not give its stages: take another pool")
    try:
        with torch.no_grad(), eval_mode(backbone):
            return 2 * tuple(layer.shape[1] for layer in _layers(backbone, images))
    except (AssertionError, RuntimeError) as error:  # timm's ways to refuse a size
        raise ValueError(f"{type(backbone).__name__} of timm does not take images of {side} px: {error}") from error


def _layers(backbone: Any, images: Tensor) -> list[Tensor]:
    blocks = getattr(backbone, "blocks", ())
    n_blocks = len(blocks) if getattr(backbone, "num_prefix_tokens", 0) else 0
    if n_blocks:  # a transformer's blocks are all of one size: from its second half on
        chosen = sorted({max(n_blocks * part // 4 - 1, 0) for part in (2, 3, 4)})
        return list(backbone.forward_intermediates(images, indices=chosen, norm=True, intermediates_only=True))
    last, maps = backbone.forward_intermediates(images, indices=N_STAGES)
    is_more = last.shape != maps[-1].shape and last.ndim == 4 and last.shape[2:] == maps[-1].shape[2:]
    return [*maps, last] if is_more else list(maps)

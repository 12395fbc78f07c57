"""A network as an explanation meets it, afterwards as it was: in eval mode, weights without gradients; maps as heat."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fewshot_cxr.encoders.base import eval_mode


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Hold a network in eval mode, no weight asking for a gradient; afterwards every flag is as it was, error or not.

    With no weight asking, autograd records nothing before the layer that an explanation asks for.
    """
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    try:
        for weight in learning:
            weight.requires_grad_(False)
        with eval_mode(network):
            yield
    finally:
        for weight in learning:
            weight.requires_grad_(True)


@contextmanager
def own_precision(device: torch.device, *, needs_gradient: bool) -> Iterator[None]:
    """Compute in the network's own precision and with or without gradients, whatever mode the caller is in."""
    with (
        torch.inference_mode(False),
        torch.set_grad_enabled(needs_gradient),
        torch.autocast(device.type, enabled=False),
    ):
        yield


def constant(values: Tensor, like: Tensor | None = None) -> Tensor:
    """Return the values without their history, on the device and in the precision of `like`.

    A tensor that was made in inference mode is copied, since autograd refuses it.
    """
    if like is not None:
        values = values.to(like.device, like.dtype)
    values = values.detach()
    return values.clone() if values.is_inference() and not torch.is_inference_mode_enabled() else values


def as_heat(maps: Tensor, images: Tensor) -> np.ndarray:
    """Stretch maps, float (N, h, w), over their images, (N, C, S, S), bilinearly: float32, shape (N, S, S).

    Raises:
        ValueError: a value is not finite.
    """
    if not bool(maps.isfinite().all()):
        raise ValueError("the heat is not finite; look for NaN in the images, the weights or the target")
    size = images.shape[2:]
    stretched = functional.interpolate(maps.detach().float().unsqueeze(1), size=size, mode="bilinear")
    heat: np.ndarray = stretched.squeeze(1).cpu().numpy()
    return heat

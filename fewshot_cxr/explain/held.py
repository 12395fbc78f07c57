"""A network as an explanation meets it: in eval mode, its weights without gradients, and afterwards as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fewshot_cxr.encoders.modes import eval_mode


@contextmanager
def held_still(network: nn.Module) -> Iterator[None]:
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
def plain_float(device: torch.device, *, needs_gradient: bool) -> Iterator[None]:
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

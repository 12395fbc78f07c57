"""A network in eval mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Hold a network in eval mode; afterwards every part of it is in the mode that it was in, error or not.

    Part by part: a partly frozen encoder holds some of its batch normalisations in eval mode while it trains, and the
    user may hold others.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training

"""Batch normalisation folded into the convolution before it: on a processor films are embedded a third sooner."""

import copy
from collections.abc import Iterator
from itertools import chain, pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized

from fewshot_cxr.encoders.base import Encoder

_SAME = 1e-4  # of the largest pooled feature: rounding gives 1e-6, and 4e-5 in deep networks of random weights
Pair = tuple[nn.Module, tuple[str, nn.Conv2d], tuple[str, nn.BatchNorm2d]]
"""a module, a convolution of it and the batch normalisation behind that, each with its name"""


@torch.no_grad()
def folded(encoder: Encoder, images: Tensor) -> Encoder:
    """Return an encoder that embeds the same sooner; it is of no other use.

    Which normalisation follows which convolution is guessed from their order, so both encoders are tried.

    Args:
        encoder: in eval mode; it stays as it is.
        images: to try them on, standardised, shape (N, C, S, S), N at least 1.

    Returns:
        A copy that shares the other weights; or the encoder, where nothing can be folded, a hook looks on, it cannot be
        copied, or the copy gives other pooled features.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference", 2018, arXiv:1712.05877, eq. 14.
    """
    if not any(_pairs(encoder)) or is_watched(encoder):
        return encoder
    shared = {id(weight): weight for weight in chain(encoder.parameters(), encoder.buffers())}
    try:
        copied = copy.deepcopy(encoder, shared)
        for module, (first, convolution), (second, norm) in list(_pairs(copied)):
            setattr(module, first, fuse_conv_bn_eval(convolution, norm).to(memory_format=torch.channels_last))
            setattr(module, second, nn.Sequential(*norm.children()))  # timm's normalisation holds the activation, too
        expected, found = (one.pool(one.features(images)) for one in (encoder, copied))
        is_same = bool((expected - found).abs().max() <= _SAME * expected.abs().max())
    except Exception:  # of any kind: a module of somebody's own, which cannot be copied, or not be changed
        return encoder
    return copied if is_same else encoder


def is_watched(network: nn.Module) -> bool:
    """Return whether a hook looks on when images go through a network, or a part of it."""
    return any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def _pairs(network: nn.Module) -> Iterator[Pair]:
    for module in network.modules():
        for (first, convolution), (second, norm) in pairwise(module.named_children()):
            if is_parametrized(convolution) or is_parametrized(norm):  # a weight that is made anew cannot be set
                continue
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
                yield module, (first, convolution), (second, norm)

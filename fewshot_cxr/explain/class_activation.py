"""CAM: the logit of a class, taken apart into what each place of the map adds to it."""

import numpy as np
import torch
from torch import Tensor, nn

from fewshot_cxr.encoders import Encoder
from fewshot_cxr.explain.forward import as_heat, constant, frozen, own_precision
from fewshot_cxr.explain.targets import ClassScore, check_class_ids

_INSTEAD = "take the method grad_cam"
_RELATIVE, _ABSOLUTE = 1e-3, 1e-5  # between two ways to average a map in single precision


def class_activation_map(encoder: Encoder, images: Tensor, target: ClassScore) -> np.ndarray:
    """Map what each place adds to the logit of a class: M = sum_k w_k F_k, of the map F before pooling.

    Signed: what speaks against the class is below 0 and stays there. Over the places of the map, before it is resized,
    M has the logit as its mean, but for the biases. The weights are those of the class composed with the encoder's own
    linear head.

    Args:
        encoder: one that averages its map (densenet121, resnet18, resnet50, covidnet, efficientnet_attention); it is
            left as it was.
        images: float, shape (N, n_channels, S, S), as for `encoder.features`.
        target: the class, by a linear head.

    Returns:
        Heat, float32, shape (N, S, S), in logits.

    Raises:
        TypeError: the target is no ClassScore.
        ValueError: the pooling is no average, a head is not linear, no such class, or images that the encoder refuses.

    Source: Zhou et al., "Learning Deep Features for Discriminative Localization", 2016, arXiv:1512.04150, eq. 2.
    """
    if not isinstance(target, ClassScore):
        raise TypeError(f"CAM maps a ClassScore alone, got {type(target).__name__}; {_INSTEAD}")
    layers = _linear_layers(encoder.head, target.head)
    with own_precision(images.device, needs_gradient=False), frozen(encoder):
        features = encoder.features(constant(images))
        weights = torch.diag(_channel_factors(encoder, features))
        for layer in layers:
            weights = constant(layer.weight, like=features) @ weights
        class_ids = check_class_ids(target.class_ids, len(images), len(weights)).to(weights.device)
        return as_heat(torch.einsum("nc,nchw->nhw", weights[class_ids], features), images)


def _linear_layers(*heads: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of heads that follow each other, first to last."""
    layers: list[nn.Linear] = []
    for head in heads:
        if isinstance(head, nn.Sequential):
            layers += _linear_layers(*head)
        elif isinstance(head, nn.Linear):
            layers.append(head)
        elif not isinstance(head, nn.Identity | nn.Dropout):
            raise ValueError(f"CAM needs linear heads after the pooling, got {type(head).__name__}; {_INSTEAD}")
    return layers


def _channel_factors(encoder: Encoder, features: Tensor) -> Tensor:
    """Return by what each channel's average is multiplied in pooling, shape (c,): 1, where it is not made a sum.

    By trial, for timm has many ways to pool: what gives the very averages of these maps and of a map of ones averages.
    """
    pooled, means = encoder.pool(features), features.mean((2, 3))
    factors = encoder.pool(torch.ones_like(features[:1]))[0]
    if pooled.shape != means.shape or not torch.allclose(pooled, means * factors, _RELATIVE, _ABSOLUTE):
        raise ValueError(f"CAM needs an encoder that averages its map, this one pools it otherwise; {_INSTEAD}")
    return factors

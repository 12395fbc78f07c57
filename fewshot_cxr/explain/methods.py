"""The ways to map heat besides Grad-CAM, and the table of all."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from fewshot_cxr._checks import lookup
from fewshot_cxr.encoders import EfficientNetAttention, Encoder
from fewshot_cxr.explain.forward import as_heat, constant, frozen, own_precision
from fewshot_cxr.explain.gradcam import FEATURES, grad_cam
from fewshot_cxr.explain.targets import ClassScore, Target, check_class_ids

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

    Examples:
        >>> from fewshot_cxr.encoders import build_encoder
        >>> encoder, head = build_encoder("covidnet", width=4, output="pooled").eval(), nn.Linear(32, 2, bias=False)
        >>> films = torch.rand(2, 1, 64, 64)
        >>> heat = class_activation_map(encoder, films, ClassScore(head, class_ids=1))
        >>> logits = head(encoder(films))[:, 1].detach().numpy()
        >>> heat.shape, np.allclose(heat.mean(axis=(1, 2)), logits, atol=1e-6)
        ((2, 64, 64), True)

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
    layers = []
    for layer in nn.Sequential(*heads).modules():
        if isinstance(layer, nn.Linear):
            layers.append(layer)
        elif not isinstance(layer, nn.Sequential | nn.Identity | nn.Dropout):
            raise ValueError(f"CAM needs linear heads after the pooling, got {type(layer).__name__}; {_INSTEAD}")
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


_Method = Callable[[Encoder, Tensor, Target | None, str | None], np.ndarray]


def attention_maps(encoder: Encoder, images: Tensor) -> dict[str, np.ndarray]:
    """Map how much each attention gate lets pass: where the network looks, whatever it then decides.

    Args:
        encoder: an `efficientnet_attention`; it is left as it was.
        images: float, shape (N, n_channels, S, S), as for `encoder.features`.

    Returns:
        "gate1" (the earlier stage) and "gate2" -> the gate's weights, float32, shape (N, S, S), 0 or above; their sum
        over the places of the map is 1 unless the encoder normalises them otherwise.

    Raises:
        ValueError: the encoder has no gates, or it refuses the images.

    Examples:
        >>> from fewshot_cxr.encoders import EfficientNetAttention
        >>> encoder = EfficientNetAttention(gate_width=8)
        >>> maps = attention_maps(encoder, torch.zeros(1, 1, 64, 64))
        >>> {name: heat.shape for name, heat in maps.items()}
        {'gate1': (1, 64, 64), 'gate2': (1, 64, 64)}

    Source: Schlemper et al., "Attention-Gated Networks for Improving Ultrasound Scan Plane Detection", 2018,
    arXiv:1804.05338.
    """
    if not isinstance(encoder, EfficientNetAttention):
        raise ValueError("this encoder has no attention gates, efficientnet_attention has; take the method grad_cam")
    with own_precision(images.device, needs_gradient=False), frozen(encoder):
        maps = encoder.attention_maps(constant(images))
        return {f"gate{number}": as_heat(weights.squeeze(1), images) for number, weights in enumerate(maps, start=1)}


def _grad_cam(encoder: Encoder, images: Tensor, target: Target | None, layer: str | None) -> np.ndarray:
    if target is None:
        raise ValueError("the method grad_cam needs a target: what is the heat to explain?")
    return grad_cam(encoder, images, target, layer=layer)


def _cam(encoder: Encoder, images: Tensor, target: Target | None, layer: str | None) -> np.ndarray:
    if layer not in (None, FEATURES):
        raise ValueError(f"the method cam maps {FEATURES!r} alone, got the layer {layer!r}; leave the layer out")
    return class_activation_map(encoder, images, target)  # type: ignore[arg-type]  # it refuses any other itself


def _attention(encoder: Encoder, images: Tensor, target: Target | None, layer: str | None) -> np.ndarray:
    if target is not None:
        raise ValueError("the method attention shows where the network looks, for no target; leave the target out")
    maps = attention_maps(encoder, images)
    if layer is not None:
        return lookup(maps, layer, what="layer of the method attention")
    mean: np.ndarray = np.mean(list(maps.values()), axis=0)
    return mean


METHODS: dict[str, _Method] = {"grad_cam": _grad_cam, "cam": _cam, "attention": _attention}
"""name -> method(encoder, images, target, layer) -> heat"""


def heat_maps(
    encoder: Encoder, images: Tensor, target: Target | None, *, method: str = "grad_cam", layer: str | None = None
) -> np.ndarray:
    """Draw heat by any method; see `grad_cam`, `class_activation_map` and `attention_maps`.

    Args:
        encoder: left as it was.
        images: float, shape (N, n_channels, S, S).
        target: what is to be explained; None, and None alone, for "attention". "cam" takes a ClassScore.
        method: a name in METHODS.
        layer: of grad_cam, as there; of attention "gate1" or "gate2", where None takes their mean.

    Returns:
        Heat, float32, shape (N, S, S); signed for "cam", else 0 or above.

    Raises:
        TypeError, ValueError: unknown method or layer, a target that the method does not take, or as the method does.

    Examples:
        >>> from fewshot_cxr.encoders import build_encoder
        >>> encoder, films = build_encoder("resnet9", width=4, output="pooled"), torch.rand(2, 1, 64, 64)
        >>> findings = nn.Linear(32, 3)
        >>> heat_maps(encoder, films, ClassScore(findings, class_ids=torch.tensor([0, 2])), method="grad_cam").shape
        (2, 64, 64)
    """
    return lookup(METHODS, method, what="method")(encoder, images, target, layer)

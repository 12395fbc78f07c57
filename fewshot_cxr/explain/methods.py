"""The ways to draw heat, by name; among them the weights that attention gates give to the places of a film."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from fewshot_cxr._checks import lookup
from fewshot_cxr.encoders import EfficientNetAttention, Encoder
from fewshot_cxr.explain.class_activation import class_activation_map
from fewshot_cxr.explain.forward import as_heat, constant, frozen, own_precision
from fewshot_cxr.explain.gradcam import FEATURES, grad_cam
from fewshot_cxr.explain.targets import Target

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
    """
    return lookup(METHODS, method, what="method")(encoder, images, target, layer)

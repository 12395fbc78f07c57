"""The weights that attention gates give to the places of a film."""

import numpy as np
from torch import Tensor

from fewshot_cxr.encoders import EfficientNetAttention, Encoder
from fewshot_cxr.explain.heat import as_heat
from fewshot_cxr.explain.held import constant, held_still, plain_float


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
    with plain_float(images.device, needs_gradient=False), held_still(encoder):
        maps = encoder.attention_maps(constant(images))
        return {f"gate{number}": as_heat(weights.squeeze(1), images) for number, weights in enumerate(maps, start=1)}

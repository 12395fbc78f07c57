"""EfficientNet-B0 with grid attention gates on its two last stages."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewshot_cxr._checks import check_at_least, lookup
from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.timm_encoder import create_backbone
from fewshot_cxr.image_spec import ImageSpec

_TAPS = (192, 320)
_GATING = 1280
_EPSILON = 1e-6
AGGREGATIONS = ("mean", "sum")
# The options that make the gates what they are in the published network.
PUBLISHED_GATES: dict[str, Any] = {"gate_stride": 3, "gate_width": 1280, "aggregation": "sum", "renormalise": False}


def _shares(weights: Tensor) -> Tensor:
    """Divide weights, 0 or above, by their sum over the places; where all are 0, all get the same."""
    is_empty = weights.sum((2, 3), keepdim=True) < _EPSILON
    weights = weights + _EPSILON * is_empty
    return weights / weights.sum((2, 3), keepdim=True)


def _above_smallest(values: Tensor) -> Tensor:
    return values - values.amin((2, 3), keepdim=True)


def _range(values: Tensor) -> Tensor:
    above = _above_smallest(values)
    return above / above.amax((2, 3), keepdim=True).clamp_min(_EPSILON)


# As published wherever that is defined: equal places, whose differences sum to 0, get equal weights here. "mean" cuts
# values below 0, whose published shares may be negative or endless.
NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_flow": lambda values: _shares(_above_smallest(values)),
    "softmax": lambda values: values.flatten(2).softmax(2).view_as(values),
    "mean": lambda values: _shares(values.relu()),
    "sigmoid": torch.sigmoid,
    "range": _range,
}
_UP_TO_ONE = ("sigmoid", "range")  # each place for itself; the others share out a sum of 1
# As published: a gate begins with every place open. "mean_flow", "softmax" and "range" do not change when all values
# rise, so that only "sigmoid" and "mean" feel it.
_FIRST_BIAS = {"sigmoid": 3.0, "mean": 3.0, "range": 3.0, "softmax": 10.0}


class EfficientNetAttention(Encoder):
    """A map of 1792 channels: what two gates let pass of the 192- and 320-channel stages, and the last map of 1280.

    Each gate compares a stage with the last map, place by place, and weighs the places. The three parts lie on one
    grid, a 32nd of the image, and are averaged over it.

    The published gates are `EfficientNetAttention(**PUBLISHED_GATES)`: 35.5 million weights, and at 224 px a grid of
    2 x 2, of which one place is always shut and which never sees the last row and column of the map; what they let pass
    is summed over the places. By default a gate sees every place, and the network has 7.9 million weights in all.

    Args:
        image_spec: how films become images; see `Encoder`.
        embedding_dim: width of the head; see `Encoder`.
        output: "head" or "pooled"; see `Encoder`.
        dropout: share of the pooled features; see `Encoder`.
        normalisation: how a gate's values become weights, a name in NORMALISATIONS.
        gate_stride: of the gates' 3x3 convolutions, which pad the map at stride 1 only.
        gate_width: channels inside a gate.
        aggregation: of what the gates let pass, over the places: "mean", or "sum" as published, which is the same but
            for a factor, and drowns the last map in pooled embeddings.
        renormalise: weights that share out a sum of 1 do so again on the grid of the stage, to which those of a coarser
            grid are stretched. Without it, as published, their sum grows with the number of places.
        pretrained: take ImageNet weights for the backbone from timm's hub, with their mean and std.

    Examples:
        >>> encoder = EfficientNetAttention(ImageSpec(size_px=64), gate_width=8, output="pooled").eval()
        >>> [tuple(gate.shape) for gate in encoder.attention_maps(torch.zeros(1, 1, 64, 64))]
        [(1, 1, 2, 2), (1, 1, 2, 2)]
        >>> encoder.embedding_dim  # 192 + 320 + 1280
        1792

    Source: Tan, Le, "EfficientNet", 2019, arXiv:1905.11946; Schlemper et al., "Attention-Gated Networks for Improving
    Ultrasound Scan Plane Detection", 2018, arXiv:1804.05338. The published backbone expands by 3x3 convolutions, ours
    by 1x1 as in the paper.
    """

    def __init__(
        self,
        image_spec: ImageSpec | None = None,
        *,
        normalisation: str = "mean_flow",
        gate_stride: int = 1,
        gate_width: int = 128,
        aggregation: str = "mean",
        renormalise: bool = True,
        pretrained: bool = False,
        embedding_dim: int | None = None,
        output: str = "head",
        dropout: float = 0.0,
    ) -> None:
        lookup(NORMALISATIONS, normalisation, what="normalisation")
        lookup(dict.fromkeys(AGGREGATIONS), aggregation, what="aggregation")
        check_at_least(gate_stride, 1, "gate_stride")
        check_at_least(gate_width, 1, "gate_width")
        # Without padding a gate needs a grid of 3 x 3.
        self.min_size_px = 32 if gate_stride == 1 else 65
        n_features = sum(_TAPS) + _GATING
        super().__init__(image_spec, n_features=n_features, embedding_dim=embedding_dim, output=output, dropout=dropout)
        net: Any = create_backbone("efficientnet_b0", self.image_spec, pretrained=pretrained)
        self.backbone = net
        self.gates = nn.ModuleList(
            _GridGate(
                n_channels, gate_width, stride=gate_stride, normalisation=normalisation, is_renormalised=renormalise
            )
            for n_channels in _TAPS
        )
        self._is_summed = aggregation == "sum"
        if pretrained:
            self.adopt_statistics(net.pretrained_cfg["mean"], net.pretrained_cfg["std"])

    def attention_maps(self, images: Tensor) -> list[Tensor]:
        """Return the weights of each gate, shape (N, 1, h, w), on the grid of the feature map; see `features`.

        Each place stands for a square of 32 px. To lay a map over its image, stretch it as the gates do:
        `functional.interpolate(weights, size=images.shape[2:], mode="bilinear", align_corners=False)`.
        """
        return self._gated_map(self._prepared(images))[1]

    def pool(self, features: Tensor) -> Tensor:
        """Return the average of each channel; with aggregation="sum" the sum, of the channels that passed a gate."""
        pooled = super().pool(features)
        if not self._is_summed:
            return pooled
        n_gated, n_places = sum(_TAPS), features.shape[2] * features.shape[3]
        return torch.cat([pooled[:, :n_gated] * n_places, pooled[:, n_gated:]], dim=1)

    def _feature_map(self, images: Tensor) -> Tensor:
        return self._gated_map(images)[0]

    def _gated_map(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        net: Any = self.backbone
        first = net.blocks[:-1](net.bn1(net.conv_stem(images)))
        second = net.blocks[-1](first)
        last = net.bn2(net.conv_head(second))
        gated = [gate(stage, last) for gate, stage in zip(self.gates, (first, second), strict=True)]
        return torch.cat([*(passed for passed, _ in gated), last], dim=1), [weights for _, weights in gated]


class _GridGate(nn.Module):
    def __init__(self, n_channels: int, width: int, *, stride: int, normalisation: str, is_renormalised: bool) -> None:
        super().__init__()
        padding = 1 if stride == 1 else 0
        self.stage = nn.Conv2d(n_channels, width, 3, stride=stride, padding=padding, bias=False)
        self.gating = nn.Conv2d(_GATING, width, 3, stride=stride, padding=padding, bias=False)
        self.value = nn.Conv2d(width, 1, 1)
        self.out = nn.Sequential(nn.Conv2d(n_channels, n_channels, 1), nn.BatchNorm2d(n_channels))
        self.normalisation = normalisation
        self._is_shared_again = is_renormalised and normalisation not in _UP_TO_ONE
        if normalisation in _FIRST_BIAS and self.value.bias is not None:
            nn.init.constant_(self.value.bias, _FIRST_BIAS[normalisation])

    def forward(self, stage: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        weights = self._weigh(stage, last)
        return self.out(stage * weights.to(stage.dtype)), weights

    def _weigh(self, stage: Tensor, last: Tensor) -> Tensor:
        inner = functional.leaky_relu(self.stage(stage) + self.gating(last))
        # What tells one place from another are small differences, which half precision would round away.
        with torch.autocast(inner.device.type, enabled=False):
            values = self.value(inner.to(self.value.weight.dtype))
            weights = NORMALISATIONS[self.normalisation](values)
        if weights.shape[2:] == stage.shape[2:]:
            return weights
        weights = functional.interpolate(weights, size=stage.shape[2:], mode="bilinear", align_corners=False)
        return _shares(weights) if self._is_shared_again else weights

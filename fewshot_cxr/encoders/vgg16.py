"""VGG16 with the two wide layers of its own classifier."""

from typing import Any

from torch import Tensor
from torch.nn import functional

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.timm_encoder import create_backbone
from fewshot_cxr.image_spec import ImageSpec

_FC_UNITS = 4096
_SIDE = 7


class Vgg16(Encoder):
    """Thirteen 3x3 convolutions, then two ReLU layers over the 7x7 map, which hold nine tenths of the weights.

    The map is brought to 7x7 at any image size, as torchvision does it, and the pooled features are what the second
    layer makes of it: 4096 values, 0 or above. A linear head on them is the published classifier.

    Args:
        image_spec: how films become images; see `Encoder`.
        embedding_dim: width of the head; see `Encoder`.
        output: "head" or "pooled"; see `Encoder`.
        fc_width: units of the first of the two layers; 4096 is the published network of 134 million weights, with 256
            there are 22 million.
        dropout: after each of the two layers.
        pretrained: take ImageNet weights from timm's hub, with their mean and std; for `fc_width=4096` alone.

    Raises:
        OSError: the weights cannot be downloaded.

    Examples:
        >>> import torch
        >>> encoder = Vgg16(ImageSpec(size_px=32), fc_width=16, embedding_dim=64).eval()
        >>> encoder.n_features, tuple(encoder(torch.zeros(2, 1, 32, 32)).shape)
        (4096, (2, 64))

    Source: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
    arXiv:1409.1556, configuration D.
    """

    min_size_px = 32

    def __init__(
        self,
        image_spec: ImageSpec | None = None,
        *,
        fc_width: int = _FC_UNITS,
        pretrained: bool = False,
        embedding_dim: int | None = None,
        output: str = "head",
        dropout: float = 0.5,
    ) -> None:
        check_at_least(fc_width, 1, "fc_width")
        if pretrained and fc_width != _FC_UNITS:
            raise ValueError(f"pretrained weights have fc_width={_FC_UNITS}, got {fc_width}; leave out one of the two")
        super().__init__(image_spec, n_features=_FC_UNITS, embedding_dim=embedding_dim, output=output, dropout=dropout)
        net: Any = create_backbone(
            "vgg16.tv_in1k", self.image_spec, pretrained=pretrained, mlp_ratio=fc_width / _FC_UNITS, drop_rate=dropout
        )
        self.backbone = net
        if pretrained:
            self.adopt_statistics(net.pretrained_cfg["mean"], net.pretrained_cfg["std"])

    def pool(self, features: Tensor) -> Tensor:
        """Return what the two layers make of the map."""
        net: Any = self.backbone
        pooled: Tensor = net.pre_logits(functional.adaptive_avg_pool2d(features, _SIDE))
        return pooled.flatten(1)

    def _feature_map(self, images: Tensor) -> Tensor:
        net: Any = self.backbone
        features: Tensor = net.features(images)
        return features

"""ResNet-9: small, quick on a processor, good enough to begin with."""

from torch import Tensor, nn

from fewshot_cxr._checks import check_whole
from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.image_spec import ImageSpec


class ResNet9(Encoder):
    """Eight 3x3 convolutions in two residual pairs, and a global maximum; any image size.

    Args:
        image_spec: how films become images; see `Encoder`.
        embedding_dim: width of the head; see `Encoder`.
        output: "head" or "pooled"; see `Encoder`.
        dropout: share of the pooled features; see `Encoder`.
        width: channels of the first convolution. 64 is the network as it is known; 32, with a quarter of its weights,
            the "half" network that was used on chest films.
        stem_pool: how far the map is pooled after the first convolution; 1 is the network as it is known, made for
            32-pixel images. 2 makes a step on larger films almost four times as fast, with the same weights.

    Examples:
        >>> import torch
        >>> encoder = ResNet9(ImageSpec(size_px=64), width=8, embedding_dim=16).eval()
        >>> films = torch.zeros(2, 1, 64, 64)
        >>> tuple(encoder.features(films).shape), tuple(encoder(films).shape)
        ((2, 64, 4, 4), (2, 16))

    Source: the DAWNBench ResNet-9 of D. Page, "How to Train Your ResNet", 2018. The last pooling is global here, where
    the original, for 32-pixel images, takes 4x4.
    """

    min_size_px = 8
    # Before the last pooling: a grid twice as fine. On a finding whose films have a short embedding nothing in the map
    # before the global maximum raises a similarity, and every third film had no heat at all.
    heat_layer = "backbone.7"

    def __init__(
        self,
        image_spec: ImageSpec | None = None,
        *,
        width: int = 32,
        stem_pool: int = 2,
        embedding_dim: int | None = None,
        output: str = "head",
        dropout: float = 0.0,
    ) -> None:
        check_whole(width, "width", 1)
        check_whole(stem_pool, "stem_pool", 1)
        self.min_size_px = 8 * stem_pool
        super().__init__(image_spec, n_features=8 * width, embedding_dim=embedding_dim, output=output, dropout=dropout)
        self.backbone = nn.Sequential(
            _unit(self.image_spec.n_channels, width),
            nn.MaxPool2d(stem_pool),
            _unit(width, 2 * width),
            nn.MaxPool2d(2),
            _Residual(2 * width),
            _unit(2 * width, 4 * width),
            nn.MaxPool2d(2),
            _unit(4 * width, 8 * width),
            nn.MaxPool2d(2),
            _Residual(8 * width),
        )

    def pool(self, features: Tensor) -> Tensor:
        """Return the largest value of each channel."""
        return features.amax((2, 3))


def _unit(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.units = nn.Sequential(_unit(n_channels, n_channels), _unit(n_channels, n_channels))

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = self.units(features)
        return features + changed

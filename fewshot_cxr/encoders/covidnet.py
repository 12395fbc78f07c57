"""COVID-Net as it was rebuilt for siamese training: stages of PEPX blocks, densely summed."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from fewshot_cxr._checks import check_whole, lookup
from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.image_spec import ImageSpec

HEADS = ("linear", "published")
_PUBLISHED = {"head": "published", "batch_norm": False, "dropout": 0.5}
# The options of the published networks, both at 224 px: of siamese-COVID-Net on one channel, of COVID-Net on three.
COVIDNET_PRESETS: dict[str, dict[str, Any]] = {
    "siamese-covid-net": _PUBLISHED | {"width": 128, "embedding_dim": 256},
    "covid-net": _PUBLISHED | {"width": 256, "embedding_dim": 1024},
}
_STEM_WIDTH = 64
_BLOCKS = (3, 4, 6, 3)
_FC_UNITS = 1024
_STRIDE = 32
# A normalised block begins as a small part of the sum it joins. At 1 the gradient grows four-thousandfold on its way
# back to the stem, and bfloat16 loses the differences between images.
_BLOCK_SCALE = 0.2
_Conv = Callable[..., nn.Module]


class CovidNet(Encoder):
    """Four stages of projection-expansion-projection-extension (PEPX) blocks.

    The defaults train well from scratch: batch normalisation, global average, linear head; about 8 million weights. The
    published networks, at 224 px, are `CovidNet(**COVIDNET_PRESETS["siamese-covid-net"])`, 59.6 million, and
    `CovidNet(ImageSpec(n_channels=3), **COVIDNET_PRESETS["covid-net"])`, 135.3 million.

    Args:
        image_spec: how films become images; see `Encoder`.
        embedding_dim: width of the head; see `Encoder`.
        output: "head" or "pooled"; see `Encoder`.
        dropout: share of the pooled features; see `Encoder`.
        width: channels of the first stage; later stages have 2, 4 and 8 times as many.
        head: "linear", or "published": the map is flattened, not pooled, and passes dropout, 1024 ReLU units, dropout
            of 0.2, embedding_dim ReLU units and dropout of 0.2. It takes images of `image_spec.size_px` alone.
        batch_norm: after every convolution; without it the convolutions have biases.

    Examples:
        >>> import torch
        >>> encoder = CovidNet(ImageSpec(size_px=64), width=4, embedding_dim=16).eval()
        >>> films = torch.zeros(2, 1, 64, 64)
        >>> tuple(encoder.features(films).shape), tuple(encoder(films).shape)  # 32 channels on a 32nd of the side
        ((2, 32, 2, 2), (2, 16))

    Source: Wang, Lin, Wong, "COVID-Net", 2020, arXiv:2003.09871, whose machine-made widths are unpublished; here each
    block has 0.5, 0.75, 0.75 and 0.5 of its input's channels inside, as siamese-COVID-Net (2020) does it.
    """

    min_size_px = _STRIDE

    def __init__(
        self,
        image_spec: ImageSpec | None = None,
        *,
        width: int = 128,
        head: str = "linear",
        batch_norm: bool = True,
        embedding_dim: int | None = None,
        output: str = "head",
        dropout: float = 0.0,
    ) -> None:
        lookup(dict.fromkeys(HEADS), head, what="head")
        check_whole(width, "width", 4)
        size_px = (image_spec or ImageSpec()).size_px
        self._side = (size_px + 1) // _STRIDE if head == "published" else None
        super().__init__(
            image_spec,
            n_features=8 * width * (self._side or 1) ** 2,
            embedding_dim=embedding_dim,
            output=output,
            dropout=dropout,
        )
        self.backbone = _backbone(self.image_spec.n_channels, width, has_norm=batch_norm)
        if head == "published" and output == "head":
            self.head = _published_head(self.n_features, self.embedding_dim)
        self.apply(_glorot)

    def pool(self, features: Tensor) -> Tensor:
        """Return the average of each channel; for the published head all values in a row.

        Raises:
            ValueError: the published head was made for images of another size.
        """
        if self._side is None:
            return super().pool(features)
        if features.shape[2:] != (self._side, self._side):
            raise ValueError(
                f"the published head takes images of {self.image_spec.size_px} px (a {self._side} x {self._side} map), "
                f"got a map of {tuple(features.shape[2:])}; head='linear' takes any size"
            )
        return features.flatten(1)


def _backbone(n_channels: int, width: int, *, has_norm: bool) -> nn.Sequential:
    def conv(
        n_in: int, n_out: int, kernel_px: int = 1, *, stride: int = 1, groups: int = 1, scale: float = 1.0
    ) -> nn.Module:
        layer = nn.Conv2d(n_in, n_out, kernel_px, stride, kernel_px // 2, groups=groups, bias=not has_norm)
        if not has_norm:
            return nn.Sequential(layer, nn.ReLU())
        norm = nn.BatchNorm2d(n_out)
        nn.init.constant_(norm.weight, scale)
        return nn.Sequential(layer, norm, nn.ReLU())

    widths = (_STEM_WIDTH, width, 2 * width, 4 * width, 8 * width)
    stages = (_Stage(conv, *sizes) for sizes in zip(widths[:-1], widths[1:], _BLOCKS, strict=True))
    return nn.Sequential(conv(n_channels, _STEM_WIDTH, 7, stride=2), *stages)


class _Stage(nn.Module):
    """Blocks of which each sees the sum of all earlier outputs of the stage and of the 1x1 "upper" path."""

    def __init__(self, conv: _Conv, n_in: int, n_out: int, n_blocks: int) -> None:
        super().__init__()
        self.upper = conv(n_in, n_out)
        self.entry = _pepx(conv, n_in, n_out)
        self.blocks = nn.ModuleList(_pepx(conv, n_out, n_out) for _ in range(n_blocks - 1))

    def forward(self, features: Tensor) -> Tensor:
        # As published, channels change at the higher resolution and pooling comes after.
        total = functional.max_pool2d(self.upper(features), 2) + functional.max_pool2d(self.entry(features), 2)
        for block in self.blocks:
            total = total + block(total)
        return total


def _pepx(conv: _Conv, n_in: int, n_out: int) -> nn.Sequential:
    half, most = n_in // 2, 3 * n_in // 4
    return nn.Sequential(
        conv(n_in, half),
        conv(half, most),
        conv(most, most, 3, groups=most),
        conv(most, half),
        conv(half, n_out, scale=_BLOCK_SCALE),
    )


def _published_head(n_features: int, embedding_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_features, _FC_UNITS),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(_FC_UNITS, embedding_dim),
        nn.ReLU(),
        nn.Dropout(0.2),
    )


def _glorot(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

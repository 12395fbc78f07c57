"""The chest X-ray networks of torchxrayvision as encoders: "xrv:<weights>"."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from textwrap import shorten
from typing import Any
from warnings import catch_warnings

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr._checks import lookup
from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.timm_encoder import TimmEncoder
from fewshot_cxr.encoders.weights import take_weights
from fewshot_cxr.image_spec import ImageSpec

# They were trained on -1024..1024: half a unit up and 2048 times, exact in floating point.
_MEAN, _STD = (0.5,), (1 / 2048,)
_DATA_SETS = ("all", "nih", "pc", "chex", "rsna", "mimic_nb", "mimic_ch")
# The weights to the network, under timm's name, and the side of the images that they were trained on.
XRV_WEIGHTS: dict[str, tuple[str, int]] = {f"densenet121-res224-{data}": ("densenet121", 224) for data in _DATA_SETS}
XRV_WEIGHTS["resnet50-res512-all"] = ("resnet50", 512)


def xrv_encoder(
    weights: str,
    image_spec: ImageSpec | None = None,
    *,
    pretrained: bool = False,
    embedding_dim: int | None = None,
    output: str = "head",
    dropout: float = 0.0,
) -> Encoder:
    """Build a network of torchxrayvision, which saw hundreds of thousands of chest films of one channel.

    The network itself is timm's, whose weights have the same names and which computes the same; so torchxrayvision is
    needed for nothing but `pretrained`, and a saved encoder loads without it. Its habit of resizing within the network
    and of warning there is not taken over: images are resized once, to `image_spec.size_px`.

    Args:
        weights: a name in XRV_WEIGHTS.
        image_spec: None takes the size that the weights were trained on. Images of 0..1 become -1024..1024, unless the
            spec names its own mean and std.
        pretrained: take the published weights through torchxrayvision, which downloads them on first use. Its files are
            pickles without a checksum, and it unpickles them: whoever asks for this trusts its authors, whose code runs
            anyway. With a file of plain weights (`load_weights`) nothing is unpickled.
        embedding_dim: width of the head; see `Encoder`.
        output: "head" or "pooled"; see `Encoder`.
        dropout: share of the pooled features; see `Encoder`.

    Raises:
        ValueError: unknown weights.
        ImportError: `pretrained` without torchxrayvision.
        OSError: the weights cannot be downloaded, or what was downloaded cannot be read.

    Source: Cohen et al., "TorchXRayVision: A library of chest X-ray datasets and models", 2022, arXiv:2111.00595.
    """
    network = lookup(XRV_WEIGHTS, weights, what="weights of xrv")[0]
    encoder = TimmEncoder(
        network,
        xrv_spec(weights) if image_spec is None else image_spec,
        embedding_dim=embedding_dim,
        output=output,
        dropout=dropout,
    )
    published = encoder.backbone.pretrained_cfg
    # Beside the classifier their state dicts hold its thresholds.
    own = {"mean": _MEAN, "std": _STD, "classifier": (published["classifier"], "op_threshs")}
    encoder.backbone.pretrained_cfg = published | own
    encoder.adopt_statistics(_MEAN, _STD)
    if pretrained:
        take_weights(encoder, _published(weights), f"xrv:{weights}")
    return encoder


def xrv_spec(weights: str) -> ImageSpec:
    """Return what the images of these weights were.

    Raises:
        ValueError: unknown weights.
    """
    size_px = lookup(XRV_WEIGHTS, weights, what="weights of xrv")[1]
    return ImageSpec(size_px=size_px, mean=_MEAN, std=_STD)


def _published(weights: str) -> dict[str, Tensor]:
    with _side_effects_undone():
        try:
            import torchxrayvision  # type: ignore[import-not-found, import-untyped, unused-ignore]  # an extra
        except ImportError as error:
            raise ImportError(
                f"the weights of xrv:{weights} come through torchxrayvision, which is not installed ({error}): "
                "pip install fewshot_cxr[xrv], or name a file of plain weights: --weights FILE"
            ) from error
        try:
            state: dict[str, Any] = torchxrayvision.models.get_model(weights=weights).state_dict()
        except Exception as error:  # requests, pickle, zip and torch each have their own, with no common base
            reason = shorten(str(error), 120, placeholder="...")
            raise OSError(
                f"the weights of xrv:{weights} cannot be downloaded or read ({type(error).__name__}: {reason}); "
                "fetch and convert the file elsewhere and name it: --weights FILE"
            ) from error
    # Its ResNet keeps the network as `model`, beside the thresholds.
    return {name.removeprefix("model."): tensor for name, tensor in state.items()}


@contextmanager
def _side_effects_undone() -> Iterator[None]:
    """Give back what torchxrayvision changes: it silences all warnings, prints, and draws from global generators.

    Inside, warnings are ignored as it wants them to be, since it asks for that on its first import alone.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - they are kept, not drawn from
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with catch_warnings(action="ignore"), redirect_stdout(StringIO()), torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002

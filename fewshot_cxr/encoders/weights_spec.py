"""What the images were that an encoder's weights were trained on, asked before the encoder is built."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fewshot_cxr.encoders.described import read_folder, read_hub
from fewshot_cxr.encoders.published.facts import weight_facts
from fewshot_cxr.encoders.published.lite0 import LITE0_SPEC
from fewshot_cxr.encoders.published.models import PUBLISHED
from fewshot_cxr.encoders.timm_encoder import published_config
from fewshot_cxr.encoders.weights import read_own
from fewshot_cxr.encoders.xrv_encoder import xrv_spec
from fewshot_cxr.image_spec import RESIZES, ImageSpec

_OF_TIMM = {
    "densenet121": "densenet121.tv_in1k",
    "efficientnet_attention": "efficientnet_b0",
    "resnet18": "resnet18.tv_in1k",
    "resnet50": "resnet50.tv_in1k",
    "vgg16": "vgg16.tv_in1k",
}


def weights_spec(name: str, *, weights: str | Path | None = None, pretrained: bool = False) -> ImageSpec | None:
    """Return what images the weights of an encoder were made for; None where nobody says, or there are no weights.

    Size, channels, mean, std and the filter that resizes are theirs. The crop of the middle, by which pictures of
    ImageNet are evaluated, is not taken over: on films it would cut into the lungs.

    Args:
        name: of the encoder, as for `build_encoder`.
        weights: the file that it is to start from; one of ours says itself what its images were.
        pretrained: it is to start from published weights.

    Raises:
        ValueError: unknown name.
        OSError: the description is elsewhere, and cannot be read.

    Examples:
        >>> spec = weights_spec("densenet121", pretrained=True)
        >>> spec.size_px, spec.n_channels, spec.mean
        (224, 3, (0.485, 0.456, 0.406))
        >>> weights_spec("densenet121") is None  # it starts from random weights
        True
    """
    if weights is not None and (own := _spec_in(Path(weights))) is not None:
        return own
    return _published_spec(name) if pretrained or weights is not None else None


def unsaid_statistics(name: str, weights: str | Path) -> str:
    """Say whose size, mean and std are taken where a file of weights does not say its own; "" where it is known.

    Args:
        name: of the encoder.
        weights: the file.

    Examples:
        >>> unsaid_statistics("resnet9", "half_resnet9.pth")
        'half_resnet9.pth does not say what its images were: size, mean and std are ours, unless flags say otherwise'
        >>> unsaid_statistics("rad_dino", "model.safetensors")  # its images are known
        ''
    """
    if _spec_in(Path(weights)) is not None or weight_facts(name).source:
        return ""
    whose = "ours" if _published_spec(name) is None else f"those of the weights that timm publishes for {name}"
    return (
        f"{Path(weights).name} does not say what its images were: size, mean and std are {whose}, unless flags say "
        "otherwise"
    )


def _spec_in(path: Path) -> ImageSpec | None:
    """Return the spec that a file of ours holds; None for any other file."""
    if not path.is_file() or (held := read_own(path)) is None:
        return None
    spec = ImageSpec.from_json(held[1]["image_spec"])
    # The mean film comes with the weights; a run that measures none has no use for it.
    return replace(spec, per_pixel=False, mean=ImageSpec().mean, std=ImageSpec().std) if spec.per_pixel else spec


def _published_spec(name: str) -> ImageSpec | None:
    if name == "efficientnet_lite0":
        return LITE0_SPEC
    if name in PUBLISHED:
        return PUBLISHED[name].image_spec
    if name.startswith("xrv:"):
        return xrv_spec(name.removeprefix("xrv:"))
    for family, read in _DESCRIBED.items():
        if name.startswith(family):
            return _spec_of(read(name.removeprefix(family), False)[3])
    if name in _OF_TIMM or name.startswith("timm:"):
        config = published_config(_OF_TIMM.get(name, name.removeprefix("timm:")))
        return _spec_of(config.to_dict()) if config.has_weights else None
    return None


_DESCRIBED: dict[str, Callable[[str, bool], Any]] = {"timm:hf-hub:": read_hub, "timm:local-dir:": read_folder}


def _spec_of(config: Mapping[str, Any]) -> ImageSpec | None:
    """Return the spec that a description in timm's format gives; what it does not say is the usual."""
    size, mean, std = (config.get(name) for name in ("input_size", "mean", "std"))
    resize = config.get("interpolation")
    said: dict[str, Any] = {"n_channels": 3}
    said |= {"size_px": int(size[-1])} if size else {}
    said |= {"mean": tuple(mean), "std": tuple(std)} if mean and std else {}
    said |= {"resize": resize} if resize in RESIZES else {}
    return ImageSpec(**said)


def with_given(spec: ImageSpec, given: Mapping[str, Any]) -> ImageSpec:
    """Return a spec with what was given in place of its own; mean and std of three channels are averaged for one.

    Examples:
        >>> colour = ImageSpec(n_channels=3, mean=(0.25, 0.5, 0.75), std=(0.25,))
        >>> gray = with_given(colour, {"n_channels": 1, "size_px": 128})
        >>> gray.size_px, gray.mean, gray.std
        (128, (0.5,), (0.25,))
    """
    given = dict(given)
    if given.get("n_channels") == 1 and spec.n_channels != 1:
        given = {name: (sum(getattr(spec, name)) / len(getattr(spec, name)),) for name in ("mean", "std")} | given
    return replace(spec, **given)

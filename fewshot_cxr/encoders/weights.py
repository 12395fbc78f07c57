"""Start an encoder from a file of weights: our own or timm's, never unpickled."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from timm.models import load_state_dict
from torch import Tensor

from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.storage import load_tensors

KIND = "encoder"
_N_NAMED = 3


def load_weights(encoder: Encoder, path: str | Path) -> None:
    """Copy the weights in a file into an encoder.

    The file is one of `save_encoder`, whose head is taken if its shapes fit, or a state dict of the backbone alone (a
    .safetensors, or a .pth as torch.save writes it), of which timm's classifier is left out. First filters for three
    channels are summed for one, and those for one are shared out over three: on gray films both see what they saw. The
    mean and std that belong to the weights are taken unless the encoder's image spec names its own.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds other weights than the encoder has; the first are named.
        OSError: the file is damaged, or holds more than plain weights.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights")
    tensors, spec = _read(path)
    published = getattr(encoder.backbone, "pretrained_cfg", None) or {}
    if any(name.startswith("backbone.") for name in tensors):
        wanted = encoder.state_dict()
        head = [name for name in wanted if name.startswith("head.")]
        if not head or any(name not in tensors or tensors[name].shape != wanted[name].shape for name in head):
            wanted, tensors = _without(("head",), wanted), _without(("head",), tensors)
    else:
        wanted = encoder.backbone.state_dict()
        classifier = published.get("classifier") or ()
        tensors = _without((classifier,) if isinstance(classifier, str) else classifier, tensors)
    copy_weights({name: _for_channels_of(wanted.get(name), t) for name, t in tensors.items()}, wanted, path)
    if spec is not None:
        encoder.adopt_statistics(spec.mean, spec.std)
    elif published:
        encoder.adopt_statistics(published["mean"], published["std"])


def _read(path: Path) -> tuple[dict[str, Tensor], ImageSpec | None]:
    if path.suffix != ".safetensors":
        return _read_state_dict(path), None
    try:
        tensors, header = load_tensors(path, kind=KIND)
    except ValueError:  # a sound file, but none of ours
        return _read_state_dict(path), None
    return tensors, ImageSpec.from_json(header["image_spec"])


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Any] = load_state_dict(str(path), weights_only=True)
    except Exception as error:  # pickle, zip, safetensors and torch each have their own, with no common base
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise OSError(f"{path} holds no plain weights, or is damaged ({reason}); save a state dict") from error
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise ValueError(f"{path} is no state dict: {_first(others)} are no tensors")
    return state


def copy_weights(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Copy all tensors of a file into the state of an encoder, or none.

    Raises:
        ValueError: names or shapes differ; the first are named, and the file.
    """
    # Files from before 2018 do not count batches; nothing here reads that count.
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    faults = {
        "it lacks": [name for name in needed if name not in tensors],
        "it alone has": [name for name in tensors if name not in wanted],
        "shapes differ in": [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape],
    }
    said = "; ".join(f"{fault} {_first(names)}" for fault, names in faults.items() if names)
    if said:
        raise ValueError(f"{path} does not fit this encoder: {said}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            wanted[name].copy_(tensor)


def _for_channels_of(own: Tensor | None, tensor: Tensor) -> Tensor:
    if own is not None and own.ndim == tensor.ndim == 4:
        if (tensor.shape[1], own.shape[1]) == (3, 1):
            return tensor.sum(1, keepdim=True)
        if (tensor.shape[1], own.shape[1]) == (1, 3):
            return tensor.expand(-1, 3, -1, -1) / 3
    return tensor


def _without(parts: Iterable[str], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefixes = tuple(f"{part}." for part in parts)
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)}


def _first(names: list[str]) -> str:
    more = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
    return ", ".join(names[:_N_NAMED]) + more

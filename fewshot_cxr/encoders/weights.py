"""Start an encoder from a file of weights: our own, timm's or torchvision's, never unpickled."""

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_cxr._checks import first_of
from fewshot_cxr.encoders.base import TASK_HEAD, Encoder, refuse_diverged
from fewshot_cxr.encoders.card import check_header
from fewshot_cxr.encoders.published.facts import weight_facts
from fewshot_cxr.encoders.published.names import PROJECTION, named_by_timm
from fewshot_cxr.encoders.weight_files import read_state_dict
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.storage import is_foreign, is_safetensors, load_tensors

KIND = "encoder"
_N_NAMED = 3
# What belongs to a run rather than to the network is taken if it fits.
_TAKEN_IF_FITTING = (("head",), ("pixel_mean", "pixel_std"))
_VGG_LAYERS = {"classifier.0.": "pre_logits.fc1.", "classifier.3.": "pre_logits.fc2.", "classifier.6.": "head.fc."}
_CLASSIFIERS = ("fc", "classifier", "head", "heads", "linear", "last_linear", "logits", PROJECTION)
_OLD_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


def weights_name(path: str | Path) -> str:
    """Return what a card says of a file of weights: its name and its hash, not where this machine keeps it.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "resnet18.pth"
        ...     n_bytes = path.write_bytes(b"")
        ...     weights_name(path)  # the hash of an empty file
        'resnet18.pth (sha256 e3b0c44298fc1c14)'
    """
    return f"{Path(path).name} (sha256 {file_sha256(path)[:16]})"


def file_facts(encoder: str, path: str | Path) -> dict[str, Any]:
    """Return what a card says of weights that came from a file: what is known of the encoder's, and the file's hash.

    A file of ours says itself where its own weights came from.

    Args:
        encoder: name of the encoder, as for `build_encoder`.
        path: of the file.
    """
    own = {"file": Path(path).name, "sha256": file_sha256(path)}
    if (held := read_own(Path(path))) is not None:
        return {"name": Path(path).name, **held[1]["card"].get("weights", {}), **own}
    return weight_facts(encoder).to_json() | own


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_weights(encoder: Encoder, path: str | Path) -> None:
    """Copy the weights in a file into an encoder.

    The file is one of `save_encoder`, or a state dict of the backbone alone (a .safetensors, or a .pth as torch.save
    writes it) under the names of timm or of torchvision, today's or those of its first DenseNets. "state_dict" or
    "model" around it, and whatever stands before all its names, are seen through; its classifier and other parts are
    left out. Of our own file the head and the mean image are taken if their shapes fit, a task's head never.

    First filters for three channels are summed for one, and those for one are shared out over three: films that are
    standardised by the same mean and std in each channel give what they gave. The mean and std that belong to the
    weights are taken unless the encoder's image spec names its own.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds other weights than the encoder has; the first are named.
        OSError: the file is damaged, or holds more than plain weights.

    Examples:
        >>> import tempfile
        >>> from fewshot_cxr.encoders import build_encoder
        >>> trained, fresh = (build_encoder("resnet9", width=4, seed=seed) for seed in (0, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(trained.backbone.state_dict(), f"{folder}/backbone.pth")
        ...     load_weights(fresh, f"{folder}/backbone.pth")
        >>> torch.equal(*(next(encoder.backbone.parameters()) for encoder in (trained, fresh)))
        True
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights")
    if (held := read_own(path)) is None:
        take_weights(encoder, read_state_dict(path), path)
    else:
        take_weights(encoder, held[0], path, spec=ImageSpec.from_json(held[1]["image_spec"]))
    refuse_diverged(encoder, f"{path} is of no use: what it gives")


def take_weights(
    encoder: Encoder, tensors: Mapping[str, Tensor], source: str | Path, *, spec: ImageSpec | None = None
) -> None:
    """Copy tensors into an encoder as `load_weights` does; `source` names them in errors, `spec` is what they saw."""
    published = getattr(encoder.backbone, "pretrained_cfg", None) or {}
    tensors = images = _without((TASK_HEAD,), tensors)
    backbone = encoder.backbone.state_dict()
    is_own = _without(("backbone", *chain(*_TAKEN_IF_FITTING)), tensors) == {}
    if spec is not None or (is_own and _inside("backbone.", tensors).keys() == backbone.keys()):
        wanted: dict[str, Tensor] = encoder.state_dict()
        for parts in _TAKEN_IF_FITTING:
            if not _fits(parts, wanted, tensors):
                wanted, tensors = _without(parts, wanted), _without(parts, tensors)
    else:
        projection = getattr(encoder, PROJECTION, nn.Identity()).state_dict()
        wanted = backbone | {f"{PROJECTION}.{name}": weight for name, weight in projection.items()}
        classifier = published.get("classifier") or ()
        classifier = {*_CLASSIFIERS, *((classifier,) if isinstance(classifier, str) else classifier)}
        last = {name for name in classifier if not _without((name,), wanted).keys() < wanted.keys()}
        tensors = _without(last, _as_timm_loads(encoder.backbone, _named_as(wanted, named_by_timm(tensors))))
        _refuse_numbers(encoder.backbone, tensors, source)
    copy_weights({name: _shaped_as(wanted.get(name), t) for name, t in tensors.items()}, wanted, source)
    if spec is not None and spec.per_pixel and not encoder.image_spec.per_pixel:
        # A mean film for all pixels alike is the nearest that an encoder without one has.
        encoder.adopt_statistics(*((float(images[name].mean()),) for name in ("pixel_mean", "pixel_std")))
    elif spec is not None:
        encoder.adopt_statistics(spec.mean, spec.std)
    elif published:
        encoder.adopt_statistics(tuple(published["mean"]), tuple(published["std"]))


def read_own(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and the header of a file of `save_encoder`; None for any other file."""
    return read_encoder_file(path) if is_safetensors(path) and not is_foreign(path) else None


def read_encoder_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header of a file of `save_encoder`; errors as for `load_tensors`, or of its header."""
    tensors, header = load_tensors(path, kind=KIND)
    check_header(header, str(path))
    return tensors, header


def copy_weights(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str | Path) -> None:
    """Copy all tensors of a file into the state of an encoder, or none.

    Raises:
        ValueError: names or shapes differ; the first are named, and the source.
    """
    # Files from before 2018 do not count batches; nothing here reads that count.
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    faults = {
        "it lacks": [name for name in needed if name not in tensors],
        "it alone has": [name for name in tensors if name not in wanted],
        "shapes differ in": [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape],
    }
    said = "; ".join(f"{fault} {first_of(names, _N_NAMED)}" for fault, names in faults.items() if names)
    if said:
        raise ValueError(f"{source} does not fit this encoder: {said}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            wanted[name].copy_(tensor)


def _fits(parts: Iterable[str], wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> bool:
    names = wanted.keys() - _without(parts, wanted).keys()
    return bool(names) and all(name in tensors and tensors[name].shape == wanted[name].shape for name in names)


def _named_as(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names that timm has for them, without what stands before these names."""
    tensors = {_OLD_DENSE_LAYER.sub(r"\1\2", name): tensor for name, tensor in tensors.items()}
    # Where a file holds the network twice, as for a query and a key, the first is it.
    found = Counter(name[:at] for name in tensors for at in _starts(name) if name[at:] in wanted)
    prefix, n_known = found.most_common(1)[0] if found else ("", 0)
    tensors = _inside(prefix if 2 * n_known > len(wanted) else _shared_prefix(tensors), tensors)
    if "pre_logits.fc1.weight" in wanted:
        for theirs, ours in _VGG_LAYERS.items():
            tensors = {re.sub(f"^{re.escape(theirs)}", ours, name): tensor for name, tensor in tensors.items()}
    return tensors


def _as_timm_loads(backbone: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a transformer as timm's own loading takes them.

    It knows further names (EVA's, DINOv2's and DINOv3's), drops what only the training had, and stretches the positions
    to the network's grid.
    """
    load = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if load is None or not hasattr(backbone, "patch_embed"):
        return tensors
    try:
        with redirect_stdout(StringIO()):  # it prints what it meets
            loaded: dict[str, Tensor] = load(dict(tensors), backbone)
    except (AttributeError, KeyError, RuntimeError, TypeError):  # of weights of another network, which are named below
        return tensors
    return loaded


def _starts(name: str) -> list[int]:
    """Return where the parts of a name begin."""
    return [0, *(match.end() for match in re.finditer(r"\.", name))]


def _shared_prefix(tensors: Mapping[str, Tensor]) -> str:
    """Return the parts that all names begin with; what follows are numbers or another network's names."""
    first, last = min(tensors, default=""), max(tensors, default="")
    return max((first[:at] for at in _starts(first) if last.startswith(first[:at])), key=len)


def _inside(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _refuse_numbers(backbone: nn.Module, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Refuse layers that have numbers in place of names, as in nn.Sequential(*model.children())."""
    layers = list(backbone.named_children())
    n_numbered = sum(name.partition(".")[0].isdigit() for name in tensors)
    if any(name.isdigit() for name, _ in layers) or 2 * n_numbered <= len(tensors):
        return
    names = ", ".join(f"{at} is {name}" for at, (name, layer) in enumerate(layers) if layer.state_dict())
    raise ValueError(
        f"{source} numbers its layers, as nn.Sequential(*model.children()) does; give them their names and save the "
        f"state dict again. In the order of this encoder {names}"
    )


def _shaped_as(own: Tensor | None, tensor: Tensor) -> Tensor:
    if own is None:
        return tensor
    if own.ndim == 4 and tensor.ndim == 2 and own.numel() == tensor.numel():
        return tensor.view_as(own)  # VGG's linear layers are convolutions in timm
    if own.ndim == tensor.ndim == 4:
        if (tensor.shape[1], own.shape[1]) == (3, 1):
            return tensor.sum(1, keepdim=True)
        if (tensor.shape[1], own.shape[1]) == (1, 3):
            return tensor.expand(-1, 3, -1, -1) / 3
    return tensor


def _without(parts: Iterable[str], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefixes = tuple(f"{part}." for part in parts)
    return {name: tensor for name, tensor in tensors.items() if not f"{name}.".startswith(prefixes)}

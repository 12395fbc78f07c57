"""Save an encoder with its card, and load it again: one safetensors file, no pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fewshot_cxr._kinds import ENCODER_FILE as ENCODER_FILE
from fewshot_cxr.encoders.base import TASK_HEAD, Encoder, refuse_diverged
from fewshot_cxr.encoders.joined import join_as_told
from fewshot_cxr.encoders.own_module import OWN, as_encoder
from fewshot_cxr.encoders.table import build_encoder, is_built_in
from fewshot_cxr.encoders.timm_encoder import TimmEncoder
from fewshot_cxr.encoders.weight_files import foreign_kind
from fewshot_cxr.encoders.weights import KIND, copy_weights, read_encoder_file
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.storage import is_safetensors, save_tensors, tensor_hash

_LONGEST_REASON = 300
_OF_NO_EMBEDDING = ("dropout", "pretrained", "weights")
_LEAST_BOUND = 1 << 25  # numbers that a build may take beside those of the file: an image to try, a classifier


def save_encoder(
    encoder: Encoder, path: str | Path, *, card: Mapping[str, Any], head: Mapping[str, Tensor] | None = None
) -> None:
    """Save weights, recipe, image spec and card in one file, whole or not at all.

    Args:
        encoder: made by `build_encoder`, `as_encoder` or `load_encoder`, which know its recipe.
        path: the file, replaced.
        card: plain JSON values; `load_encoder` gives them back as `encoder.card`. The encoder's `origin` joins them as
            "weights".
        head: weights of what the task puts behind the embeddings, a classifier or a learned distance; `load_head` gives
            them back, and `card["head"]` says what they are. Whoever loads the encoder does not meet them.

    Raises:
        ValueError: the encoder has no recipe, or a weight that is not finite.

    Examples:
        >>> import tempfile
        >>> encoder = build_encoder("resnet9", width=4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_encoder(encoder, f"{folder}/encoder.safetensors", card={"findings": ["covid19", "normal"]})
        ...     print(load_encoder(folder).card["findings"])  # a folder stands for the encoder.safetensors in it
        ['covid19', 'normal']
    """
    if not encoder.recipe:
        raise ValueError("the encoder has no recipe to be rebuilt from; make it with build_encoder")
    refuse_diverged(encoder, f"{path} is not written: the encoder")
    if head and not all(tensor.isfinite().all() for tensor in head.values()):
        raise ValueError(f"{path} is not written: its head holds NaN or infinity; lower the learning rate (--lr)")
    card = ({"weights": encoder.origin} if encoder.origin else {}) | dict(card)
    header = {"recipe": encoder.recipe, "image_spec": encoder.image_spec.to_json(), "card": card}
    behind = {f"{TASK_HEAD}.{name}": tensor for name, tensor in (head or {}).items()}
    save_tensors(path, encoder.state_dict() | behind, kind=KIND, header=header)


def load_encoder(path: str | Path, *, module: nn.Module | None = None) -> Encoder:
    """Load an encoder, in eval mode, on the CPU; nothing is downloaded and nothing unpickled.

    Args:
        path: a file of `save_encoder`, or a run folder, of which the best encoder is taken.
        module: takes the weights, in place: needed where a module of the user's own was trained, of which the file
            knows the class alone.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds something else, an encoder that this version does not know or that would be looked
            for elsewhere, weights of another, weights that are not finite, or those of a module that was not handed in.
        OSError: the file is damaged.

    Examples:
        >>> import tempfile
        >>> from fewshot_cxr.encoders import encoder_hash, save_encoder
        >>> encoder = build_encoder("resnet9", width=4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_encoder(encoder, f"{folder}/normal_or_covid19.safetensors", card={})
        ...     again = load_encoder(f"{folder}/normal_or_covid19.safetensors")
        >>> again.training, encoder_hash(again) == encoder_hash(encoder)
        (False, True)
    """
    path = _file(path)
    tensors, header = read_encoder_file(path)
    return encoder_of(tensors, header, path, module=module)


def encoder_of(
    tensors: Mapping[str, Tensor], header: Mapping[str, Any], path: Path, *, module: nn.Module | None = None
) -> Encoder:
    """Rebuild an encoder from what a file holds of it, in eval mode.

    Args:
        tensors: its weights; those of a head behind it are left.
        header: "recipe", "image_spec" and "card", as `save_encoder` writes them.
        path: of the file, for the errors, which are those of `load_encoder`.
        module: see `load_encoder`.

    Examples:
        >>> encoder = build_encoder("resnet9", width=4)
        >>> header = {"recipe": encoder.recipe, "image_spec": encoder.image_spec.to_json(), "card": {}}
        >>> again = encoder_of(encoder.state_dict(), header, Path("encoder.safetensors"))
        >>> encoder_hash(again) == encoder_hash(encoder)
        True
    """
    recipe, spec = header["recipe"], _spec(path, header["image_spec"])
    kind, own = recipe["encoder"], {name: t for name, t in tensors.items() if not name.startswith(f"{TASK_HEAD}.")}
    if module is not None:
        encoder = as_encoder(module, spec)
        if isinstance(encoder.head, nn.Identity):
            join_as_told(encoder, recipe["options"])
    elif kind.startswith(OWN):
        raise ValueError(
            f"{path} holds the weights of a {kind.removeprefix(OWN)}, which no name builds: hand one in, "
            "load_encoder(path, module=...)"
        )
    else:
        encoder = _rebuilt(path, recipe, spec, n_numbers=sum(tensor.numel() for tensor in own.values()))
    if encoder.recipe["encoder"] != kind:
        raise ValueError(f"{path} holds the weights of {kind}, the module is {encoder.recipe['encoder']}")
    encoder.recipe, encoder.image_spec, encoder.card = recipe, spec, header["card"]
    encoder.origin = encoder.card.get("weights", {})
    copy_weights(own, encoder.state_dict(), path)
    refuse_diverged(encoder, f"{path} is of no use: its encoder")
    return encoder.eval()


def load_head(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Load what stands behind the embeddings: (its weights by name, on the CPU; the card, whose "head" describes it).

    Args:
        path: a file of `save_encoder`, or a run folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds something else, or an encoder without such a head.
        OSError: the file is damaged.

    Examples:
        >>> import tempfile
        >>> encoder, head = build_encoder("resnet9", width=4), nn.Linear(128, 2)  # to tell covid19 from normal
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/encoder.safetensors"
        ...     save_encoder(encoder, path, card={"head": {"kind": "linear"}}, head=head.state_dict())
        ...     weights, card = load_head(path)
        >>> sorted(weights), card["head"]
        (['bias', 'weight'], {'kind': 'linear'})
    """
    path = _file(path)
    tensors, header = read_encoder_file(path)
    prefix = f"{TASK_HEAD}."
    head = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not head:
        raise ValueError(f"{path} has no head: its encoder was trained for distances between embeddings alone")
    return head, header["card"]


def encoder_hash(encoder: Encoder) -> str:
    """Return the SHA-256 (hex) of an encoder's weights and statistics, wherever they came from.

    Examples:
        >>> hashes = [encoder_hash(build_encoder("resnet9", width=4, seed=seed)) for seed in (0, 0, 1)]
        >>> hashes[0] == hashes[1], hashes[0] == hashes[2]
        (True, False)
    """
    return tensor_hash(encoder.state_dict())


def deciding_options(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides embeddings beside weights and image spec: options that may hold no weight, such as a pooling.

    Args:
        recipe: of an encoder.

    Returns:
        Plain JSON values; where the weights came from, and what counts in training alone, is left out.

    Examples:
        >>> options = deciding_options(build_encoder("resnet9", width=4, dropout=0.5).recipe)
        >>> options["width"], options["stem_pool"], "dropout" in options
        (4, 2, False)
    """
    told = {name: value for name, value in recipe.get("options", {}).items() if name not in _OF_NO_EMBEDDING}
    plain: dict[str, Any] = json.loads(json.dumps(told, default=str))
    return plain


def load_card(path: str | Path) -> dict[str, Any]:
    """Load what a training run said of its encoder, and build nothing; path and errors as for `load_head`.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     card = {"distance": "cosine", "findings": ["normal", "pneumonia"]}
        ...     save_encoder(build_encoder("resnet9", width=4), f"{folder}/encoder.safetensors", card=card)
        ...     print(load_card(folder)["findings"])
        ['normal', 'pneumonia']
    """
    card: dict[str, Any] = read_encoder_file(_file(path))[1]["card"]
    return card


def _file(path: str | Path) -> Path:
    path = Path(path)
    path = path / ENCODER_FILE if path.is_dir() else path
    if path.is_file() and not is_safetensors(path):
        what = foreign_kind(path) or "is no file of fewshot_cxr; a training starts from foreign weights with --weights"
        raise ValueError(f"{path} {what}. Name a run folder of `fscxr train`, or its {ENCODER_FILE}")
    return path


def _spec(path: Path, fields: dict[str, Any]) -> ImageSpec:
    try:
        return ImageSpec.from_json(fields)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its image_spec is none of this version: {_short(error)}") from error


def _rebuilt(path: Path, recipe: Mapping[str, Any], spec: ImageSpec, *, n_numbers: int) -> Encoder:
    """Build the encoder of a file: from nothing that lies elsewhere, and of about the size that the file has."""
    name = recipe["encoder"]
    options = {name: value for name, value in recipe["options"].items() if name not in ("pretrained", "weights")}
    if not is_built_in(name):
        raise ValueError(
            f"{path}: its encoder {name:.60} would be looked for elsewhere, and a file is loaded from itself alone: "
            "build it by that name, and give the file as weights (build_encoder, --weights)"
        )
    try:
        with _Bounded(2 * n_numbers + _LEAST_BOUND):
            encoder = build_encoder(name, image_spec=spec, **options)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its encoder cannot be rebuilt by this version: {_short(error)}") from error
    if "pool" not in options and isinstance(encoder, TimmEncoder):
        encoder.pool_as_before()
    return encoder


def _short(error: Exception) -> str:
    return shorten(f"{error}", _LONGEST_REASON, placeholder="...")


class _Bounded(TorchFunctionMode):
    """Within it tensors are made of so many numbers in all, whatever a file of a few bytes asks for."""

    def __init__(self, n_most: int) -> None:
        super().__init__()
        self._n_left = n_most

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count what a function is about to make, without memory, and let it."""
        kwargs = kwargs or {}
        if function in (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn):
            self._n_left -= function(*args, **kwargs | {"device": "meta"}).numel()
            if self._n_left < 0:
                raise ValueError("its recipe asks for more numbers than the file holds")
        return function(*args, **kwargs)

"""Save an encoder with its card, and load it again: one safetensors file, no pickle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fewshot_cxr.encoders.base import TASK_HEAD, Encoder
from fewshot_cxr.encoders.own_module import OWN, as_encoder
from fewshot_cxr.encoders.table import build_encoder
from fewshot_cxr.encoders.weight_files import foreign_kind
from fewshot_cxr.encoders.weights import KIND, copy_weights
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.storage import is_safetensors, load_tensors, save_tensors

ENCODER_FILE = "encoder.safetensors"


def save_encoder(
    encoder: Encoder, path: str | Path, *, card: Mapping[str, Any], head: Mapping[str, Tensor] | None = None
) -> None:
    """Save weights, recipe, image spec and card in one file, whole or not at all.

    Args:
        encoder: made by `build_encoder`, `as_encoder` or `load_encoder`, which know its recipe.
        path: the file, replaced.
        card: plain JSON values; `load_encoder` gives them back as `encoder.card`.
        head: weights of what the task puts behind the embeddings, a classifier or a learned distance; `load_head` gives
            them back, and `card["head"]` says what they are. Whoever loads the encoder does not meet them.

    Raises:
        ValueError: the encoder has no recipe.
    """
    if not encoder.recipe:
        raise ValueError("the encoder has no recipe to be rebuilt from; make it with build_encoder")
    header = {"recipe": encoder.recipe, "image_spec": encoder.image_spec.to_json(), "card": dict(card)}
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
        ValueError: the file holds something else, an encoder that this version does not know, weights of another, or
            those of a module that was not handed in.
        OSError: the file is damaged.
    """
    path = _file(path)
    tensors, header = load_tensors(path, kind=KIND)
    try:
        kind, spec = str(header["recipe"]["encoder"]), ImageSpec.from_json(header["image_spec"])
        encoder = None if module is not None or kind.startswith(OWN) else _rebuild(header["recipe"], spec)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its encoder cannot be rebuilt by this version: {error}") from error
    if encoder is None:
        if module is None:
            raise ValueError(
                f"{path} holds the weights of a {kind.removeprefix(OWN)}, which no name builds: hand one in, "
                "load_encoder(path, module=...)"
            )
        encoder = as_encoder(module, spec)
    if encoder.recipe["encoder"] != kind:
        raise ValueError(f"{path} holds the weights of {kind}, the module is {encoder.recipe['encoder']}")
    encoder.recipe, encoder.image_spec, encoder.card = header["recipe"], spec, header["card"]
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{TASK_HEAD}.")}
    copy_weights(own, encoder.state_dict(), path)
    return encoder.eval()


def load_head(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Load what stands behind the embeddings: (its weights by name, on the CPU; the card, whose "head" describes it).

    Args:
        path: a file of `save_encoder`, or a run folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds something else, or an encoder without such a head.
        OSError: the file is damaged.
    """
    path = _file(path)
    tensors, header = load_tensors(path, kind=KIND)
    prefix = f"{TASK_HEAD}."
    head = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not head:
        raise ValueError(f"{path} has no head: its encoder was trained for distances between embeddings alone")
    return head, header["card"]


def _file(path: str | Path) -> Path:
    path = Path(path)
    path = path / ENCODER_FILE if path.is_dir() else path
    if path.is_file() and not is_safetensors(path):
        what = foreign_kind(path) or "is no file of fewshot_cxr; a training starts from foreign weights with --weights"
        raise ValueError(f"{path} {what}. Name a run folder of `fscxr train`, or its {ENCODER_FILE}")
    return path


def _rebuild(recipe: Mapping[str, Any], spec: ImageSpec) -> Encoder:
    options = {name: value for name, value in recipe["options"].items() if name not in ("pretrained", "weights")}
    return build_encoder(recipe["encoder"], image_spec=spec, **options)

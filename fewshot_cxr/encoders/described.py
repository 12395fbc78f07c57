"""Networks that others describe in timm's format, on the hub or in a folder."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.hub import asking_the_hub
from fewshot_cxr.encoders.timm_encoder import TimmEncoder
from fewshot_cxr.encoders.weights import load_weights, take_weights
from fewshot_cxr.image_spec import ImageSpec

_CONFIG = "config.json"
_FILES = ("model.safetensors", "pytorch_model.bin")
# These an encoder sets itself.
_OWN_ARGUMENTS = {"num_classes", "in_chans", "img_size"}
Description = tuple[str, str, Mapping[str, Any] | None, Mapping[str, Any], Callable[[Encoder], None]]
"""Name, architecture, its arguments, the facts of its weights, and what copies the weights into an encoder."""


def described_encoder(
    read: Callable[[str, bool], Description],
    place: str,
    image_spec: ImageSpec | None = None,
    *,
    pretrained: bool = False,
    pool: str = "native",
    embedding_dim: int | None = None,
    output: str = "head",
    dropout: float = 0.0,
) -> Encoder:
    """Build a network that others describe in timm's format.

    Once built it goes by the name of its architecture, so that a saved encoder is loaded without the description.

    Args:
        read: `read_hub` or `read_folder`.
        place: where the description is.
        image_spec: how films become images; see `Encoder`.
        pretrained: take its weights too: safetensors, or a .bin of which plain weights alone are read.
        pool: what is read of it; see `TimmEncoder`.
        embedding_dim: width of the head; see `Encoder`.
        output: "head" or "pooled"; see `Encoder`.
        dropout: share of the pooled features; see `Encoder`.

    Raises:
        ValueError: timm has no such architecture, or it is described with arguments that an encoder does not take.
        FileNotFoundError: see `read_folder`.
        OSError: see `read_hub`; or the weights are damaged, or more than plain weights.
    """
    name, architecture, arguments, config, start = read(place, pretrained)
    others = {key: value for key, value in (arguments or {}).items() if key not in _OWN_ARGUMENTS}
    if others:
        raise ValueError(f"{name} is built with {others}, which an encoder does not take; choose another repository")
    encoder = TimmEncoder(
        architecture, image_spec, pool=pool, embedding_dim=embedding_dim, output=output, dropout=dropout
    )
    said = {key: config[key] for key in ("mean", "std", "classifier", "license") if config.get(key)}
    encoder.backbone.pretrained_cfg = encoder.backbone.pretrained_cfg | said
    encoder.recipe = {"encoder": f"timm:{architecture}"}
    if pretrained:
        start(encoder)
    return encoder


def read_hub(repository: str, pretrained: bool) -> Description:
    """Download the description of a network, and its weights if they are wanted, from the Hugging Face hub.

    Args:
        repository: "<owner>/<name>", with "@<revision>" to hold one state of it.
        pretrained: whether the weights are wanted.

    Raises:
        OSError: the description or the weights cannot be downloaded.
    """
    from timm.models import load_model_config_from_hf, load_state_dict_from_hf

    name = f"timm:hf-hub:{repository}"
    try:
        with asking_the_hub():
            config, architecture, arguments = load_model_config_from_hf(repository)
            tensors = load_state_dict_from_hf(repository, weights_only=True) if pretrained else {}
    except Exception as error:  # the hub's client, its transport, JSON and pickle each have their own
        reason = shorten(str(error), 120, placeholder="...")
        raise OSError(
            f"{name} cannot be downloaded or read ({type(error).__name__}: {reason}); fetch the file elsewhere, and "
            "name its architecture and it: timm:<architecture> --weights FILE"
        ) from error
    return name, architecture, arguments, config, partial(take_weights, tensors=tensors, source=name)


def read_folder(folder: str, pretrained: bool) -> Description:
    """Read the description of a network in a folder, a copy of a repository of the hub; nothing is downloaded.

    Args:
        folder: holds config.json and, for `pretrained`, model.safetensors or pytorch_model.bin.
        pretrained: not used: weights are read when the network is there.

    Raises:
        FileNotFoundError: the folder lacks its description.
        ValueError: the description is none.
    """
    name = f"timm:local-dir:{folder}"
    path = Path(folder) / _CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {name} is a folder with {_CONFIG} and {_FILES[0]}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        architecture, arguments = config["architecture"], config.get("model_args")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe a network of timm: {error!r}") from error
    files = [Path(folder) / file for file in _FILES]
    weights = next((file for file in files if file.is_file()), files[0])
    return name, architecture, arguments, config.get("pretrained_cfg", config), partial(load_weights, path=weights)

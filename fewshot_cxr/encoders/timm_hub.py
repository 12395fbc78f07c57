"""Networks that others publish in timm's format: "timm:hf-hub:<owner>/<name>" and "timm:local-dir:<folder>"."""

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.timm_encoder import TimmEncoder
from fewshot_cxr.encoders.weights import load_weights, take_weights
from fewshot_cxr.image_spec import ImageSpec

_CONFIG = "config.json"
_FILES = ("model.safetensors", "pytorch_model.bin")
# These an encoder sets itself.
_OWN_ARGUMENTS = {"num_classes", "in_chans", "img_size"}


def hub_encoder(
    repository: str,
    image_spec: ImageSpec | None = None,
    *,
    pretrained: bool = False,
    embedding_dim: int | None = None,
    output: str = "head",
    dropout: float = 0.0,
) -> Encoder:
    """Build the network that a repository of the Hugging Face hub describes; the description is downloaded.

    Once built it goes by the name of its architecture, so that a saved encoder is loaded without the hub.

    Args:
        repository: "<owner>/<name>", with "@<revision>" to hold one state of it.
        image_spec, embedding_dim, output, dropout: see `Encoder`.
        pretrained: download its weights too: safetensors, or a .bin of which plain weights alone are read.

    Raises:
        ValueError: timm has no such architecture, or it is described with arguments that an encoder does not take.
        OSError: the description or the weights cannot be downloaded.
    """
    from timm.models import load_model_config_from_hf, load_state_dict_from_hf

    name = f"timm:hf-hub:{repository}"
    try:
        config, architecture, arguments = load_model_config_from_hf(repository)
        tensors = load_state_dict_from_hf(repository, weights_only=True) if pretrained else None
    except Exception as error:  # the hub's client, its transport, JSON and pickle each have their own
        reason = shorten(str(error), 120, placeholder="...")
        raise OSError(
            f"{name} cannot be downloaded or read ({type(error).__name__}: {reason}); fetch the file elsewhere, and "
            "name its architecture and it: timm:<architecture> --weights FILE"
        ) from error
    _check_arguments(name, arguments)
    encoder = _described(architecture, config, image_spec, embedding_dim=embedding_dim, output=output, dropout=dropout)
    if tensors is not None:
        take_weights(encoder, tensors, name)
    return encoder


def folder_encoder(
    folder: str,
    image_spec: ImageSpec | None = None,
    *,
    pretrained: bool = False,
    embedding_dim: int | None = None,
    output: str = "head",
    dropout: float = 0.0,
) -> Encoder:
    """Build the network that a folder describes, a copy of a repository of the hub; nothing is downloaded.

    Args:
        folder: holds config.json and, for `pretrained`, model.safetensors or pytorch_model.bin.
        image_spec, pretrained, embedding_dim, output, dropout: see `hub_encoder`.

    Raises:
        FileNotFoundError: the folder lacks one of these files.
        ValueError: the description is none, or see `hub_encoder`.
        OSError: the weights are damaged, or more than plain weights.
    """
    name = f"timm:local-dir:{folder}"
    path = Path(folder) / _CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {name} is a folder with {_CONFIG} and {_FILES[0]}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        architecture = config["architecture"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe a network of timm: {error!r}") from error
    _check_arguments(name, config.get("model_args"))
    config = config.get("pretrained_cfg", config)
    encoder = _described(architecture, config, image_spec, embedding_dim=embedding_dim, output=output, dropout=dropout)
    if pretrained:
        files = [Path(folder) / file for file in _FILES]
        load_weights(encoder, next((file for file in files if file.is_file()), files[0]))
    return encoder


def _described(
    architecture: str, config: Mapping[str, Any], image_spec: ImageSpec | None, **options: Any
) -> TimmEncoder:
    encoder = TimmEncoder(architecture, image_spec, **options)
    said = {key: config[key] for key in ("mean", "std", "classifier") if config.get(key)}
    encoder.backbone.pretrained_cfg = encoder.backbone.pretrained_cfg | said
    encoder.recipe = {"encoder": f"timm:{architecture}"}
    return encoder


def _check_arguments(name: str, arguments: Mapping[str, Any] | None) -> None:
    others = {key: value for key, value in (arguments or {}).items() if key not in _OWN_ARGUMENTS}
    if others:
        raise ValueError(f"{name} is built with {others}, which an encoder does not take; choose another repository")

"""What a run says of itself: in the card beside its encoder, and in the checkpoint from which it resumes."""

import pickle
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from fewshot_cxr.encoders import Encoder
from fewshot_cxr.records import Records

_LIBRARIES = ("fewshot_cxr", "torch", "timm", "lightning", "pytorch-metric-learning")


def run_card(
    encoder: Encoder,
    train: Records,
    val: Records,
    *,
    given_hash: Sequence[str],
    distance: str,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Describe a run: encoder, films, settings, versions; plain JSON values.

    Args:
        encoder: that is trained.
        train: films that it is trained on.
        val: films that it is validated with.
        given_hash: of the films as `fit` got them, before one part was carved from the other and unreadable films left
            out: a later evaluation knows them by their hash.
        distance: by which embeddings are to be compared.
        settings: of the training.
    """
    parts = {"train": train, "val": val}
    return {
        "encoder": encoder.recipe,
        "image_spec": encoder.image_spec.to_json(),
        "findings": list(train.findings),
        "distance": distance,
        "data_hash": {name: part.data_hash for name, part in parts.items()},
        "given_hash": list(given_hash),
        "n_films": {name: len(part) for name, part in parts.items()},
        "n_patients": {name: len({film.group for film in part}) for name, part in parts.items()},
        "training": settings,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
    }


def best_card(card: dict[str, Any], row: dict[str, float]) -> dict[str, Any]:
    """Add to a card which epoch's encoder was kept, and its validation accuracy (None where nothing was validated)."""
    return card | {"best_epoch": int(row["epoch"]), "val_accuracy": row.get("val_accuracy")}


def resumed_epoch(last: Path, card: dict[str, Any]) -> int:
    """Return how many whole epochs lie behind a `last.ckpt`, after checking that it is of the same run.

    Raises:
        ValueError: other settings or other films; the text names them. Or no checkpoint of ours.
        OSError: the file is damaged.
    """
    before = _read_card(last)
    differing = [name for name, value in card["training"].items() if before["training"].get(name) != value]
    if differing:
        raise ValueError(f"{last} was made with another {', '.join(differing)}; resume with the settings of card.json")
    if before["data_hash"] != card["data_hash"]:
        raise ValueError(f"{last} was trained on other films or another split; resume with the same --data")
    return int(before["n_epochs_done"])


def _read_card(last: Path) -> dict[str, Any]:
    try:
        # Only tensors and plain values: nothing that a stranger put into the file is run.
        card = torch.load(last, map_location="cpu", weights_only=True).get("run_card")
    except (RuntimeError, pickle.UnpicklingError, EOFError, AttributeError) as error:
        raise OSError(f"{last} is damaged or no checkpoint: start anew without --resume") from error
    if not isinstance(card, dict):
        raise ValueError(f"{last} is no checkpoint of fewshot_cxr")
    return card

"""What the header and the card of an encoder's file are like, so that those who read them can take it for granted."""

from collections.abc import Mapping
from typing import Any

from fewshot_cxr._checks import check_form, lookup
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.encoders.base import Encoder

_HEADER = {"recipe": {"encoder": str, "options": dict}, "image_spec": dict, "card": dict}
_HEAD = {"kind": str, "activation?": str, "bias?": bool, "findings?": [str], "is_nonnegative?": bool}
_CARD = {
    "distance?": str,
    "rule?": str,
    "findings?": [str],
    "head?": _HEAD,
    "data_hash?": {"train?": str, "val?": str},
    "given_hash?": [str],
    "training?": dict,
    "n_films?": {"train?": int, "val?": int},
    "n_patients?": {"train?": int, "val?": int},
    "keep?": {"weight": float, "how": str},
    "best_epoch?": (int, None),
    "val_accuracy?": (float, None),
    "versions?": dict,
    "weights?": {"name?": str, "licence?": str, "access?": str, "trained_on?": [str], "sha256?": str},
}


def check_header(header: Mapping[str, Any], name: str) -> None:
    """Refuse the header of a file that is not that of an encoder.

    Args:
        header: of `load_tensors`.
        name: of the file.

    Raises:
        ValueError: it is another; the text names the key.
    """
    check_form(header, _HEADER, f"{name}: its header")
    check_card(header["card"], name)
    for option, value in header["recipe"]["options"].items():
        if value is not None and not isinstance(value, (bool, str)):
            check_form(value, float, f"{name}: its option {option:.40}")


def check_card(card: Any, name: str) -> None:
    """Refuse a card that holds other values than those who read it expect; it may lack any, and hold others.

    Raises:
        ValueError: it holds others; the text names the key.
    """
    check_form(card, _CARD, f"{name}: its card")
    if "distance" in card:
        try:
            lookup(DISTANCES, card["distance"], what="distance")
        except ValueError as error:
            raise ValueError(f"{name}: its card has an {error}") from error


def frozen_card(encoder: Encoder) -> dict[str, Any]:
    """Return the card of an encoder that was built and not trained, for `save_encoder`.

    It knows no finding. Its embeddings are compared by cosine, since the length of pooled features tells exposure and
    contrast rather than findings.

    Args:
        encoder: of `build_encoder`.

    Examples:
        >>> from fewshot_cxr.encoders import build_encoder
        >>> card = frozen_card(build_encoder("resnet9", width=4))
        >>> card["distance"], card["findings"], card["encoder"]["encoder"]
        ('cosine', [], 'resnet9')
    """
    return {
        "encoder": encoder.recipe,
        "image_spec": encoder.image_spec.to_json(),
        "findings": [],
        "distance": "cosine",
    } | ({"weights": encoder.origin} if encoder.origin else {})

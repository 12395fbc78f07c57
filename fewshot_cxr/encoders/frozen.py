"""The card of an encoder that is used as it was published."""

from typing import Any

from fewshot_cxr.encoders.base import Encoder


def frozen_card(encoder: Encoder) -> dict[str, Any]:
    """Return the card of an encoder that was built and not trained, for `save_encoder`.

    It knows no finding. Its embeddings are compared by cosine, since the length of pooled features tells exposure and
    contrast rather than findings.

    Args:
        encoder: of `build_encoder`.
    """
    return {
        "encoder": encoder.recipe,
        "image_spec": encoder.image_spec.to_json(),
        "findings": [],
        "distance": "cosine",
    } | ({"weights": encoder.origin} if encoder.origin else {})

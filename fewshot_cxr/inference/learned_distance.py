"""The learned distance of a siamese run, as the options of the rule `template`."""

from pathlib import Path
from typing import Any

from fewshot_cxr.encoders import Encoder, load_head
from fewshot_cxr.objectives import WeightedL1Head

_WEIGHTED_L1 = "weighted_l1"


def template_options(encoder: Encoder, path: str | Path) -> dict[str, Any]:
    """Return the keywords that make the rule `template` measure as the run was trained.

    Args:
        encoder: as it was loaded; its card says whether a distance was learned.
        path: the run folder or encoder file that it was loaded from.

    Returns:
        {"weights": float (dim,), "bias": float}; {} where the run learned no distance, and plain l1 is meant.

    Raises:
        FileNotFoundError, OSError, ValueError: as for `load_head`; or a head that this version does not know.
    """
    facts = encoder.card.get("head") or {}
    if facts.get("kind") != _WEIGHTED_L1:
        return {}
    tensors, _ = load_head(path)
    head = WeightedL1Head(encoder.embedding_dim, is_nonnegative=bool(facts.get("is_nonnegative")))
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: its learned distance cannot be rebuilt by this version: {reason}") from error
    return {"weights": head.weights.detach(), "bias": head.bias.item()}

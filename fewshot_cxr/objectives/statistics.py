"""Two numbers by which a run shows that it still learns, or that its embeddings have collapsed."""

import torch
from torch import Tensor

from fewshot_cxr.objectives.miners import batch_distances, pair_masks

_ROUNDING = 1e-6


@torch.no_grad()
def triplet_statistics(embeddings: Tensor, class_ids: Tensor, *, distance: str, margin: float) -> dict[str, Tensor]:
    """Measure one batch.

    Args:
        embeddings: float, shape (N, dim).
        class_ids: int64, shape (N,).
        distance, margin: those of the loss.

    Returns:
        "active_share": of all triplets, those whose negative is not farther than the positive by the margin.
        "distance_spread": standard deviation over mean of all pairwise distances; near 0 when all films look alike,
        0 when all embeddings are one point. Scalars on the embeddings' device.
    """
    distances = batch_distances(embeddings, distance)
    is_positive, is_negative = pair_masks(class_ids)
    # Sorted negatives per anchor answer for every positive at once; no cube of triplets.
    negatives = distances.masked_fill(~is_negative, torch.inf).sort(dim=1).values
    n_active = torch.searchsorted(negatives, (distances + margin).contiguous())
    n_triplets = (is_positive.sum(dim=1) * is_negative.sum(dim=1)).sum()
    pairs = distances[~torch.eye(len(embeddings), dtype=torch.bool, device=distances.device)]
    # One minus a cosine of 0.9999999 is no distance: its spread would make a collapsed encoder look lively.
    pairs = pairs.where(pairs > _ROUNDING, 0.0)
    return {
        "active_share": (n_active * is_positive).sum() / n_triplets.clamp_min(1),
        "distance_spread": pairs.std() / pairs.mean().clamp_min(1e-12),
    }

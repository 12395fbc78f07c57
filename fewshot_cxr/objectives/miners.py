"""Which triplets of a batch a loss looks at: a bounded number, however few the classes and large the batch.

With three classes a batch of 384 films has 6 million triplets; the cube of all of them is never built.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_cxr._checks import lookup
from fewshot_cxr.distances import pairwise_distances
from fewshot_cxr.objectives.losses import MetricLoss, Mined
from fewshot_cxr.seeding import torch_generator

Miner = Callable[..., Mined]
"""miner(embeddings (N, dim), class_ids (N,), group_ids (N,) or None, *, step) -> row indices (anchor, positive,
negative), int64, of equal length; or (anchor, positive, anchor, negative) for pairs."""

_MAX_CELLS = 1 << 20


@dataclass(frozen=True)
class TripletMiner:
    """Choose triplets by how far the negative is from the anchor.

    "all": every triplet. "semihard": the negative is farther than the positive, but by less than the margin (Schroff
    et al. 2015). "hard": for each anchor its farthest positive and its nearest negative (Hermans et al. 2017,
    arXiv:1703.07737). Films of the anchor's own patient are no positives for it, unless it has no others.

    Args:
        kind: "all", "semihard" or "hard".
        distance, margin: those of the loss.
        max_triplets: more than these are thinned out by a draw keyed by (seed, step).
        seed: of that draw.
    """

    kind: str
    distance: str
    margin: float
    max_triplets: int = 8192
    seed: int = 0

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, class_ids: Tensor, group_ids: Tensor | None = None, *, step: int) -> Mined:
        """Return (anchor, positive, negative); empty where no triplet qualifies."""
        distances = batch_distances(embeddings, self.distance)
        is_positive, is_negative = pair_masks(class_ids, group_ids)
        if self.kind == "hard":
            return _hardest(distances, is_positive, is_negative)
        generator = torch_generator(self.seed, "miner", step)
        anchors, positives = _thin(torch.nonzero(is_positive), _MAX_CELLS // len(class_ids), generator).T
        qualifies = is_negative[anchors]
        if self.kind == "semihard":
            gap = distances[anchors] - distances[anchors, positives].unsqueeze(1)
            qualifies = qualifies & (gap > 0) & (gap < self.margin)
        pair, negatives = _thin(torch.nonzero(qualifies), self.max_triplets, generator).T
        return anchors[pair], positives[pair], negatives


@dataclass(frozen=True)
class SimilarityPairMiner:
    """Choose, for each anchor, the pairs that come within `epsilon` of the hardest pair of the other kind.

    By cosine. Not the miner of pytorch-metric-learning: that one knows no patients, and compares in half precision
    under mixed precision.

    Source: Wang et al. 2019, arXiv:1904.06627, eq. 8 and 9.
    """

    epsilon: float = 0.1

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, class_ids: Tensor, group_ids: Tensor | None = None, *, step: int) -> Mined:
        """Return pairs (anchor, positive, anchor, negative); `step` plays no part, as nothing is drawn."""
        distances = batch_distances(embeddings, "cosine")
        is_positive, is_negative = pair_masks(class_ids, group_ids)
        farthest = distances.masked_fill(~is_positive, -torch.inf).amax(dim=1, keepdim=True)
        nearest = distances.masked_fill(~is_negative, torch.inf).amin(dim=1, keepdim=True)
        positive_pairs = torch.nonzero(is_positive & (distances + self.epsilon > nearest)).T
        negative_pairs = torch.nonzero(is_negative & (distances - self.epsilon < farthest)).T
        return *positive_pairs, *negative_pairs


def _triplet_miner(kind: str) -> Callable[[MetricLoss, int], Miner]:
    return lambda loss, seed: TripletMiner(kind, loss.distance, loss.margin, seed=seed)


MINERS: dict[str, Callable[[MetricLoss, int], Miner]] = {
    "all": _triplet_miner("all"),
    "semihard": _triplet_miner("semihard"),
    "hard": _triplet_miner("hard"),
    "multi_similarity": lambda loss, seed: SimilarityPairMiner(),
}


def build_miner(name: str | None, *, loss: MetricLoss, seed: int = 0) -> Miner | None:
    """Build the miner that serves a loss.

    Args:
        name: in MINERS; None: the loss's default, which for supcon and proxy_anchor is none.
        loss: its distance and margin are the miner's.
        seed: of the miner's draws.

    Raises:
        ValueError: unknown miner, or one that does not fit the loss.
    """
    if name is None:
        return MINERS[loss.miners[0]](loss, seed) if loss.miners else None
    make = lookup(MINERS, name, what="miner")
    if name not in loss.miners:
        fitting = f"takes {', '.join(loss.miners)}" if loss.miners else "takes no miner: it weighs all pairs itself"
        raise ValueError(f"miner {name!r} does not fit loss {loss.name!r}, which {fitting}")
    return make(loss, seed)


def batch_distances(embeddings: Tensor, distance: str) -> Tensor:
    """Measure every row of a batch against every row, in float32, mixed precision or not; shape (N, N)."""
    with torch.autocast(embeddings.device.type, enabled=False):
        return pairwise_distances(embeddings.float(), embeddings.float(), distance)


def pair_masks(class_ids: Tensor, group_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return which rows are positives and which are negatives of each anchor, bool, shape (N, N) each."""
    is_same = class_ids.unsqueeze(0) == class_ids.unsqueeze(1)
    is_positive = is_same & ~torch.eye(len(class_ids), dtype=torch.bool, device=class_ids.device)
    if group_ids is not None:
        of_others = is_positive & (group_ids.unsqueeze(0) != group_ids.unsqueeze(1))
        is_positive = torch.where(of_others.any(dim=1, keepdim=True), of_others, is_positive)
    return is_positive, ~is_same


def _hardest(distances: Tensor, is_positive: Tensor, is_negative: Tensor) -> Mined:
    anchors = torch.nonzero(is_positive.any(dim=1) & is_negative.any(dim=1)).squeeze(1)
    farthest = distances.masked_fill(~is_positive, -torch.inf)[anchors].argmax(dim=1)
    nearest = distances.masked_fill(~is_negative, torch.inf)[anchors].argmin(dim=1)
    return anchors, farthest, nearest


def _thin(rows: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Keep at most `most` rows, drawn without replacement, in their order."""
    if len(rows) <= most:
        return rows
    kept = torch.randperm(len(rows), generator=generator)[:most].sort().values
    return rows[kept.to(rows.device)]

"""Which triplets of a batch a loss looks at: a bounded number, however few the classes and large the batch.

With three classes a batch of 384 films has 6 million triplets; the cube of all of them is never built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewshot_cxr._checks import check_at_least, lookup
from fewshot_cxr.distances import pairwise_distances
from fewshot_cxr.objectives.losses import MetricLoss, Mined
from fewshot_cxr.torch_seeding import torch_generator

Miner = Callable[..., Mined]
"""miner(embeddings (N, dim), class_ids (N,), group_ids (N,) or None, *, step, n_anchors=None) -> row indices (anchor,
positive, negative), int64, of equal length; or (anchor, positive, anchor, negative) for pairs. Only the first n_anchors
rows are anchors (None: all)."""

_MAX_CELLS = 1 << 20
_MAX_COLUMNS = 1 << 10
_NO_DISTANCE = 1e-6


@dataclass(frozen=True)
class TripletMiner:
    """Choose triplets by how far the negative is from the anchor.

    "all": every triplet. "semihard": the negative is farther than the positive, but by less than the margin (Schroff
    et al. 2015). "hard": for each anchor its farthest positive and its nearest negative (Hermans et al. 2017,
    arXiv:1703.07737). Films of the anchor's own patient are no positives for it, unless it has no others.

    Args:
        kind: "all", "semihard" or "hard".
        distance: that of the loss.
        margin: that of the loss.
        max_triplets: more than these are thinned out by a draw keyed by (seed, step).
        seed: of that draw.
    """

    kind: str
    distance: str
    margin: float
    max_triplets: int = 8192
    seed: int = 0

    @torch.no_grad()
    def __call__(
        self,
        embeddings: Tensor,
        class_ids: Tensor,
        group_ids: Tensor | None = None,
        *,
        step: int,
        n_anchors: int | None = None,
    ) -> Mined:
        """Return (anchor, positive, negative); empty where no triplet qualifies."""
        distances = batch_distances(embeddings, self.distance, n_anchors)
        is_positive, is_negative = pair_masks(class_ids, group_ids, n_anchors)
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

    def __post_init__(self) -> None:
        check_at_least(self.epsilon, 0, "epsilon")

    @torch.no_grad()
    def __call__(
        self,
        embeddings: Tensor,
        class_ids: Tensor,
        group_ids: Tensor | None = None,
        *,
        step: int,
        n_anchors: int | None = None,
    ) -> Mined:
        """Return pairs (anchor, positive, anchor, negative); `step` plays no part, as nothing is drawn."""
        distances = batch_distances(embeddings, "cosine", n_anchors)
        is_positive, is_negative = pair_masks(class_ids, group_ids, n_anchors)
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


def build_miner(miner: str | Callable[..., Any] | None, *, loss: MetricLoss, seed: int = 0) -> Miner | None:
    """Build the miner that serves a loss.

    Args:
        miner: a name in MINERS; a miner of pytorch-metric-learning, or any callable from (embeddings, class ids) to the
            row indices of triplets or pairs; None: the loss's default, which for supcon and proxy_anchor is none.
        loss: its distance and margin are the miner's.
        seed: of the miner's draws.

    Raises:
        ValueError: unknown miner, or one that does not fit the loss.

    Examples:
        >>> from fewshot_cxr.objectives import build_loss
        >>> miner = build_miner("hard", loss=build_loss("triplet", n_classes=2, embedding_dim=1))
        >>> mined = miner(torch.tensor([[0.0], [1.0], [1.5]]), torch.tensor([0, 0, 1]), step=0)
        >>> [rows.tolist() for rows in mined]  # anchors, positives, negatives
        [[0, 1], [1, 0], [2, 2]]
    """
    if miner is None:
        return MINERS[loss.miners[0]](loss, seed) if loss.miners else None
    if isinstance(miner, TripletMiner | SimilarityPairMiner):
        return miner
    if not isinstance(miner, str):
        return _of_batches(miner)
    make = lookup(MINERS, miner, what="miner")
    if loss.miners is not None and miner not in loss.miners:
        fitting = f"takes {', '.join(loss.miners)}" if loss.miners else "takes no miner: it weighs all pairs itself"
        raise ValueError(f"miner {miner!r} does not fit loss {loss.name!r}, which {fitting}")
    return make(loss, seed)


def _of_batches(choose: Callable[..., Any]) -> Miner:
    """Make a `Miner` of one that knows neither patients nor steps, and no memory."""

    def miner(embeddings: Tensor, class_ids: Tensor, group_ids: Tensor | None = None, *, step: int) -> Mined:
        with torch.autocast(embeddings.device.type, enabled=False):
            return tuple(choose(embeddings.float(), class_ids))

    return miner


def batch_distances(embeddings: Tensor, distance: str, n_anchors: int | None = None) -> Tensor:
    """Measure the first n_anchors rows (None: all) against every row, in float32; shape (n_anchors, N)."""
    anchors = embeddings[:n_anchors].float()
    with torch.autocast(embeddings.device.type, enabled=False):
        # In blocks: where two rows are alike the distances compare all columns with each other, a square.
        blocks = torch.split(embeddings.float(), _MAX_COLUMNS)
        return torch.cat([pairwise_distances(anchors, block, distance) for block in blocks], dim=1)


def pair_masks(
    class_ids: Tensor, group_ids: Tensor | None = None, n_anchors: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return which rows are positives and which are negatives of each anchor, bool, shape (n_anchors, N) each.

    The first n_anchors rows are the anchors (None: all). Films of an anchor's own patient are no positives, unless it
    has no others.
    """
    is_same = class_ids[:n_anchors].unsqueeze(1) == class_ids.unsqueeze(0)
    is_positive = is_same & ~torch.eye(*is_same.shape, dtype=torch.bool, device=class_ids.device)
    if group_ids is not None:
        of_others = is_positive & (group_ids[:n_anchors].unsqueeze(1) != group_ids.unsqueeze(0))
        is_positive = torch.where(of_others.any(dim=1, keepdim=True), of_others, is_positive)
    return is_positive, ~is_same


@torch.no_grad()
def triplet_statistics(embeddings: Tensor, class_ids: Tensor, *, distance: str, margin: float) -> dict[str, Tensor]:
    """Measure one batch.

    Args:
        embeddings: float, shape (N, dim).
        class_ids: int64, shape (N,).
        distance: of the loss.
        margin: of the loss.

    Returns:
        "active_share": of all triplets, those whose negative is not farther than the positive by the margin.
        "distance_spread": standard deviation over mean of all pairwise distances; near 0 when all films look alike,
        0 when all embeddings are one point. Scalars on the embeddings' device.

    Examples:
        >>> films, class_ids = torch.tensor([[0.0], [1.0], [1.5], [9.0]]), torch.tensor([0, 0, 1, 1])
        >>> told = triplet_statistics(films, class_ids, distance="euclidean", margin=0.2)
        >>> told["active_share"].item()  # three of the eight triplets
        0.375
    """
    distances = batch_distances(embeddings, distance)
    is_positive, is_negative = pair_masks(class_ids)
    # Sorted negatives per anchor answer for every positive at once; no cube of triplets.
    negatives = distances.masked_fill(~is_negative, torch.inf).sort(dim=1).values
    n_active = torch.searchsorted(negatives, (distances + margin).contiguous())
    n_triplets = (is_positive.sum(dim=1) * is_negative.sum(dim=1)).sum()
    pairs = distances[~torch.eye(len(embeddings), dtype=torch.bool, device=distances.device)]
    # One minus a cosine of 0.9999999 is no distance: its spread would make a collapsed encoder look lively.
    pairs = pairs.where(pairs > _NO_DISTANCE, 0.0)
    return {
        "active_share": (n_active * is_positive).sum() / n_triplets.clamp_min(1),
        "distance_spread": pairs.std() / pairs.mean().clamp_min(1e-12),
    }


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

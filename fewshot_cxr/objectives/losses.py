"""Metric losses: thin over pytorch-metric-learning, with margin, distance and normalisation said in words.

Its distances normalise by default and its cosine flips what a margin means, so the pair and triplet losses measure with
our own `pairwise_distances`: the same arithmetic as the decision rules, and a margin is always "farther by this much".
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from pytorch_metric_learning import losses, reducers
from pytorch_metric_learning.distances import BaseDistance, CosineSimilarity
from torch import Tensor, nn

from fewshot_cxr._checks import check_above, class_name, lookup
from fewshot_cxr.distances import DISTANCES, pairwise_distances
from fewshot_cxr.objectives.heads import WeightedL1Head
from fewshot_cxr.objectives.ordered_losses import PairLoss, PrototypicalLoss
from fewshot_cxr.torch_seeding import seeded_torch

Mined = tuple[Tensor, ...]
_MARGINS = {"euclidean": 1.0, "squared_euclidean": 1.0, "l1": 1.0, "cosine": 0.2}
_PROXY_MARGIN = 0.1


class _OurDistance(BaseDistance):  # type: ignore[misc]  # it ships no types
    """One of DISTANCES, on embeddings as they are, smaller is closer."""

    def __init__(self, name: str) -> None:
        super().__init__(normalize_embeddings=False, is_inverted=False)
        self.name = name

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor | None) -> Tensor:
        """Return the matrix of distances, shape (n_queries, n_references)."""
        return pairwise_distances(query_emb, query_emb if ref_emb is None else ref_emb, self.name)


class MetricLoss(nn.Module):
    """A loss on embeddings and class ids, always in float32, mixed precision or not.

    Attributes:
        name: in LOSSES, or of the loss's class.
        inner: takes (embeddings, class ids), and what the miner chose where there is one.
        distance: in DISTANCES.
        margin: of the loss, or what the miners should use beside it.
        miners: names in MINERS that fit it, the default first; (): the loss weighs all pairs itself; None: any, and
            none unless asked for.
        batches: the order of rows that it reads, as `inner` says: "balanced" (none), "pairs" (row i beside row
            i + N / 2) or "episodic" (the first rows of each class are its support).

    Examples:
        >>> loss = build_loss("triplet", n_classes=3, embedding_dim=128)
        >>> loss.distance, loss.margin, loss.miners, loss.batches
        ('euclidean', 1.0, ('semihard', 'hard', 'all'), 'balanced')
    """

    def __init__(
        self, name: str, inner: Callable[..., Any], distance: str, margin: float, miners: tuple[str, ...] | None
    ) -> None:
        super().__init__()
        self.name, self.distance, self.margin, self.miners = name, distance, margin, miners
        self.batches: str = getattr(inner, "batches", "balanced")
        self.inner = inner

    @property
    def head(self) -> WeightedL1Head | None:
        """The distance that the loss learns, which a test needs beside the encoder; None: it learns none."""
        return self.inner.head if isinstance(self.inner, PairLoss) else None

    def forward(
        self,
        embeddings: Tensor,
        class_ids: Tensor,
        mined: Mined | None = None,
        references: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return the loss of one batch.

        Args:
            embeddings: float, shape (N, dim).
            class_ids: int64, shape (N,).
            mined: what the miner chose: rows (anchor, positive, negative), or pairs (anchor, positive, anchor,
                negative); None: all.
            references: embeddings and class ids that the positives and negatives in `mined` are rows of, where these
                are not those of the batch; not for the losses without pairs of their own.

        Returns:
            float32, shape (); 0 with a gradient of 0 where the batch has no pair to compare.
        """
        if mined is not None and all(len(rows) <= 1 for rows in mined):
            # The library takes a single pair for none at all; the same one twice has the same mean.
            mined = tuple(rows.repeat(2) for rows in mined)
        with torch.autocast(embeddings.device.type, enabled=False):
            chosen = () if mined is None else (mined, *(references or ()))
            loss = self.inner(embeddings.float(), class_ids, *chosen)
            # Without any pair the library answers with a plain 0, which has no graph to run backward on.
            return loss if isinstance(loss, Tensor) and loss.requires_grad else loss + 0.0 * embeddings.float().sum()


def _triplet(*, distance: str, margin: float, **options: Any) -> Any:
    # The mean over active triplets: over all, the loss fades as training goes on (systems 2's B^3 mistake).
    reducer = reducers.AvgNonZeroReducer()
    return losses.TripletMarginLoss(margin=margin, distance=_OurDistance(distance), reducer=reducer, **options)


def _contrastive(*, distance: str, margin: float, **options: Any) -> Any:
    return losses.ContrastiveLoss(pos_margin=0.0, neg_margin=margin, distance=_OurDistance(distance), **options)


def _multi_similarity(*, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5, **options: Any) -> Any:
    return losses.MultiSimilarityLoss(alpha=alpha, beta=beta, base=base, distance=CosineSimilarity(), **options)


def _supcon(*, temperature: float = 0.1, **options: Any) -> Any:
    return losses.SupConLoss(temperature=temperature, distance=CosineSimilarity(), **options)


def _proxy_anchor(*, margin: float, n_classes: int, embedding_dim: int, alpha: float = 32.0, **options: Any) -> Any:
    return losses.ProxyAnchorLoss(
        n_classes, embedding_dim, margin=margin, alpha=alpha, distance=CosineSimilarity(), **options
    )


# Of n_classes, embedding_dim, distance and margin a loss gets those that it names among its parameters.
LOSSES: dict[str, Callable[..., Callable[..., Any]]] = {
    "triplet": _triplet,
    "contrastive": _contrastive,
    "multi_similarity": _multi_similarity,
    "supcon": _supcon,
    "proxy_anchor": _proxy_anchor,
    "pair_bce": PairLoss,
    "prototypical": PrototypicalLoss,
}
# What they compare by, who do not take a distance.
_COMPARE_BY = {"multi_similarity": "cosine", "supcon": "cosine", "proxy_anchor": "cosine", "pair_bce": "l1"}
# Contrastive takes all by default: semihard leaves out the negatives nearer than the positive, its largest terms.
_MINERS: dict[str, tuple[str, ...]] = {
    "triplet": ("semihard", "hard", "all"),
    "contrastive": ("all", "semihard", "hard"),
    "multi_similarity": ("multi_similarity",),
    **dict.fromkeys(("supcon", "proxy_anchor", "pair_bce", "prototypical"), ()),
}


def build_loss(
    loss: str | Callable[..., Any],
    *,
    n_classes: int,
    embedding_dim: int,
    distance: str = "euclidean",
    margin: float | None = None,
    seed: int = 0,
    **options: Any,
) -> MetricLoss:
    """Build a loss.

    Args:
        loss: a name in LOSSES: triplet (Schroff et al. 2015, arXiv:1503.03832), contrastive (Hadsell et al. 2006),
            multi_similarity (Wang et al. 2019, arXiv:1904.06627), supcon (Khosla et al. 2020, arXiv:2004.11362),
            proxy_anchor (Kim et al. 2020, arXiv:2003.13911; its proxies are parameters), pair_bce (see `PairLoss`),
            prototypical (see `PrototypicalLoss`). Or a loss of pytorch-metric-learning, or any callable from
            (embeddings, class ids) to a scalar.
        n_classes: of the training set.
        embedding_dim: of the encoder.
        distance: in DISTANCES; triplet, contrastive and prototypical take any, pair_bce l1, the others cosine.
        margin: in units of the distance; None: 0.2 for cosine (proxy_anchor 0.1), 1 for the others. multi_similarity,
            supcon, pair_bce and prototypical have none.
        seed: of the proxies and of the head.
        options: of the loss, here or in pytorch-metric-learning; a misspelt one is Python's own TypeError.

    Raises:
        ValueError: unknown loss or distance, two that do not go together, a margin not above 0 or not of this loss, or
            a margin or options beside an object, which has its own.

    Examples:
        >>> loss = build_loss("triplet", n_classes=2, embedding_dim=1, margin=1.0)
        >>> embeddings = torch.tensor([[0.0], [1.0], [1.5]])  # two films of normal, then one of covid19
        >>> loss(embeddings, torch.tensor([0, 0, 1])).item()  # mean of 1 - 1.5 + 1 and 1 - 0.5 + 1
        1.0
    """
    lookup(DISTANCES, distance, what="distance")
    if not isinstance(loss, str) and callable(loss):
        if margin is not None or options:
            raise ValueError(f"loss is a {class_name(loss)}, made already: leave margin and loss_options out")
        return MetricLoss(class_name(loss), loss, distance, _MARGINS[distance], None)
    make = lookup(LOSSES, loss, what="loss")
    takes = inspect.signature(make).parameters
    only = _COMPARE_BY.get(loss, distance)
    if distance != only:
        raise ValueError(
            f"loss {loss!r} compares by {only}, not {distance}: take distance {only!r} (--distance {only})"
        )
    if margin is not None and "margin" not in takes:
        raise ValueError(f"loss {loss!r} has no margin: leave margin out (--margin)")
    if margin is not None:
        check_above(margin, 0, "margin")
    usual = _PROXY_MARGIN if loss == "proxy_anchor" else _MARGINS[distance]
    chosen = usual if margin is None else margin
    facts = {"n_classes": n_classes, "embedding_dim": embedding_dim, "distance": distance, "margin": chosen}
    with seeded_torch(seed, "loss"):
        inner = make(**{name: value for name, value in facts.items() if name in takes}, **options)
    return MetricLoss(loss, inner, distance, chosen, _MINERS.get(loss))

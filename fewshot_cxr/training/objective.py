"""What a step of training is for: from embeddings and classes to a loss, and the numbers that the history notes."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from fewshot_cxr.objectives import CrossBatchMemory, LinearHead, MetricLoss, triplet_statistics


class Objective(nn.Module, ABC):
    """A loss with what it trains beside the encoder.

    Attributes:
        n_views: how many times each film of a batch is augmented and embedded.
    """

    n_views: int = 1

    @property
    @abstractmethod
    def kept_head(self) -> nn.Module | None:
        """What is saved beside the encoder; None: nothing."""

    @abstractmethod
    def forward(
        self, pooled: Tensor, embeddings: Tensor, class_ids: Tensor, group_ids: Tensor, *, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, shape (), and values of the step by name.

        Args:
            pooled, embeddings: shapes (n_views * N, n_features) and (n_views * N, dim), view by view.
            class_ids: int64 (N,), or float (N, n_findings).
            group_ids: int64 (N,).
            step: of the optimiser, the key of what is drawn.
        """


class MetricObjective(Objective):
    """A metric loss with its miner, perhaps with a memory of earlier batches, or a self-supervised term beside it.

    Args:
        loss: with its own parameters, if any.
        miner: takes (embeddings, class_ids, group_ids, step) and returns row indices; None for losses without.
        memory: of loss and miner; None for none.
        auxiliary: takes two views' pooled features; None for none. aux_weight: of it, the loss's own being 1.
    """

    def __init__(
        self,
        loss: MetricLoss,
        miner: Callable[..., Any] | None,
        *,
        memory: CrossBatchMemory | None = None,
        auxiliary: nn.Module | None = None,
        aux_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.loss, self.miner, self.memory = loss, miner, memory
        self.auxiliary, self.aux_weight = auxiliary, aux_weight
        self.n_views = 1 if auxiliary is None else 2

    @property
    def kept_head(self) -> nn.Module | None:
        """The learned distance, where the loss has one."""
        return self.loss.head

    def forward(
        self, pooled: Tensor, embeddings: Tensor, class_ids: Tensor, group_ids: Tensor, *, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective`. The metric loss sees both views as films, unless the order of the batch means something."""
        n_films = len(class_ids)
        n_seen = self.n_views if self.loss.batches == "balanced" else 1
        seen, classes, groups = embeddings[: n_seen * n_films], class_ids.repeat(n_seen), group_ids.repeat(n_seen)
        if self.memory is None:
            mined = None if self.miner is None else self.miner(seen.detach(), classes, groups, step=step)
            loss = self.loss(seen, classes, mined)
        else:
            loss = self.memory(seen, classes, groups, step=step)
        first = embeddings[:n_films].detach()
        values = triplet_statistics(first, class_ids, distance=self.loss.distance, margin=self.loss.margin)
        if self.auxiliary is not None:
            extra = self.auxiliary(pooled[:n_films], pooled[n_films:])
            values["aux_loss"] = extra.detach()
            loss = loss + self.aux_weight * extra
        return loss, values


class ClassifierObjective(Objective):
    """A linear head and a classification loss on its logits.

    Args:
        head: embeddings to logits.
        loss: takes logits (N, C) and targets.
    """

    def __init__(self, head: LinearHead, loss: nn.Module) -> None:
        super().__init__()
        self.head, self.loss = head, loss

    @property
    def kept_head(self) -> nn.Module:
        """The classifier's last layer."""
        return self.head

    def forward(
        self, pooled: Tensor, embeddings: Tensor, class_ids: Tensor, group_ids: Tensor, *, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective`."""
        logits = self.head(embeddings)
        loss: Tensor = self.loss(logits, class_ids)
        if class_ids.ndim == 1:
            return loss, {"accuracy": (logits.detach().argmax(dim=1) == class_ids).float().mean()}
        stated = ~class_ids.isnan()
        right = ((logits.detach() > 0) == (class_ids > 0.5)) & stated
        return loss, {"accuracy": right.sum() / stated.sum().clamp_min(1)}

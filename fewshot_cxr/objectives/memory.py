"""A memory of past batches: more positives and negatives for each film than a batch holds, at almost no cost."""

import inspect

import torch
from torch import Tensor, nn

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.objectives.losses import MetricLoss
from fewshot_cxr.objectives.miners import Miner, pair_masks

_FITTING = ("triplet", "contrastive", "supcon", "multi_similarity")


class CrossBatchMemory(nn.Module):
    """Compare the films of a batch with those of the batch and of the last `size` films before it.

    Only the batch's films are anchors, and only they have a gradient: the memory's embeddings are as old as their
    batch, which costs little as an encoder changes slowly. Films of the anchor's own patient, be they in the batch or
    in the memory, are no positives for it unless it has no others. The batch is remembered after it has been used.

    The state is in buffers, all of it, so that a run that is resumed goes on as if it had never stopped.

    Args:
        loss: triplet, contrastive, supcon or multi_similarity.
        miner: that serves the loss; None for supcon, which takes all pairs.
        size: films in the memory; the oldest leave first.
        embedding_dim: of the encoder.

    Raises:
        ValueError: a loss that compares no films one by one, a miner too few or one that sees no memory, or size below
            1.

    Examples:
        >>> from fewshot_cxr.objectives import build_loss
        >>> loss = build_loss("supcon", n_classes=2, embedding_dim=4, distance="cosine")
        >>> memory = CrossBatchMemory(loss, None, size=6, embedding_dim=4)
        >>> for step in range(2):
        ...     value = memory(torch.eye(4), torch.tensor([0, 0, 1, 1]), torch.arange(4), step=step)
        >>> int(memory.n_filled)  # the last six of eight films
        6

    Source: Wang et al., "Cross-Batch Memory for Embedding Learning", 2020, arXiv:1912.06798; there batch and memory
    have a loss each, here one loss sees both.
    """

    embeddings: Tensor
    class_ids: Tensor
    group_ids: Tensor
    n_filled: Tensor
    position: Tensor

    def __init__(self, loss: MetricLoss, miner: Miner | None, *, size: int, embedding_dim: int) -> None:
        super().__init__()
        check_at_least(size, 1, "size of the memory")
        if loss.name not in _FITTING:
            raise ValueError(
                f"loss {loss.name!r} cannot use a memory: leave it out (--memory), or take {', '.join(_FITTING)}"
            )
        if miner is None and loss.miners:
            raise ValueError(f"loss {loss.name!r} with a memory needs a miner: take {', '.join(loss.miners)}")
        if miner is not None and "n_anchors" not in inspect.signature(miner).parameters:
            raise ValueError("the miner sees one batch alone: leave it out (--miner), or the memory (--memory)")
        if getattr(loss.inner, "swap", False):
            raise ValueError("loss option swap compares positives with negatives, and a memory does not: leave it out")
        self.loss, self.miner, self.size = loss, miner, size
        self.register_buffer("embeddings", torch.zeros(size, embedding_dim))
        self.register_buffer("class_ids", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("group_ids", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("n_filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    def forward(self, embeddings: Tensor, class_ids: Tensor, group_ids: Tensor, *, step: int) -> Tensor:
        """Return the loss of one batch, and remember the batch.

        Args:
            embeddings: float, shape (N, dim).
            class_ids: int64, shape (N,), the same ids in every batch.
            group_ids: of the patients, likewise.
            step: key of the miner's draws.

        Returns:
            float32, shape (); 0 with a gradient of 0 where there is no pair to compare.
        """
        embeddings, n_filled = embeddings.float(), int(self.n_filled)
        # Copies: what is remembered below must not change what the backward pass still needs.
        rows = torch.cat([embeddings, self.embeddings[:n_filled].clone()])
        classes = torch.cat([class_ids, self.class_ids[:n_filled]])
        groups = torch.cat([group_ids, self.group_ids[:n_filled]])
        if self.miner is None:
            is_positive, is_negative = pair_masks(classes, groups, len(embeddings))
            mined = (*torch.nonzero(is_positive).T, *torch.nonzero(is_negative).T)
        else:
            mined = self.miner(rows.detach(), classes, groups, step=step, n_anchors=len(embeddings))
        loss: Tensor = self.loss(embeddings, class_ids, mined, (rows, classes))
        self._remember(embeddings.detach(), class_ids, group_ids)
        return loss

    @torch.no_grad()
    def _remember(self, embeddings: Tensor, class_ids: Tensor, group_ids: Tensor) -> None:
        embeddings, class_ids, group_ids = (each[-self.size :] for each in (embeddings, class_ids, group_ids))
        places = (self.position + torch.arange(len(embeddings), device=self.position.device)) % self.size
        self.embeddings[places], self.class_ids[places], self.group_ids[places] = embeddings, class_ids, group_ids
        self.position.copy_((self.position + len(embeddings)) % self.size)
        self.n_filled.copy_((self.n_filled + len(embeddings)).clamp_max(self.size))

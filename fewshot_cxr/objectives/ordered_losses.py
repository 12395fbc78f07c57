"""Losses that read the order of a batch's rows, as `PairBatchSampler` and `EpisodicBatchSampler` set it.

They need no word from the sampler beside the batch: the order says which film is compared with which.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewshot_cxr._checks import check_above, check_at_least
from fewshot_cxr.distances import class_means, pairwise_distances
from fewshot_cxr.objectives.heads import WeightedL1Head


class PairLoss(nn.Module):
    """Binary cross-entropy of "different findings" by a learned weighted L1 distance; 0 is same, 1 different.

    Args:
        embedding_dim: of the encoder.
        is_nonnegative: of the head.
        all_pairs: compare every film of a batch with every other, pairs of the same finding and of different ones
            counting as much in all: N - 1 times as many pairs for the same N embeddings. False: as published, row i
            with row i + N / 2.

    Source: siamese COVID-Net, KTH DD2424 project, 2020.
    """

    def __init__(self, *, embedding_dim: int, is_nonnegative: bool = False, all_pairs: bool = False) -> None:
        super().__init__()
        self.head = WeightedL1Head(embedding_dim, is_nonnegative=is_nonnegative)
        self.all_pairs = all_pairs
        self.batches = "balanced" if all_pairs else "pairs"

    def forward(self, embeddings: Tensor, class_ids: Tensor, mined: Any = None) -> Tensor:
        """Return the mean over the pairs.

        Args:
            embeddings: float, shape (N, dim).
            class_ids: int64, shape (N,).
            mined: not used: the batch says what is compared.

        Raises:
            ValueError: N is odd, or 0, where the halves are compared.
        """
        if self.all_pairs:
            return self._over_all(embeddings, class_ids)
        if len(embeddings) % 2 or not len(embeddings):
            raise ValueError(
                "loss 'pair_bce' compares the first half of a batch with its second half, and needs an even number "
                f"of films, got {len(embeddings)}: take batches of PairBatchSampler, or an even batch size"
            )
        (one, other), (here, there) = embeddings.chunk(2), class_ids.chunk(2)
        return functional.binary_cross_entropy_with_logits(self.head(one, other), (here != there).float())

    def _over_all(self, embeddings: Tensor, class_ids: Tensor) -> Tensor:
        one, other = torch.triu_indices(len(embeddings), len(embeddings), 1, device=embeddings.device)
        logits, is_different = self.head(embeddings[one], embeddings[other]), class_ids[one] != class_ids[other]
        losses = functional.binary_cross_entropy_with_logits(logits, is_different.float(), reduction="none")
        kinds = [losses[of_kind] for of_kind in (is_different, ~is_different) if of_kind.any()]
        return torch.stack([kind.mean() for kind in kinds]).mean() if kinds else 0.0 * embeddings.sum()


class PrototypicalLoss(nn.Module):
    """Cross-entropy of each query over minus its distances to the prototypes of the batch's classes.

    Args:
        distance: in DISTANCES; the paper's is squared_euclidean.
        n_shot: the first n_shot rows of each class are its support, all others queries.
        temperature: divides the distances; cosine, which ends at 2, wants about 0.1.

    Raises:
        ValueError: n_shot below 1, or temperature not above 0.

    Source: Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", 2017, arXiv:1703.05175, eq. 2.
    """

    batches = "episodic"

    def __init__(self, *, distance: str, n_shot: int = 1, temperature: float = 1.0) -> None:
        super().__init__()
        check_at_least(n_shot, 1, "n_shot")
        check_above(temperature, 0, "temperature")
        self.distance, self.n_shot, self.temperature = distance, n_shot, temperature

    def forward(self, embeddings: Tensor, class_ids: Tensor, mined: Any = None) -> Tensor:
        """Return the mean over the queries; 0, with a gradient of 0, where no class has more than n_shot rows.

        Args:
            embeddings: float, shape (N, dim).
            class_ids: int64, shape (N,).
            mined: not used: the batch says what is compared.
        """
        labels = torch.unique(class_ids, return_inverse=True)[1]
        one_hot = functional.one_hot(labels)
        is_support = (one_hot.cumsum(dim=0) * one_hot).sum(dim=1) <= self.n_shot
        prototypes = class_means(embeddings[is_support], labels[is_support])
        logits = -pairwise_distances(embeddings[~is_support], prototypes, self.distance) / self.temperature
        losses = functional.cross_entropy(logits, labels[~is_support], reduction="none")
        return torch.sum(losses) / max(len(losses), 1)

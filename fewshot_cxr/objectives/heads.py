"""What a loss may learn beside the encoder and a test still needs: a weighted distance, or a linear classifier."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewshot_cxr._checks import check_at_least, lookup

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(dim=-1),
    "sigmoid": torch.sigmoid,
}


class WeightedL1Head(nn.Module):
    """Say how sure it is that two films show different findings: logit = sum_i alpha_i |x_i - y_i| + b.

    Symmetric whatever the weights. The published weights may be negative, so that films may come closer by differing;
    `is_nonnegative` makes the logit a weighted L1 distance plus a constant.

    Args:
        dim: of the embeddings. The head has dim + 1 parameters.
        is_nonnegative: take |alpha|. Not softplus, whose slope is as small as a small weight itself, nor a clamp, whose
            slope is 0: a weight that came to 0 would stay there.

    Examples:
        >>> head = WeightedL1Head(2)
        >>> film, same, other = torch.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, 2.0]])
        >>> head(film, same).item(), bool(head(film, other) > 0), bool(head(film, other) == head(other, film))
        (0.0, True, True)

    Source: siamese COVID-Net, KTH DD2424 project, 2020.
    """

    def __init__(self, dim: int, *, is_nonnegative: bool = False) -> None:
        super().__init__()
        check_at_least(dim, 1, "dim of the embeddings")
        self.is_nonnegative = is_nonnegative
        # All above 0, for farther films to be less alike from the first step on, and about 1 in their sum.
        self.alpha = nn.Parameter((0.5 + torch.rand(dim)) / dim)
        self.bias = nn.Parameter(torch.zeros(()))

    @property
    def weights(self) -> Tensor:
        """The weights of the coordinates as they count, shape (dim,), with their gradient."""
        return self.alpha.abs() if self.is_nonnegative else self.alpha

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the logit of "different findings", float32, mixed precision or not.

        Args:
            one: embeddings, float, shape (..., dim).
            other: embeddings to compare with, of the same shape.

        Returns:
            Shape (...,).
        """
        with torch.autocast(one.device.type, enabled=False):
            return ((one.float() - other.float()).abs() * self.weights).sum(dim=-1) + self.bias


class LinearHead(nn.Linear):
    """Tell findings apart by one linear map of the embedding.

    Args:
        n_features: dim of the embeddings.
        n_classes: findings.
        bias: whether each finding has one.
        activation: in ACTIVATIONS: softmax where a film has one finding, sigmoid where it has any number of them.

    Raises:
        ValueError: unknown activation, or a softmax over fewer than two findings.

    Examples:
        >>> head = LinearHead(128, 2)
        >>> logits = torch.tensor([[3.0, 1.0]]).log()
        >>> [round(share, 3) for share in head.probabilities(logits)[0].tolist()]
        [0.75, 0.25]
    """

    def __init__(self, n_features: int, n_classes: int, *, bias: bool = True, activation: str = "softmax") -> None:
        lookup(ACTIVATIONS, activation, what="activation")
        check_at_least(n_classes, 2 if activation == "softmax" else 1, f"n_classes of a {activation} head")
        super().__init__(n_features, n_classes, bias=bias)
        self.n_classes, self.activation = n_classes, activation

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return logits (N, n_classes) of embeddings (N, n_features), float32, mixed precision or not."""
        with torch.autocast(embeddings.device.type, enabled=False):
            return functional.linear(embeddings.float(), self.weight, self.bias)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each finding, shape (N, n_classes); of a softmax head each row sums to 1."""
        return ACTIVATIONS[self.activation](logits.float())

"""Rules as modules that a tracer follows: no branch hangs on a value, and what does not change is a constant.

They are other code than `inference.rules`, and are held to it on each export (`onnx.py`).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewshot_cxr._checks import lookup
from fewshot_cxr.distances import class_means
from fewshot_cxr.inference.classifier_rules import one_hot
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.inference.logistic import fit_logistic, support_basis, with_one


class DistancesTo(nn.Module):
    """Distances to rows that are constants.

    In float64 by a product about their mean, where subtraction would take as much memory for each film as the rows do;
    rounded to float32, so that copies tie. l1 has no product: a film takes that memory.

    Args:
        rows: float, shape (n, dim).
        distance: a name in DISTANCES.
    """

    def __init__(self, rows: Tensor, distance: str) -> None:
        super().__init__()
        centred = distance in ("euclidean", "squared_euclidean")
        self.distance, rows = distance, rows.double()
        self.centre = nn.Buffer(rows.mean(dim=0) if centred else torch.zeros_like(rows[0]))
        rows = functional.normalize(rows, dim=-1) if distance == "cosine" else rows - self.centre
        self.rows = nn.Buffer(rows.float() if distance == "l1" else rows)
        self.squares = nn.Buffer(rows.square().sum(dim=-1))

    def forward(self, vectors: Tensor) -> Tensor:
        """Measure.

        Args:
            vectors: float32, shape (N, dim).

        Returns:
            float32, shape (N, n).
        """
        if self.distance == "l1":
            return (vectors.unsqueeze(1) - self.rows).abs().sum(dim=-1)
        if self.distance == "cosine":
            return (1 - functional.normalize(vectors.double(), dim=-1) @ self.rows.mT).float()
        films = vectors.double() - self.centre
        squares = films.square().sum(dim=-1, keepdim=True) - 2 * films @ self.rows.mT + self.squares
        squares = squares.clamp_min(0)
        return (squares.sqrt() if self.distance == "euclidean" else squares).float()


class _MeanDistance(nn.Module):
    def __init__(self, decider: Decider) -> None:
        super().__init__()
        shares = functional.one_hot(decider.labels).double()
        self.shares = nn.Buffer(shares / shares.sum(dim=0))

    def forward(self, vectors: Tensor, to_exemplars: Tensor) -> Tensor:
        return (to_exemplars.double() @ self.shares).float()


class _Prototype(nn.Module):
    def __init__(self, decider: Decider) -> None:
        super().__init__()
        self.to_means = DistancesTo(class_means(_support(decider), decider.labels), decider.distance)

    def forward(self, vectors: Tensor, to_exemplars: Tensor) -> Tensor:
        means: Tensor = self.to_means(vectors)
        return means


class _Nearest(nn.Module):
    def __init__(self, decider: Decider) -> None:
        super().__init__()
        self.is_other = nn.Buffer(~functional.one_hot(decider.labels).bool())

    def forward(self, vectors: Tensor, to_exemplars: Tensor) -> Tensor:
        return torch.where(self.is_other, torch.inf, to_exemplars.unsqueeze(-1)).amin(dim=1)


class _LinearProbe(nn.Module):
    def __init__(self, decider: Decider) -> None:
        super().__init__()
        support = _support(decider)
        basis, targets = support_basis(support), one_hot(support, decider.labels).double()
        penalty = torch.as_tensor(decider.options.get("penalty", 1.0), dtype=torch.float64)
        weights = fit_logistic(with_one(support.double() @ basis), targets, penalty)
        self.weights, self.intercepts = nn.Buffer(basis @ weights[:-1]), nn.Buffer(weights[-1])

    def forward(self, vectors: Tensor, to_exemplars: Tensor) -> Tensor:
        return -(vectors.double() @ self.weights + self.intercepts).log_softmax(dim=-1).float()


GRAPH_RULES: dict[str, Callable[[Decider], nn.Module]] = {
    "mean_distance": _MeanDistance,
    "prototype": _Prototype,
    "nearest": _Nearest,
    "linear_probe": _LinearProbe,
}
"""Rule -> module(vectors (N, dim), distances to exemplars (N, n)) -> distances to findings (N, n_way)."""


class Comparison(nn.Module):
    """Embeddings to distances to findings and to exemplars.

    Args:
        decider: of a rule in GRAPH_RULES.

    Raises:
        ValueError: its rule is none of them.
    """

    def __init__(self, decider: Decider) -> None:
        super().__init__()
        self.to_exemplars = DistancesTo(_support(decider), decider.distance)
        self.rule = lookup(GRAPH_RULES, decider.rule, what="rule of an exported bank")(decider)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return distances, shape (N, n_way), and those to exemplars, (N, n)."""
        to_exemplars = self.to_exemplars(vectors)
        return self.rule(vectors, to_exemplars), to_exemplars


def _support(decider: Decider) -> Tensor:
    return torch.from_numpy(decider.support.vectors)

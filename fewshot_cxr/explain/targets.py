"""What a heat map explains: one number for each film, computed from its embedding; larger is more so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fewshot_cxr._checks import check_dense_labels, check_whole, lookup
from fewshot_cxr.distances import DISTANCES, mean_distances, pairwise_distances
from fewshot_cxr.explain.forward import constant, frozen
from fewshot_cxr.objectives import WeightedL1Head

Target = Callable[[Tensor], Tensor]
"""target(embeddings (N, dim), with their gradient) -> (N,); row i belongs to image i of the batch."""


@dataclass(frozen=True, eq=False)
class ClassScore:
    """The logit of a class: why this finding?

    Args:
        head: makes logits (N, n_classes) of embeddings (N, dim); it is held in eval mode.
        class_ids: of all films, or of each, int64, shape (N,).

    Examples:
        >>> head = nn.Linear(2, 2, bias=False)
        >>> head.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> ClassScore(head, class_ids=1)(torch.tensor([[3.0, 4.0]])).tolist()
        [4.0]
    """

    head: nn.Module
    class_ids: int | Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Return the logits of the classes, shape (N,).

        Raises:
            ValueError: the head has no such class, or there are not as many class ids as films.
        """
        with frozen(self.head):
            logits: Tensor = self.head(embeddings)
        return _picked(logits, self.class_ids)


@dataclass(frozen=True, eq=False)
class Similarity:
    """How alike a film is to one other: minus the distance, or 1 - distance where that is cosine.

    Args:
        others: embedding to compare all films with, float, shape (dim,); or one for each film, (N, dim).
        distance: a name in DISTANCES.

    Raises:
        ValueError: unknown distance, or another shape.

    Examples:
        >>> Similarity(torch.tensor([0.0, 0.0]))(torch.tensor([[3.0, 4.0], [0.0, 1.0]])).tolist()
        [-5.0, -1.0]
    """

    others: Tensor
    distance: str = "euclidean"

    def __post_init__(self) -> None:
        lookup(DISTANCES, self.distance, what="distance")
        if self.others.ndim not in (1, 2):
            raise ValueError(f"others must have the shape (dim,) or (N, dim), got {tuple(self.others.shape)}")

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Return the similarities, shape (N,).

        Raises:
            ValueError: the embeddings differ in dim, or there are not as many others as films.
        """
        others = _beside(embeddings, self.others)
        distances = pairwise_distances(embeddings.unsqueeze(1), others.unsqueeze(1), self.distance).flatten()
        return _similarities(distances, self.distance)


@dataclass(frozen=True, eq=False)
class PrototypeSimilarity:
    """How alike a film is to the mean embedding of a class, as the rule `prototype` decides.

    Args:
        support: embeddings of the class, float, shape (n_support, dim), at least one.
        distance: a name in DISTANCES.

    Raises:
        ValueError: unknown distance, or another shape.

    Examples:
        >>> covid19 = PrototypeSimilarity(torch.tensor([[0.0, 0.0], [0.0, 8.0]]))  # their mean is (0, 4)
        >>> covid19(torch.tensor([[3.0, 0.0]])).tolist()
        [-5.0]

    Source: Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", 2017, arXiv:1703.05175, eq. 1.
    """

    support: Tensor
    distance: str = "euclidean"

    def __post_init__(self) -> None:
        lookup(DISTANCES, self.distance, what="distance")
        _check_rows(self.support, "support")

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Return the similarities, shape (N,); see `Similarity`."""
        return Similarity(constant(self.support, like=embeddings).mean(dim=0), self.distance)(embeddings)


@dataclass(frozen=True, eq=False)
class ExemplarSimilarity:
    """How alike a film is to the sampled exemplars of a class: minus its mean distance to them, this library's rule.

    Args:
        exemplars: embeddings, float, shape (n_exemplars, dim).
        labels: class of each, int64, shape (n_exemplars,), holding every value 0..n_way-1.
        class_ids: the class in question, of all films or of each, int64, shape (N,).
        distance: a name in DISTANCES; of cosine, 1 - the mean distance is taken.

    Raises:
        ValueError: unknown distance, other shapes, or a class without an exemplar.

    Examples:
        >>> exemplars, labels = torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([0, 0, 1])
        >>> ExemplarSimilarity(exemplars, labels, class_ids=0)(torch.tensor([[3.0]])).tolist()  # 3 and 1 away from them
        [-2.0]

    Source: as for `distances.mean_distances`.
    """

    exemplars: Tensor
    labels: Tensor
    class_ids: int | Tensor
    distance: str = "euclidean"

    def __post_init__(self) -> None:
        lookup(DISTANCES, self.distance, what="distance")
        _check_rows(self.exemplars, "exemplars")
        if self.labels.shape != self.exemplars.shape[:1]:
            n_exemplars = len(self.exemplars)
            raise ValueError(f"labels must be one per exemplar, ({n_exemplars},), got {tuple(self.labels.shape)}")
        check_dense_labels(self.labels, name="labels")

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Return the similarities, shape (N,).

        Raises:
            ValueError: the embeddings differ in dim, no such class, or not as many class ids as films.
        """
        exemplars, labels = constant(self.exemplars, like=embeddings), self.labels.to(embeddings.device)
        distances = mean_distances(embeddings, exemplars, labels, self.distance)
        return _similarities(_picked(distances, self.class_ids), self.distance)


@dataclass(frozen=True, eq=False)
class LearnedSimilarity:
    """How sure a learned distance is that a film shows the same finding as another: minus its logit of "different".

    Args:
        head: of a siamese run.
        others: embedding to compare all films with, float, shape (dim,); or one for each film, (N, dim).

    Examples:
        >>> from fewshot_cxr.objectives import WeightedL1Head
        >>> head = WeightedL1Head(2)
        >>> near, far = LearnedSimilarity(head, torch.zeros(2))(torch.tensor([[1.0, 1.0], [2.0, 2.0]])).tolist()
        >>> near > far
        True
    """

    head: WeightedL1Head
    others: Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Return the similarities, shape (N,).

        Raises:
            ValueError: the embeddings differ in dim, or there are not as many others as films.
        """
        with frozen(self.head):
            logits: Tensor = self.head(embeddings, _beside(embeddings, self.others))
        return -logits


@dataclass(frozen=True, eq=False)
class Difference:
    """Why the one rather than the other: the difference of two targets.

    Examples:
        >>> pneumonia, normal = Similarity(torch.tensor([0.0])), Similarity(torch.tensor([10.0]))
        >>> Difference(pneumonia, normal)(torch.tensor([[3.0]])).tolist()  # -3 and -7: nearer to pneumonia
        [4.0]
    """

    one: Target
    other: Target

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Return one - other, shape (N,)."""
        return self.one(embeddings) - self.other(embeddings)


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean of several targets, such as those of all other findings.

    Examples:
        >>> pneumonia, covid19 = Similarity(torch.tensor([0.0])), Similarity(torch.tensor([10.0]))
        >>> Mean([pneumonia, covid19])(torch.tensor([[3.0]])).tolist()  # of -3 and -7
        [-5.0]
    """

    targets: Sequence[Target]

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Return the mean, shape (N,).

        Raises:
            ValueError: there is no target.
        """
        if not self.targets:
            raise ValueError("a mean needs a target, got none")
        return torch.stack([target(embeddings) for target in self.targets]).mean(dim=0)


def check_class_ids(class_ids: int | Tensor, n_films: int, n_classes: int) -> Tensor:
    """Return the class of each film, int64, shape (n_films,).

    Raises:
        TypeError: a class id is no whole number.
        ValueError: a class that there is not, or not as many class ids as films.
    """
    if not isinstance(class_ids, Tensor):
        check_whole(class_ids, "class_ids")
        class_ids = torch.full((n_films,), int(class_ids))
    if class_ids.dtype != torch.int64:
        raise TypeError(f"class_ids must be int64, got {class_ids.dtype}")
    if class_ids.shape != (n_films,):
        raise ValueError(f"class_ids must be one per film, ({n_films},), got {tuple(class_ids.shape)}")
    if bool(((class_ids < 0) | (class_ids >= n_classes)).any()):
        raise ValueError(f"class_ids must lie in 0..{n_classes - 1}, got {sorted(set(class_ids.tolist()))}")
    return class_ids


def _picked(values: Tensor, class_ids: int | Tensor) -> Tensor:
    chosen = check_class_ids(class_ids, *values.shape).to(values.device)
    return values.gather(1, chosen.unsqueeze(1)).squeeze(1)


def _beside(embeddings: Tensor, others: Tensor) -> Tensor:
    """Return one other for each embedding, shape (N, dim)."""
    others = constant(others, like=embeddings)
    if others.shape[-1] != embeddings.shape[-1] or (others.ndim == 2 and len(others) != len(embeddings)):
        shape = tuple(embeddings.shape)
        raise ValueError(f"others must have the shape ({shape[1]},) or {shape}, got {tuple(others.shape)}")
    return others.expand_as(embeddings)


def _similarities(distances: Tensor, distance: str) -> Tensor:
    return 1 - distances if distance == "cosine" else -distances


def _check_rows(rows: Tensor, name: str) -> None:
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"{name} must have the shape (n, dim) with at least one row, got {tuple(rows.shape)}")

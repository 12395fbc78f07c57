"""One arithmetic of distances for losses, decision rules and explanations: smaller is closer."""

from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

from fewshot_cxr._checks import check_dense_labels, lookup

# Below this share of |r|^2 + |c|^2 a squared distance from the matrix product has fewer than four digits left.
_NEAR = 1e-3


def euclidean(rows: Tensor, columns: Tensor) -> Tensor:
    """Return sqrt(sum (r - c)^2).

    Many episodes at once go through a matrix product, seven times faster; an episode in which that would cost digits
    (a row near a column), a single one, and training go by subtraction, which is exact for near rows and at 0.
    """
    if rows.ndim == 2 or columns.ndim == 2 or _needs_gradient(rows, columns):
        return _by_subtraction(rows, columns)
    return _tie_copies(_by_product(rows, columns, _squares(rows), _squares(columns)), columns)


def squared_euclidean(rows: Tensor, columns: Tensor) -> Tensor:
    """Return sum (r - c)^2, as |r|^2 - 2 r.c + |c|^2 about the mean column, never below 0."""
    # Centring keeps the norms small, so that the cancellation costs few digits.
    centre = columns.mean(dim=-2, keepdim=True)
    from_centre, columns = rows - centre, columns - centre
    cross = from_centre @ columns.mT
    squares = from_centre.square().sum(-1, keepdim=True) - 2 * cross + columns.square().sum(-1).unsqueeze(-2)
    return _tie_copies(squares.clamp_min(0), columns)


def cosine(rows: Tensor, columns: Tensor) -> Tensor:
    """Return 1 - cos(angle), in 0..2; a zero vector has cosine 0 with everything."""
    columns = functional.normalize(columns, dim=-1)
    return _tie_copies(1 - functional.normalize(rows, dim=-1) @ columns.mT, columns)


def l1(rows: Tensor, columns: Tensor) -> Tensor:
    """Return sum |r - c|."""
    return torch.cdist(rows, columns, p=1.0)


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "euclidean": euclidean,
    "squared_euclidean": squared_euclidean,
    "cosine": cosine,
    "l1": l1,
}


def pairwise_distances(rows: Tensor, columns: Tensor, distance: str = "euclidean") -> Tensor:
    """Measure every row against every column.

    Args:
        rows: float, shape (..., n_rows, dim).
        columns: float, shape (..., n_columns, dim).
        distance: a name in DISTANCES.

    Returns:
        Distances, shape (..., n_rows, n_columns).

    Raises:
        ValueError: unknown distance, or the two differ in dim.
    """
    if rows.shape[-1] != columns.shape[-1]:
        raise ValueError(
            f"embeddings of dim {rows.shape[-1]} cannot be compared with dim {columns.shape[-1]}: same encoder?"
        )
    return lookup(DISTANCES, distance, what="distance")(rows, columns)


class TableDistances:
    """Distances between rows of one table, by their numbers: what a row alone decides is computed once.

    Args:
        vectors: float, shape (N, dim).
        distance: a name in DISTANCES.
    """

    def __init__(self, vectors: Tensor, distance: str = "euclidean") -> None:
        self._measure = lookup(DISTANCES, distance, what="distance")
        self._is_product = distance in ("euclidean", "cosine")
        self._is_cosine = distance == "cosine"
        self._vectors = functional.normalize(vectors, dim=-1) if self._is_cosine else vectors
        self._squares = _squares(vectors)
        # In float64 no two rows have the same mark by chance; in parts, for many rows as float64 are large.
        marks = torch.cat([_marks(some.double()) for some in torch.split(self._vectors, 1 << 16)])
        self._has_copies = len(torch.unique(marks)) < len(marks)

    def __call__(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return what `pairwise_distances` does of these rows; row numbers, int64, (b, n_rows) and (b, n_columns)."""
        ours, theirs = self.take(rows), self.take(columns)
        if not self._is_product:
            return self._measure(ours, theirs)
        if self._is_cosine:
            distances = (1 - theirs @ ours.mT).mT
        else:
            distances = _by_product(ours, theirs, *(_taken(self._squares, some) for some in (rows, columns)))
        return _tie_copies(distances, theirs) if self._has_copies else distances

    def take(self, rows: Tensor) -> Tensor:
        """Return the vectors of rows, shape (..., dim); by cosine they have length 1."""
        return _taken(self._vectors, rows)


def _taken(values: Tensor, rows: Tensor) -> Tensor:
    # Indexing would give the same, seven times slower.
    return values.index_select(0, rows.flatten()).reshape(*rows.shape, *values.shape[1:])


def class_means(values: Tensor, labels: Tensor, dim: int = -2) -> Tensor:
    """Average over the members of each class; two classes with the same members have the very same mean.

    Args:
        values: float, with n_members entries along `dim`: rows of embeddings (dim -2), distances to them (dim -1).
        labels: class of each member, int64, shape (n_members,), holding every value 0..n_way-1; classes may differ in
            size.
        dim: -2 or -1.

    Returns:
        As `values`, with n_way entries along `dim`.

    Raises:
        ValueError: a class has no member.
    """
    check_dense_labels(labels, name="labels")
    values, labels = _in_class_order(values, labels, dim)
    sizes = labels.bincount().tolist()
    if len(set(sizes)) == 1:
        # Distances often lie column by column in memory, and are added up that way round, twice as fast.
        rows = values if dim == -2 else values.mT
        means = rows.reshape(*rows.shape[:-2], len(sizes), sizes[0], rows.shape[-1]).mean(dim=-2)
        return means if dim == -2 else means.mT
    ends = accumulate(sizes)
    own = [values.narrow(dim, end - size, size).mean(dim=dim) for size, end in zip(sizes, ends, strict=True)]
    return torch.stack(own, dim=dim)


def mean_distances(queries: Tensor, support: Tensor, labels: Tensor, distance: str = "euclidean") -> Tensor:
    """Average the distances of each query to the exemplars of each class: this library's own decision value.

    Args:
        queries: float, shape (..., n_queries, dim).
        support: exemplars, float, shape (..., n_support, dim).
        labels: class of each exemplar, int64, shape (n_support,), holding every value 0..n_way-1.
        distance: a name in DISTANCES.

    Returns:
        Mean distances, shape (..., n_queries, n_way).

    Source: F. Ayik, ITU BLG561E report, 2021: mean distance to sampled exemplars (there of all classes together).
    """
    support, labels = _in_class_order(support, labels)  # cheaper here than among the distances
    return class_means(pairwise_distances(queries, support, distance), labels, dim=-1)


def _in_class_order(values: Tensor, labels: Tensor, dim: int = -2) -> tuple[Tensor, Tensor]:
    if not bool((labels[1:] < labels[:-1]).any()):
        return values, labels
    labels, order = labels.sort(stable=True)
    return values.index_select(dim, order), labels


def _needs_gradient(rows: Tensor, columns: Tensor) -> bool:
    return torch.is_grad_enabled() and (rows.requires_grad or columns.requires_grad)


def _by_subtraction(rows: Tensor, columns: Tensor) -> Tensor:
    return torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")


def _squares(vectors: Tensor) -> Tensor:
    squares: Tensor = torch.linalg.vector_norm(vectors, dim=-1).square()
    return squares


def _by_product(rows: Tensor, columns: Tensor, row_squares: Tensor, column_squares: Tensor) -> Tensor:
    """Take |r|^2 - 2 r.c + |c|^2, and subtract in those episodes where that costs digits."""
    # Not about the mean column as above: a centred copy of all rows takes longer than the product itself.
    scale = column_squares.unsqueeze(-1) + row_squares.unsqueeze(-2)
    # Columns first: the product is faster this way round, and so is the average over columns that often follows.
    squares = torch.add(scale, columns @ rows.mT, alpha=-2)
    # One look at the least of all says for most that no digit is lost, and no other look is needed.
    if squares.numel() and bool(squares.amin() > _NEAR * (row_squares.amax() + column_squares.amax())):
        return squares.sqrt_().mT
    loses_digits = (squares <= _NEAR * scale).flatten(-2).any(dim=-1)
    distances = squares.sqrt_().mT
    if bool(loses_digits.any()):
        near = (each.expand(*loses_digits.shape, *each.shape[-2:])[loses_digits] for each in (rows, columns))
        distances[loses_digits] = _by_subtraction(*near)
    return distances


def _marks(columns: Tensor) -> Tensor:
    """Return one number for each column, the same for copies."""
    weights = torch.arange(1, columns.shape[-1] + 1, dtype=columns.dtype, device=columns.device).sqrt()
    return (columns * weights).sum(dim=-1)


def _tie_copies(distances: Tensor, columns: Tensor) -> Tensor:
    """Give identical columns the very same distances: a matrix product may end on other digits at another place."""
    if _needs_gradient(distances, columns):
        return distances
    # One number per column first (its length would not do: many encoders give them all length 1). Of thousands some
    # have the same by chance, so only those that share theirs are compared whole.
    marks, order = _marks(columns).sort(dim=-1)
    is_same = marks[..., 1:] == marks[..., :-1]
    if not bool(is_same.any()):
        return distances
    nothing = torch.zeros_like(is_same[..., :1])
    shares = torch.cat([nothing, is_same], dim=-1) | torch.cat([is_same, nothing], dim=-1)
    shares = torch.zeros_like(shares).scatter_(-1, order, shares)
    shared = shares.nonzero()
    # In float64 the number of an episode is exact, whatever the columns are.
    whole = torch.cat([shared[:, :-1].double(), columns[shares].double()], dim=-1)
    places, copy_of = shared[:, -1], torch.unique(whole, dim=0, return_inverse=True)[1]
    firsts = places.new_full((len(places),), marks.shape[-1]).scatter_reduce_(0, copy_of, places, "amin")
    first = torch.arange(marks.shape[-1], device=columns.device).expand_as(marks).clone()
    first[shares] = firsts[copy_of]
    return distances.gather(-1, first.unsqueeze(-2).expand_as(distances))

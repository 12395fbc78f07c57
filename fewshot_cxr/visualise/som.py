"""A self-organising map of embeddings: cells in a grid, near ones alike, and which findings lie next to which."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import scipy
from minisom import MiniSom  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import ArrayLike

from fewshot_cxr._checks import check_whole
from fewshot_cxr._progress import Bar
from fewshot_cxr.seeding import generator
from fewshot_cxr.visualise.projection import compared_rows
from fewshot_cxr.visualise.set_apart import group_codes

_LEARNING_RATE = 0.5
_MOST_AXES = 50  # of the embeddings, in training: a map of few cells needs no more, and time grows with them
_MOST_SPREAD = 2.0  # standard deviations that the first grid reaches to either side
_N_SHUFFLES = 1000
_LIKELY = (2.5, 97.5)  # per cent


@dataclass(frozen=True, eq=False)
class Som:
    """A trained map.

    Args:
        weights: what each cell stands for, in the unit of the embeddings (of cosine, of rows of length 1), float64,
            shape (rows, cols, dim).
        winners: row and column of the cell nearest to each film, int64, shape (N, 2).
        quantisation_error: mean distance of a film from its cell, in the unit of the embeddings.
        topographic_error: share of films, 0..1, whose second nearest cell does not touch the nearest (not even by a
            corner): how much the map is torn.
        settings: what was used.

    Examples:
        >>> from fewshot_cxr.visualise.som import cell_distances
        >>> films_in = {"winners": np.array([[0, 0], [0, 1]]), "quantisation_error": 0.5, "topographic_error": 0.0}
        >>> som = Som(weights=np.array([[[0.0, 1.0], [4.0, 1.0]]]), settings={"grid": (1, 2)}, **films_in)
        >>> cell_distances(som).tolist()
        [[4.0, 4.0]]
    """

    weights: np.ndarray
    winners: np.ndarray
    quantisation_error: float
    topographic_error: float
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Proximity:
    """How far the films of one finding lie from those of another on the map, in cells.

    Args:
        finding: one of the two; each pair comes in both orders.
        other: the other.
        rank: 1 where `other` is nearest to `finding` of all others; equal distances share a rank.
        n_films: of the one.
        n_other: films of the other.
        mean_distance: over all pairs of a film of one and a film of the other.
        chance_distance: what findings dealt out at random among the same films would give: the mean over all films.
        chance95: 95 % of such deals lie between these two. Films count as independent: those of one patient are not,
            so that the truth is wider.
    """

    finding: str
    other: str
    rank: int
    n_films: int
    n_other: int
    mean_distance: float
    chance_distance: float
    chance95: tuple[float, float]


def train_som(
    vectors: ArrayLike,
    *,
    grid: tuple[int, int] = (10, 10),
    n_epochs: int = 30,
    seed: int = 0,
    distance: str = "euclidean",
    progress: Bar | None = None,
) -> Som:
    """Train a map film by film, in a new order each epoch; the same input gives the same map.

    Each film x moves the weights w of every cell by rate * h * (x - w), where h = exp(-d^2 / (2 r^2)) and d is the
    distance in cells from the cell nearest to x. The rate falls evenly from 0.5 to 0, the radius r from half the longer
    side of the grid to 1. Embeddings are not standardised: the map shall see the distances that decisions see. Of more
    than 50 dimensions the 50 principal ones are used (`settings["variance_kept"]` is their share); weights and errors
    are of the whole embedding all the same. The first grid is the plane of the first two, two standard deviations wide
    to either side.

    Args:
        vectors: embeddings, float, shape (N, dim), finite, N >= 2.
        grid: rows and columns, 2 cells at least.
        n_epochs: passes over all films, at least 1.
        seed: of the order of films.
        distance: "euclidean" or "cosine"; for cosine each row is first brought to length 1.
        progress: called with (epochs done, n_epochs).

    Raises:
        ValueError: a grid of fewer than 2 cells; no epoch; what `projection.compared_rows` refuses.

    Examples:
        >>> vectors = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])  # two pairs of films
        >>> som = train_som(vectors, grid=(1, 2))
        >>> first, second, third, fourth = som.winners[:, 1].tolist()
        >>> first == second != third == fourth
        True

    Source: Kohonen, "Self-organized formation of topologically correct feature maps", 1982. The published map of
    system 3 multiplied by r^2 where it should divide, so that h(1) at r = 10 was 2e-22 in place of 0.995.
    """
    from sklearn.decomposition import PCA

    if len(grid) != 2 or min(grid) < 1 or max(grid) < 2:
        raise ValueError(f"grid must be rows and columns with at least 2 cells, got {grid}")
    check_whole(n_epochs, "n_epochs", minimum=1)
    rows = compared_rows(vectors, distance)
    solver = "covariance_eigh" if len(rows) > rows.shape[1] else "full"
    axes = PCA(min(_MOST_AXES, *rows.shape), svd_solver=solver).fit(rows)
    reduced = axes.transform(rows)
    radius = max(1.0, max(grid) / 2)
    som = _untrained(grid, np.sqrt(axes.explained_variance_), radius)
    n_steps = n_epochs * len(rows)
    for epoch in range(n_epochs):
        order = generator(seed, "som", epoch).permutation(len(rows))
        for step, row in enumerate(order, start=epoch * len(rows)):
            som.update(reduced[row], som.winner(reduced[row]), step, n_steps)
        if progress:
            progress(epoch + 1, n_epochs)
    settings = {
        "grid": tuple(grid),
        "n_epochs": n_epochs,
        "seed": seed,
        "distance": distance,
        "n_dimensions": reduced.shape[1],
        "variance_kept": float(axes.explained_variance_ratio_.sum()),
        "learning_rate": f"{_LEARNING_RATE:g} to 0, linear",
        "radius": f"{radius:g} to 1 cells, linear",
    }
    return _finished(som.get_weights() @ axes.components_ + axes.mean_, rows, settings)


def cell_distances(som: Som) -> np.ndarray:
    """Return how far each cell is from those around it (up to 8), on average: the U-matrix.

    Returns:
        In the unit of the embeddings, float64, shape (rows, cols).

    Source: Ultsch, Siemon, "Kohonen's self organizing feature maps for exploratory data analysis", 1990.
    """
    weights, touches = som.weights.reshape(-1, som.weights.shape[2]), _grid_steps(som.weights.shape[:2]) == 1
    means = (scipy.spatial.distance.cdist(weights, weights) * touches).sum(axis=1) / touches.sum(axis=1)
    return np.asarray(means.reshape(som.weights.shape[:2]))


def class_proximity(som: Som, groups: Sequence[Hashable], *, seed: int = 0) -> tuple[Proximity, ...]:
    """Say which findings lie next to which: the mean distance in cells between their films, and what chance gives.

    mean_distance(A, B) is the mean of sqrt((row_a - row_b)^2 + (col_a - col_b)^2) over all films a of A and b of B.
    Below chance95, two findings lie nearer to each other than findings that mean nothing.

    Args:
        som: of N films.
        groups: N findings.
        seed: of the 1,000 deals behind `chance95`.

    Returns:
        Rows by finding, the nearest other first.

    Raises:
        ValueError: groups and films do not pair up; a single finding.

    Examples:
        >>> vectors = np.array([[0.0], [1.0], [2.0]])
        >>> som = train_som(np.repeat(vectors, 3, axis=0), grid=(3, 1), n_epochs=1)
        >>> nearest = class_proximity(som, ["normal"] * 3 + ["pneumonia"] * 3 + ["covid19"] * 3)[0]
        >>> nearest.finding, nearest.other, nearest.rank
        ('covid19', 'pneumonia', 1)
    """
    codes = group_codes(groups, len(som.winners))
    names = [str(name) for name in dict.fromkeys(groups)]
    if len(names) < 2:
        raise ValueError(f"proximity needs at least 2 findings, got {names}")
    n_cells = som.weights.shape[0] * som.weights.shape[1]
    cells = np.ravel_multi_index((som.winners[:, 0], som.winners[:, 1]), som.weights.shape[:2])
    places = np.argwhere(np.ones(som.weights.shape[:2]))
    between = scipy.spatial.distance.cdist(places, places)
    means = _mean_distances(codes, cells, between, len(names))
    draw = generator(seed, "proximity")
    deals = [_mean_distances(draw.permutation(codes), cells, between, len(names)) for _ in range(_N_SHUFFLES)]
    likely = np.percentile(deals, _LIKELY, axis=0)
    at_cells = np.bincount(cells, minlength=n_cells)
    chance = float(at_cells @ between @ at_cells / (len(cells) * (len(cells) - 1)))
    sizes = np.bincount(codes).tolist()
    pairs = sorted(permutations(range(len(names)), 2), key=lambda pair: (names[pair[0]], means[pair]))
    return tuple(
        Proximity(
            names[one],
            names[other],
            rank=1 + int((np.delete(means[one], one) < means[one, other]).sum()),
            n_films=sizes[one],
            n_other=sizes[other],
            mean_distance=float(means[one, other]),
            chance_distance=chance,
            chance95=(float(likely[0, one, other]), float(likely[1, one, other])),
        )
        for one, other in pairs
    )


def _mean_distances(codes: np.ndarray, cells: np.ndarray, between: np.ndarray, n_groups: int) -> np.ndarray:
    films = np.bincount(codes * len(between) + cells, minlength=n_groups * len(between)).reshape(n_groups, -1)
    shares = films / films.sum(axis=1, keepdims=True)
    means: np.ndarray = shares @ between @ shares.T
    return means


def _untrained(grid: tuple[int, int], spreads: np.ndarray, radius: float) -> MiniSom:
    som = MiniSom(
        *grid,
        len(spreads),
        sigma=radius,
        learning_rate=_LEARNING_RATE,
        decay_function="linear_decay_to_zero",
        sigma_decay_function="linear_decay_to_one",  # never 0, which the neighbourhood divides by
        random_seed=0,  # its first weights are replaced
    )
    # Not minisom's own start, whose plane is one unit wide whatever the spread of the embeddings.
    som.get_weights()[:] = _first_grid(grid, spreads)
    return som


def _first_grid(grid: tuple[int, int], spreads: np.ndarray) -> np.ndarray:
    """Return weights on the plane of the first two axes; the wider axis runs along the longer side."""
    first = np.zeros((*grid, len(spreads)))
    along = (0, 1) if grid[0] >= grid[1] else (1, 0)
    for axis, side in enumerate(along[: len(spreads)]):
        reach = np.linspace(-_MOST_SPREAD, _MOST_SPREAD, grid[side]) if grid[side] > 1 else np.zeros(1)
        first[:, :, axis] = np.expand_dims(reach * spreads[axis], 1 - side)
    return first


def _finished(weights: np.ndarray, rows: np.ndarray, settings: Mapping[str, Any]) -> Som:
    shape = weights.shape[:2]
    distances = scipy.spatial.distance.cdist(rows, weights.reshape(-1, weights.shape[2]))
    two_nearest = np.argsort(distances, axis=1, kind="stable")[:, :2]
    is_torn = _grid_steps(shape)[two_nearest[:, 0], two_nearest[:, 1]] > 1
    winners = np.stack(np.unravel_index(two_nearest[:, 0], shape), axis=1).astype(np.int64)
    return Som(weights, winners, float(distances.min(axis=1).mean()), float(is_torn.mean()), settings)


def _grid_steps(shape: tuple[int, ...]) -> np.ndarray:
    """Return the steps of a king of chess between any two cells, (rows * cols, rows * cols)."""
    places = np.argwhere(np.ones(shape))
    return np.asarray(scipy.spatial.distance.cdist(places, places, "chebyshev"))

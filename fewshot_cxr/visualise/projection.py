"""Embeddings on a plane: PCA, t-SNE and UMAP, seeded, with how far the plane may be trusted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from fewshot_cxr._checks import check_at_least, check_whole, lookup
from fewshot_cxr.seeding import generator, torch_seed

# Source: system 3, KTH DD2424 group 58, "Transfer learning for COVID-19", its t-SNE script; `n_iter` is max_iter now,
# and 1e6 is where to stop at the latest: it ends when 1000 iterations have not helped.
TSNE_PUBLISHED: Mapping[str, Any] = {
    "perplexity": 25.0,
    "learning_rate": 777.0,
    "is_exact": True,
    "min_grad_norm": 1e-7,
    "max_iter": 1_000_000,
    "n_iter_without_progress": 1000,
    "seed": 42,
}

DISTANCES = ("euclidean", "cosine")
_N_NEIGHBOURS = 5  # that trustworthiness asks for
_N_TRUSTED = 2000  # rows that trustworthiness looks at: all pairs of them are ranked
_FLAT = 1e-12  # a share of the variance that is rounding
_PERPLEXITY = 30.0
_MANY = 2000  # films; of more, t-SNE takes the coarser of both: of 5,000, a quarter of the time, 1 % more divergence
_ANGLES, _ITERATIONS = (0.5, 0.8), (1000, 600)
_FARTHEST = float(np.sqrt(np.finfo(np.float32).max))
_UMAP_INSTALL = 'UMAP is not installed; pip install "fewshot_cxr[umap]", or take the method tsne or pca'

Plane = tuple[np.ndarray, dict[str, Any], list[str]]  # points (N, 2), the settings they came from, notes


@dataclass(frozen=True, eq=False)
class Projection:
    """Where each film lies on the plane, and what the plane keeps of the embedding.

    Args:
        points: float32, shape (N, 2).
        method: a name in PROJECTIONS.
        settings: what was used, after defaults; `seed`, `distance` and those of the method.
        trustworthiness: 0..1, 1 where films that lie side by side are near each other in the embedding too; None: too
            few films. Of at most 2,000 rows, drawn by the seed (`settings["n_trusted"]`).
        vectors: what was compared: float32, shape (N, dim); of cosine, each row at length 1.
        notes: what was done differently from what was asked, a sentence each.
    """

    points: np.ndarray
    method: str
    settings: Mapping[str, Any]
    trustworthiness: float | None
    vectors: np.ndarray
    notes: tuple[str, ...] = ()


def project(
    vectors: ArrayLike, *, method: str = "tsne", seed: int = 0, distance: str = "euclidean", **options: Any
) -> Projection:
    """Lay embeddings out on a plane; the same input gives the same points on the same machine.

    Args:
        vectors: float, shape (N, dim), finite, N >= 2.
        method: a name in PROJECTIONS.
        seed: of t-SNE, UMAP and of the rows that trustworthiness looks at; PCA draws nothing.
        distance: "euclidean" or "cosine", as the encoder was trained; for cosine each row is first brought to length 1.
        options: of the method: `pca`, `tsne`, `umap` name theirs; TSNE_PUBLISHED holds those of a published figure.

    Raises:
        ValueError: unknown method or distance; too few rows; a value that is not finite; all rows the same.
        ImportError: UMAP is not installed.

    Examples:
        >>> map_of_films: Projection = project(np.eye(6), method="pca")
        >>> map_of_films.points.shape
        (6, 2)

    Source of trustworthiness: Venna, Kaski, "Neighborhood preservation in nonlinear projection methods", 2001.
    """
    draw = lookup(PROJECTIONS, method, what="projection")
    check_whole(seed, "seed")
    rows = compared_rows(vectors, distance)
    points, settings, notes = draw(rows, seed=seed, **options)
    points = np.ascontiguousarray(points, dtype=np.float32)
    trusted, n_trusted = _trustworthiness(rows, points, seed)
    settings = {"seed": seed, "distance": distance, **settings, "n_trusted": n_trusted}
    return Projection(points, method, settings, trusted, rows.astype(np.float32), tuple(notes))


def compared_rows(vectors: ArrayLike, distance: str = "euclidean") -> np.ndarray:
    """Return embeddings so that their Euclidean distance is the one that is compared: of cosine, each at length 1.

    Returns:
        float64, shape (N, dim). A row of zeros stays: it has no direction.

    Raises:
        ValueError: not (N, dim) with N >= 2; a value that is not finite; all rows the same; unknown distance.
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, got {distance!r}")
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 2 or not rows.shape[1]:
        raise ValueError(f"a map needs vectors of shape (N, dim) with at least 2 rows, got {rows.shape}")
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise ValueError(f"row {row} of vectors is not finite; a diverged encoder? Lower the learning rate")
    if distance == "cosine":
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(lengths > 0, lengths, 1)
    if not np.ptp(rows, axis=0).any():
        raise ValueError(f"all {len(rows)} vectors are the same, so that there is nothing to map; a collapsed encoder?")
    return rows


def pca(rows: np.ndarray, *, seed: int) -> Plane:
    """Turn the rows so that the plane shows as much of their spread as a plane can; `seed` plays no part.

    scikit-learn makes the largest loading of an axis positive, so that no run mirrors another's picture.
    """
    from sklearn.decomposition import PCA

    n_axes = min(2, len(rows) - 1, rows.shape[1])
    fitted = PCA(n_axes, svd_solver="covariance_eigh" if len(rows) > rows.shape[1] else "full").fit(rows)
    shares = fitted.explained_variance_ratio_
    n_shown = int((shares > _FLAT).sum())
    points = np.zeros((len(rows), 2))
    points[:, :n_shown] = (rows - fitted.mean_) @ fitted.components_[:n_shown].T
    notes = [] if n_shown == 2 else ["The embeddings vary along one direction only."]
    return points, {"variance_shares": (*shares[:n_shown].tolist(), 0.0)[:2]}, notes


def tsne(
    rows: np.ndarray,
    *,
    seed: int,
    perplexity: float | None = None,
    learning_rate: float | str = "auto",
    is_exact: bool = False,
    min_grad_norm: float = 1e-7,
    max_iter: int | None = None,
    n_iter_without_progress: int = 300,
) -> Plane:
    """Place films so that neighbours stay neighbours; how far groups lie apart means nothing.

    It starts from the PCA plane. `perplexity` is about how many neighbours count; None: 30, or where there are fewer
    than 91 films a third of the others, and that is said. Forces are approximated (`is_exact` False) over an angle of
    0.5 in 1,000 iterations (`max_iter` None); of more than 2,000 films, 0.8 in 600.

    Raises:
        ValueError: fewer than 4 rows; a perplexity below 1, or not below the number of rows.

    Source: van der Maaten, Hinton, "Visualizing data using t-SNE", 2008; the start: Kobak, Berens, "The art of using
    t-SNE for single-cell transcriptomics", 2019.
    """
    if len(rows) < 4:
        raise ValueError(f"t-SNE needs at least 4 films, got {len(rows)}; take the method pca")
    notes = []
    from sklearn.manifold import TSNE

    if perplexity is None:
        perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
        if perplexity < _PERPLEXITY:
            notes.append(f"{len(rows)} films are few for t-SNE: perplexity {perplexity:.3g} in place of 30.")
    check_at_least(perplexity, 1, "perplexity")
    if perplexity >= len(rows):
        raise ValueError(f"perplexity must be below the number of films, {len(rows)}, got {perplexity:g}; leave it out")
    is_large = len(rows) > _MANY
    settings = {
        "perplexity": perplexity,
        "learning_rate": learning_rate,
        "min_grad_norm": min_grad_norm,
        "max_iter": _ITERATIONS[is_large] if max_iter is None else max_iter,
        "n_iter_without_progress": n_iter_without_progress,
        "angle": _ANGLES[is_large],
    }
    method = "exact" if is_exact else "barnes_hut"
    fitted = TSNE(init=_start(rows, 1e-4, seed), method=method, random_state=_sklearn_seed(seed), **settings)
    points = fitted.fit_transform(rows.astype(np.float32))
    settings |= {"init": "pca", "is_exact": is_exact, "n_iter": int(fitted.n_iter_)}
    return points, settings, notes


def umap(rows: np.ndarray, *, seed: int, n_neighbors: int = 15, min_dist: float = 0.1) -> Plane:
    """Place films so that neighbours stay neighbours, more tightly packed than by t-SNE; starts from the PCA plane.

    As many neighbours as there are other films are taken where `n_neighbors` is more, and that is said.

    Raises:
        ImportError: UMAP is not installed.
        ValueError: fewer than 4 rows; values so large that UMAP cannot square their distances.

    Source: McInnes, Healy, Melville, "UMAP: Uniform manifold approximation and projection", 2018, arXiv:1802.03426.
    """
    # No two rows lie farther apart; UMAP squares distances in float32.
    if 2 * np.linalg.norm(np.abs(rows).max(axis=0)) > _FARTHEST:
        largest = f"the vectors reach {np.abs(rows).max():.1g}, and UMAP measures no distance above {_FARTHEST:.1g}"
        raise ValueError(f"{largest}; divide them all by one number, or take the method pca")
    try:
        from umap import UMAP  # type: ignore[import-not-found, import-untyped, unused-ignore]  # an extra
    except ImportError as error:
        raise ImportError(_UMAP_INSTALL) from error
    if len(rows) < 4:
        raise ValueError(f"UMAP needs at least 4 films, got {len(rows)}; take the method pca")
    check_whole(n_neighbors, "n_neighbors", minimum=2)
    notes = []
    if n_neighbors >= len(rows):
        notes.append(f"{n_neighbors} neighbours are too many for {len(rows)} films; {len(rows) - 1} were taken.")
        n_neighbors = len(rows) - 1
    settings, n_threads = {"n_neighbors": n_neighbors, "min_dist": min_dist}, torch.get_num_threads()
    # One thread: with more, UMAP cannot keep its seed.
    fitted = UMAP(init=_start(rows, 1.0, seed), random_state=_sklearn_seed(seed), n_jobs=1, **settings)
    plane = fitted.fit_transform(rows.astype(np.float32))
    torch.set_num_threads(n_threads)  # UMAP's numba gave torch as many as there are processors
    return plane, settings | {"init": "pca"}, notes


PROJECTIONS: dict[str, Callable[..., Plane]] = {"pca": pca, "tsne": tsne, "umap": umap}


def _trustworthiness(rows: np.ndarray, points: np.ndarray, seed: int) -> tuple[float | None, int]:
    from sklearn.manifold import trustworthiness

    kept = drawn_rows(len(rows), _N_TRUSTED, seed, "trustworthiness")
    n_neighbours = min(_N_NEIGHBOURS, (len(kept) - 1) // 2)
    if n_neighbours < 1:
        return None, 0
    return float(trustworthiness(rows[kept], points[kept], n_neighbors=n_neighbours)), len(kept)


def drawn_rows(n_rows: int, n_most: int, seed: int, what: str) -> np.ndarray:
    """Draw at most `n_most` rows, in their order."""
    if n_rows <= n_most:
        return np.arange(n_rows)
    return np.sort(generator(seed, what).choice(n_rows, n_most, replace=False))


def _start(rows: np.ndarray, size: float, seed: int) -> np.ndarray:
    points, _, notes = pca(rows, seed=seed)
    if notes:
        # From a line t-SNE would never leave it, and UMAP divides by its width.
        points[:, 1] = 0.01 * points[:, 0].std() * generator(seed, "start").standard_normal(len(rows))
    start: np.ndarray = (points / points[:, 0].std() * size).astype(np.float32)
    return start


def _sklearn_seed(seed: int) -> int:
    return torch_seed(seed, "projection") % 2**32

"""How films fall into groups of an embedding: by number, how well set apart, and which a published figure shows."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from fewshot_cxr.visualise.projection import compared_rows, drawn_rows

N_PUBLISHED = 10  # films of each class, the first ones
N_SILHOUETTE = 5000  # rows that the silhouette looks at


def published_rows(groups: Sequence[Hashable]) -> np.ndarray:
    """Return the rows that the figure of TSNE_PUBLISHED shows: the first 10 films of each class, in their order.

    Returns:
        int64, shape (n,).

    Examples:
        >>> published_rows(["normal"] * 12 + ["covid19"]).tolist()  # the eleventh and the twelfth are left out
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12]
    """
    codes = group_codes(groups, len(groups))
    firsts = [np.flatnonzero(codes == code)[:N_PUBLISHED] for code in np.unique(codes)]
    return np.sort(np.concatenate(firsts)) if firsts else codes


def silhouette(
    vectors: ArrayLike, groups: Sequence[Hashable], *, distance: str = "euclidean", seed: int = 0
) -> float | None:
    """Say how well groups are set apart in the embedding itself: 1 well, 0 they overlap, below 0 they are mixed up.

    Args:
        vectors: embeddings, float, shape (N, dim); of more than 5,000 rows, 5,000 drawn by the seed are taken.
        groups: N names of findings, sources, patients or splits.
        distance: as in `project`.
        seed: of the draw.

    Returns:
        -1..1; None where it is not defined: a single group, or each film a group of its own.

    Raises:
        ValueError: vectors and groups do not pair up; the errors of `compared_rows`.

    Examples:
        >>> groups = ["normal", "normal", "covid19", "covid19"]
        >>> round(silhouette([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]], groups), 2)
        0.89

    Source: Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", 1987.
    """
    from sklearn.metrics import silhouette_score

    rows = compared_rows(vectors, distance)
    codes = group_codes(groups, len(rows))
    kept = drawn_rows(len(rows), N_SILHOUETTE, seed, "silhouette")
    rows, codes = rows[kept], codes[kept]
    if not 2 <= len(np.unique(codes)) < len(rows):
        return None
    return float(silhouette_score(rows, codes, metric=distance))


def group_codes(groups: Sequence[Hashable], n_rows: int) -> np.ndarray:
    """Number groups by their first film, int64, shape (N,).

    Raises:
        ValueError: there are not `n_rows` of them.
    """
    if len(groups) != n_rows:
        raise ValueError(f"each film needs a group, got {len(groups)} groups for {n_rows} films")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)

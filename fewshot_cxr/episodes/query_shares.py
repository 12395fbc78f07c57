"""How many queries each class of an episode gets."""

import numpy as np

PREVALENCES = {
    "balanced": "n_query queries of each class",
    "natural": "n_way x n_query queries in all, shared in proportion to the films of the classes",
}


def share_queries(total: int, n_films: np.ndarray) -> np.ndarray:
    """Share queries among classes in proportion to their films, each class getting one at least.

    Args:
        total: queries of an episode, at least n_way.
        n_films: films of each class, int64, shape (n, n_way), above 0.

    Returns:
        Queries, int64, shape (n, n_way); each row sums to `total`. Of equal remainders the first class gets more.

    Source: the method of largest remainders (Hamilton), among the classes whose share is one query or more.
    """
    is_one = np.zeros(n_films.shape, dtype=bool)
    while True:
        left = total - is_one.sum(axis=1, keepdims=True)
        parts = left * np.where(is_one, 0, n_films)
        whole = np.where(is_one, 0, n_films).sum(axis=1, keepdims=True)
        is_less = ~is_one & (parts < whole)
        if not is_less.any():
            break
        is_one |= is_less
    counts, remainders = parts // whole, np.where(is_one, -1, parts % whole)
    rank = np.argsort(np.argsort(-remainders, axis=1, kind="stable"), axis=1)
    counts += rank < left - counts.sum(axis=1, keepdims=True)
    shares: np.ndarray = np.where(is_one, 1, counts)
    return shares


def most_queries(total: int, n_films: np.ndarray, n_way: int) -> np.ndarray:
    """Return the most queries that each class can get in any episode of n_way classes.

    Args:
        total: queries of an episode.
        n_films: films of each class, int64, shape (n_classes,).
        n_way: classes in an episode.

    Returns:
        int64, shape (n_classes,): exact where every class is in every episode, else at most one too many.
    """
    if len(n_films) <= n_way:
        return share_queries(total, n_films[None]).ravel()
    order = np.argsort(n_films, kind="stable")
    most = []
    for class_id in range(len(n_films)):
        smallest = order[order != class_id][: n_way - 1]
        share = share_queries(total, n_films[None, [class_id, *smallest]])[0, 0]
        most.append(min(int(share) + 1, total - n_way + 1))
    return np.array(most)

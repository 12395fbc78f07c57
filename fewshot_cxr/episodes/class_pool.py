"""The films of one class, sorted by patient, and how many patients of it may give the support of an episode."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from fewshot_cxr.seeding import hashed_bits, text_key

_WITHIN = 7  # the order of the films of a group: a stream of random bits apart from that of the groups


class PoolSide:
    """The films of one class that may stand on one side, the films of a group side by side, groups by ascending key.

    Args:
        rows: of the films, int64, shape (n_films,).
        groups: of the films, known across classes, int32, shape (n_films,).
        film_keys: uint64, shape (n_films,).
        group_keys: uint64, shape (n_films,).

    Attributes:
        rows: sorted, as are `film_keys`.
        groups: shape (n_groups,), each once, as are `group_keys`.
        starts: the first film of each group, int64, shape (n_groups,).
        sizes: the films of each group, int64, shape (n_groups,).
        group_of_film: position in `groups`, int64, shape (n_films,).
    """

    def __init__(self, rows: np.ndarray, groups: np.ndarray, film_keys: np.ndarray, group_keys: np.ndarray) -> None:
        order = np.lexsort((film_keys, groups, group_keys))
        self.rows, self.film_keys = rows[order], film_keys[order]
        self.starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        self.sizes = np.diff(self.starts, append=len(groups))
        self.groups, self.group_keys = groups[order][self.starts], group_keys[order][self.starts]
        self.group_of_film = np.repeat(np.arange(len(self.groups)), self.sizes)

    def ordered(self, prefix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shuffle, in each of m episodes, the groups among each other and the films within their group.

        Args:
            prefix: random bits of the episode, uint64, shape (m,).

        Returns:
            Films, as positions in `rows`, the order in which they are taken (one film of each group before a second
            one of any), and the rank of each film's group; all (m, n_films), column j of group `group_of_film[j]`.
        """
        n_groups = len(self.groups)
        group_order = np.argsort(hashed_bits(prefix[:, None], self.group_keys[None, :]), axis=1)
        rank = np.empty_like(group_order)
        np.put_along_axis(rank, group_order, np.broadcast_to(np.arange(n_groups), rank.shape), axis=1)
        rank_of_film = rank[:, self.group_of_film]
        films = np.broadcast_to(np.arange(len(self.rows)), rank_of_film.shape)
        if n_groups < len(self.rows):
            bits = hashed_bits(hashed_bits(_WITHIN, prefix)[:, None], self.film_keys[None, :]) >> np.uint64(24)
            bits |= self.group_of_film.astype(np.uint64)[None, :] << np.uint64(40)
            films = np.argsort(bits, axis=1)
        turn_of_film = np.arange(len(self.rows)) - self.starts[self.group_of_film]
        return films, turn_of_film[None, :] * n_groups + rank_of_film, rank_of_film


@dataclass(frozen=True, eq=False)
class ClassPool:
    """One class: its films for either side, how many films of how many patients it has in all, and what is wanted.

    `n_shot` support films are, and at most `n_query` query films in any episode.
    """

    name: str
    class_id: int
    support: PoolSide
    query: PoolSide
    n_films: int
    n_groups: int
    n_shot: int = 1
    n_query: int = 1

    @property
    def key(self) -> int:
        """64 bits that stand for the name."""
        return text_key(self.name)

    def __str__(self) -> str:
        """Say how much the class has, as in 'effusion has 4 films of 2 patients'."""
        text = f"{self.name} has {_counted(self.n_films, 'film')} of {_counted(self.n_groups, 'patient')}"
        n_support, n_query = len(self.support.rows), len(self.query.rows)
        if n_support == n_query == self.n_films:
            return text
        return f"{text} ({n_support} may be support, {n_query} may be query)"

    def group_count(self, *, is_safe: bool = False) -> int:
        """Decide how many patients give the support films; 0: none will do (`is_safe`: none will always do).

        See `support_group_count`.
        """
        query = dict(zip(self.query.groups.tolist(), self.query.sizes.tolist(), strict=True))
        support = dict(zip(self.support.groups.tolist(), self.support.sizes.tolist(), strict=True))
        sizes = [(support.get(group, 0), query.get(group, 0)) for group in support | query]
        count = _safe_count(sizes, self.n_shot, self.n_query)
        return count if is_safe or count else _best_odds_count(sizes, self.n_shot, self.n_query)


def support_group_count(group_sizes: Sequence[int], n_shot: int, n_query: int) -> int:
    """Decide how many patients of a class give the support films of an episode.

    As many as possible up to n_shot, such that however they fall, n_shot films are theirs and n_query films remain.
    Where no number is safe, the one with the best odds is taken and the draw is repeated until it succeeds.

    Args:
        group_sizes: films of each patient.
        n_shot: support films wanted.
        n_query: query films wanted.

    Returns:
        Number of patients; 0 if no division of the patients serves.

    Examples:
        >>> support_group_count([1, 1, 1, 1, 1], n_shot=3, n_query=2)  # five patients with a film each
        3
        >>> support_group_count([10, 10], n_shot=5, n_query=5)  # of two patients one gives all the support
        1
        >>> support_group_count([20], n_shot=5, n_query=5)  # one patient cannot stand on both sides
        0
    """
    sizes = [(size, size) for size in group_sizes]
    return _safe_count(sizes, n_shot, n_query) or _best_odds_count(sizes, n_shot, n_query)


def _safe_count(sizes: list[tuple[int, int]], n_shot: int, n_query: int) -> int:
    """Return the most patients that always serve; `sizes` are films (for support, for query) of each patient."""
    givers = [pair for pair in sizes if pair[0]]
    shots = sorted(support for support, _ in givers)
    asked = sorted((query for _, query in givers), reverse=True)
    total = sum(query for _, query in sizes)
    for count in range(min(n_shot, len(givers)), 0, -1):
        if sum(shots[:count]) >= n_shot and total - sum(asked[:count]) >= n_query:
            return count
    return 0


def _best_odds_count(sizes: list[tuple[int, int]], n_shot: int, n_query: int) -> int:
    """Return the number of patients that serves most often, counting all ways to choose them; 0: none ever serves."""
    givers = [pair for pair in sizes if pair[0]]
    spare = sum(query for _, query in sizes) - n_query
    if spare < 0:
        return 0
    most = min(n_shot, len(givers))
    # ways[count][(support films, query films lost)]: in how many ways; beyond what is wanted or to spare all is alike.
    ways: list[dict[tuple[int, int], int]] = [{(0, 0): 1}, *({} for _ in range(most))]
    for support, query in givers:
        for count in range(most - 1, -1, -1):
            for (films, lost), number in ways[count].items():
                state = min(films + support, n_shot), lost + query
                if state[1] <= spare:
                    ways[count + 1][state] = ways[count + 1].get(state, 0) + number
    odds = {
        count: sum(number for (films, _), number in ways[count].items() if films >= n_shot) / comb(len(givers), count)
        for count in range(1, most + 1)
    }
    best = max(odds, key=lambda count: (odds[count], count), default=0)
    return best if best and odds[best] > 0 else 0


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""The films of one class, sorted by patient, and how an episode draws from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from fewshot_cxr.seeding import hashed_bits

_GROUP, _FILM = 2, 3  # the kinds of draw; each has its own stream of random bits (episodes.py has 1)


@dataclass(frozen=True, eq=False)
class ClassPool:
    """The films of one class, sorted by group, with the number of patients whose films may be support."""

    name: str
    rows: np.ndarray  # (n_films,), films of a group side by side
    film_keys: np.ndarray  # (n_films,)
    group_keys: np.ndarray  # (n_groups,)
    group_of_film: np.ndarray  # (n_films,), 0..n_groups-1
    turn_of_film: np.ndarray  # (n_films,), 0 for the first film of a group, 1 for its second ...
    n_support_groups: int

    @classmethod
    def of(
        cls, name: str, rows: np.ndarray, film_keys: np.ndarray, group_keys: np.ndarray, shape: tuple[int, int]
    ) -> "ClassPool":
        """Sort the films of one class by group.

        Args:
            name: the finding.
            rows: row numbers, int64, shape (n_films,).
            film_keys, group_keys: uint64, shape (n_films,): what identifies a film and its group.
            shape: (n_shot, n_query).

        Raises:
            ValueError: a film occurs twice.
        """
        order = np.lexsort((film_keys, group_keys))
        rows, film_keys = rows[order], film_keys[order]
        if len(np.unique(film_keys)) != len(film_keys):
            raise ValueError(f"{name}: a path occurs twice; each film must be one row")
        keys, starts, groups, sizes = np.unique(
            group_keys[order], return_index=True, return_inverse=True, return_counts=True
        )
        turns = np.arange(len(rows)) - starts[groups]
        return cls(name, rows, film_keys, keys, groups, turns, support_group_count(sizes.tolist(), *shape))

    def complaint(self) -> str:
        """Say how much the class has, for the error that it is not enough."""
        return f"{self.name} has {_counted(len(self.rows), 'film')} of {_counted(len(self.group_keys), 'patient')}"

    def draw(self, seed: int, numbers: np.ndarray, attempt: int) -> "Draw":
        """Shuffle, in each episode, the groups among each other and the films within their group."""
        stream = (seed, attempt, numbers[:, None])
        group_order = np.argsort(hashed_bits(_GROUP, *stream, self.group_keys[None, :]), axis=1)
        rank = np.empty_like(group_order)
        np.put_along_axis(rank, group_order, np.broadcast_to(np.arange(len(self.group_keys)), rank.shape), axis=1)
        rank_of_film = rank[:, self.group_of_film]
        rows = np.broadcast_to(self.rows, rank_of_film.shape)
        if len(self.group_keys) < len(self.rows):
            bits = hashed_bits(_FILM, *stream, self.film_keys[None, :]) >> np.uint64(24)
            bits |= self.group_of_film.astype(np.uint64)[None, :] << np.uint64(40)
            rows = self.rows[np.argsort(bits, axis=1)]
        order = self.turn_of_film[None, :] * len(self.group_keys) + rank_of_film
        return Draw(rows, order, rank_of_film < self.n_support_groups)


@dataclass(frozen=True, eq=False)
class Draw:
    """One class in several episodes: its rows, the order in which they are taken, and which patients are support."""

    rows: np.ndarray
    order: np.ndarray
    is_support: np.ndarray

    def take(self, allowed: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first `count` allowed rows of each episode, (n, count), and where there are fewer, (n,)."""
        short: np.ndarray = allowed.sum(axis=1) < count
        if allowed.shape[1] < count:
            return np.zeros((len(allowed), count), dtype=np.int64), short
        order = np.where(allowed, self.order, np.iinfo(np.int64).max)
        first = np.argpartition(order, count - 1, axis=1)[:, :count]
        sequence = np.argsort(np.take_along_axis(order, first, axis=1), axis=1)
        return np.take_along_axis(self.rows, np.take_along_axis(first, sequence, axis=1), axis=1), short


def support_group_count(group_sizes: Sequence[int], n_shot: int, n_query: int) -> int:
    """Decide how many patients of a class give the support films of an episode.

    As many as possible up to n_shot, such that however they fall, n_shot films are theirs and n_query films remain.
    Where no number is safe, the one with the best odds is taken and the draw is repeated until it succeeds.

    Args:
        group_sizes: films of each patient.
        n_shot, n_query: films wanted on either side.

    Returns:
        Number of patients; 0 if no division of the patients serves.
    """
    sizes = sorted(group_sizes)
    for count in range(min(n_shot, len(sizes) - 1), 0, -1):
        if sum(sizes[:count]) >= n_shot and sum(sizes[: len(sizes) - count]) >= n_query:
            return count
    if len(sizes) >= n_shot + n_query:  # then n_shot patients are always safe, and the loop above said so
        return 0
    return _likeliest_count(sizes, n_shot, n_query)


def _likeliest_count(sizes: list[int], n_shot: int, n_query: int) -> int:
    total = sum(sizes)
    # ways[k][s]: how many choices of k patients have s films together
    ways: list[dict[int, int]] = [{0: 1}] + [{} for _ in sizes]
    for size in sizes:
        for count in range(len(sizes) - 1, -1, -1):
            for films, number in ways[count].items():
                ways[count + 1][films + size] = ways[count + 1].get(films + size, 0) + number
    odds = {
        count: sum(n for films, n in ways[count].items() if n_shot <= films <= total - n_query)
        / comb(len(sizes), count)
        for count in range(1, min(n_shot, len(sizes) - 1) + 1)
    }
    best = max(odds, key=lambda count: (odds[count], count), default=0)
    return best if best and odds[best] > 0 else 0


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

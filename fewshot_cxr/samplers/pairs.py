"""Pairs for a learned pair distance: half of one class, half of two, and every class as often as the smallest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isqrt

import numpy as np

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.samplers.by_class import check_films
from fewshot_cxr.samplers.epochs import EpochSampler
from fewshot_cxr.seeding import generator

_MOST_SHUFFLED = 1 << 16  # groups; of more a permutation takes longer than the batch


class PairBatchSampler(EpochSampler):
    """Batches of pairs: row i and row i + batch_size // 2 are a pair, of one class or of two.

    Each epoch draws as many films of each class as the smallest class with two films has, without replacement (a
    class with one film gives that one). Half of each batch's pairs are of the same class, half of different classes;
    where the number of pairs is odd, every other batch has one more of the one. Each half is shared equally among its
    groups (three classes: CC, NN, PP and CN, CP, NP); what is left over goes to groups drawn at random. Within an
    epoch no pair of films comes again before all pairs of its group have come.

    Films of one patient make no pair of the same class where the class has another patient: such a pair is easy for
    reasons that are no finding. A class with one film makes no pair of the same class; its share goes to the others.

    Each epoch is drawn from (seed, epoch) alone; the sampler counts its epochs itself, as `BalancedBatchSampler` does.

    Args:
        class_ids: int64, shape (N,).
        group_ids: of patients, int64, shape (N,).
        batch_size: films in a batch, even: batch_size // 2 pairs.
        n_batches: in an epoch; None: about as many as hold as many films as there are.
        seed: of all draws.

    Raises:
        ValueError: fewer than two classes, no class with two films, a batch that is odd or below 4, no batch, or not a
            group for each film.

    Examples:
        >>> class_ids = np.repeat([0, 1], 6)  # six films of normal and six of covid19, each of another patient
        >>> sampler = PairBatchSampler(class_ids, np.arange(12), batch_size=8, n_batches=1)
        >>> one, other = class_ids[list(sampler)[0]].reshape(2, 4)
        >>> int((one == other).sum()), int((one != other).sum())
        (2, 2)

    Source: the batches of Koch, Zemel, Salakhutdinov, "Siamese Neural Networks for One-shot Image Recognition", 2015,
    section 3.2 (half same, half different), balanced over the classes.
    """

    def __init__(
        self,
        class_ids: np.ndarray,
        group_ids: np.ndarray,
        *,
        batch_size: int = 64,
        n_batches: int | None = None,
        seed: int = 0,
    ) -> None:
        classes, sizes = check_films(class_ids, group_ids)
        check_at_least(batch_size, 4, "batch_size")
        if batch_size % 2:
            raise ValueError(f"batch_size counts the films of whole pairs and must be even, got {batch_size}")
        self.rows = [np.flatnonzero(class_ids == c) for c in classes]
        self.group_ids = np.asarray(group_ids)
        self.n_per_class = int(sizes[sizes > 1].min())
        self.batch_size = batch_size
        super().__init__(max(1, round(len(class_ids) / batch_size)) if n_batches is None else n_batches, seed)

    def _batches(self) -> Iterator[list[int]]:
        """Yield first one film of every pair, then the other of each."""
        rng = generator(self.seed, "pair batches", self.epoch)
        films = [self._subset(rows, rng) for rows in self.rows]
        several, n_classes = [own for own in films if len(own) > 1], len(films)

        def same(index: int) -> _PairList:
            return _PairList.within(several[index], self.group_ids[several[index]])

        def different(index: int) -> _PairList:
            return _PairList.across(*(films[place] for place in _combination(index, n_classes)))

        n_pairs = self.batch_size // 2
        n_same = [(n_pairs + batch % 2) // 2 for batch in range(self.n_batches)]
        halves = (
            _shared_out(same, len(several), n_same, rng),
            _shared_out(different, n_classes * (n_classes - 1) // 2, [n_pairs - n for n in n_same], rng),
        )
        for parts in zip(*halves, strict=True):
            pairs: list[int] = rng.permutation(np.concatenate(parts)).T.ravel().tolist()
            yield pairs

    def _subset(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a class's films of this epoch, of two patients at least where the class has them."""
        shuffled: np.ndarray = rng.permutation(rows)
        subset, groups = shuffled[: self.n_per_class], self.group_ids[shuffled]
        is_other = groups != groups[0]
        if is_other.any() and not is_other[: len(subset)].any():
            subset[-1] = shuffled[is_other][0]
        return subset


@dataclass(frozen=True, eq=False)
class _PairList:
    """All pairs of a group, numbered but never listed: row i of `first` with each row of `second` from start[i] on."""

    first: np.ndarray
    second: np.ndarray
    start: np.ndarray

    @classmethod
    def within(cls, films: np.ndarray, groups: np.ndarray) -> "_PairList":
        """Number the unordered pairs of one class, without those of one patient where there is another."""
        _, positions, patients = np.unique(groups, return_index=True, return_inverse=True)
        patients = positions[patients]  # by first film, so that patients' names play no part
        order = np.argsort(patients, kind="stable")
        ends = np.searchsorted(patients[order], patients[order], side="right")
        start = ends if len(positions) > 1 else np.arange(1, len(films) + 1)
        return cls(films[order], films[order], start)

    @classmethod
    def across(cls, one: np.ndarray, other: np.ndarray) -> "_PairList":
        """Number the pairs of a film of one class and a film of another."""
        return cls(one, other, np.zeros(len(one), dtype=np.int64))

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n pairs, shape (n, 2), in rounds: none comes again before all have come."""
        counts = len(self.second) - self.start
        ends = np.cumsum(counts)
        # Without replacement NumPy keeps no more than about fifty times what is drawn, not all the numbers.
        rounds = [rng.choice(ends[-1], min(ends[-1], n - begin), replace=False) for begin in range(0, n, int(ends[-1]))]
        numbers = np.concatenate([np.zeros(0, dtype=np.int64), *rounds])
        row = np.searchsorted(ends, numbers, side="right")
        partner = self.start[row] + numbers - (ends - counts)[row]
        return np.stack([self.first[row], self.second[partner]], axis=1)


def _combination(index: int, n: int) -> tuple[int, int]:
    """Return the index-th of the pairs of 0..n-1, in the order of `itertools.combinations`, without listing them."""
    last = n * (n - 1) // 2 - 1 - index  # from the end on there are 1, 3, 6, ... pairs
    row = (isqrt(8 * last + 1) - 1) // 2
    return n - 2 - row, n - 1 - (last - row * (row + 1) // 2)


def _groups_of_batch(n_groups: int, n_pairs: int, rng: np.random.Generator) -> np.ndarray:
    if n_pairs < n_groups and n_groups > _MOST_SHUFFLED:
        return rng.choice(n_groups, n_pairs, replace=False)
    left_over = rng.permutation(n_groups)[: n_pairs % n_groups]
    return np.concatenate([np.tile(np.arange(n_groups), n_pairs // n_groups), left_over])


def _shared_out(
    group: Callable[[int], _PairList], n_groups: int, n_pairs: list[int], rng: np.random.Generator
) -> list[np.ndarray]:
    """Return each batch's pairs, shape (n, 2), its number shared equally among the groups, the rest at random.

    Of thousands of classes there are millions of groups, so that those alone are made that give a pair.
    """
    flat = np.concatenate([_groups_of_batch(n_groups, n, rng) for n in n_pairs])
    pairs = np.empty((len(flat), 2), dtype=np.int64)
    drawn, n_drawn = np.unique(flat, return_counts=True)
    places = np.split(np.argsort(flat, kind="stable"), np.cumsum(n_drawn)[:-1])
    for index, own in zip(drawn.tolist(), places, strict=True):
        pairs[own] = group(index).sample(len(own), rng)
    return np.split(pairs, np.cumsum(n_pairs)[:-1])

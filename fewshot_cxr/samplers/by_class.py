"""Batches of some films of some findings: chosen per class, patients first."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from fewshot_cxr._checks import check_at_least, lookup
from fewshot_cxr.samplers.epochs import EpochSampler
from fewshot_cxr.seeding import generator

# Cui et al. 2019 try .9 to .9999; with .999 a class of some thousand films counts as a thousand.
_EFFECTIVE_BETA = 0.999


class ClassBatchSampler(EpochSampler):
    """Shuffled batches of an epoch's films, which `balance` (a name in `BALANCES`) chooses.

    `none`: each film once. `inverse`: as many films as there are, with replacement, each class as likely as another.
    `effective`: the same, each film with one over its class's effective number. `oversample`: each class repeated to
    the size of the largest, all its films before any comes again. `undersample`: of each class as many films as the
    smallest has, drawn anew each epoch. A balance belongs after the split: it repeats films.

    A last smaller batch is kept; a last film alone joins the batch before it, since batch norm cannot take one. With
    `n_batches` all batches are full, and the balance begins again where its films are used up.

    Each epoch is drawn from (seed, epoch) alone; the sampler counts its epochs itself, as `BalancedBatchSampler` does.

    Args:
        class_ids: int64, shape (N,); or one column per finding, shape (N, C), with the balance `none` only.
        batch_size: films in a batch.
        balance: which films make an epoch.
        n_batches: in an epoch; None: all its films.
        seed: of all draws.

    Raises:
        ValueError: an unknown balance, a balance for films of several findings, fewer than two films, a batch below
            two, or no batch.
        TypeError: the balance is no name.

    Examples:
        >>> class_ids = np.array([0, 0, 0, 0, 0, 0, 1, 1])  # six films of normal, two of covid19
        >>> sampler = ClassBatchSampler(class_ids, batch_size=4, balance="oversample")
        >>> np.bincount(class_ids[[row for batch in sampler for row in batch]]).tolist()
        [6, 6]
    """

    def __init__(
        self,
        class_ids: np.ndarray,
        *,
        batch_size: int = 32,
        balance: str = "none",
        n_batches: int | None = None,
        seed: int = 0,
    ) -> None:
        self._films = lookup(BALANCES, balance, "balance")
        if class_ids.ndim > 1 and balance != "none":
            raise ValueError(f"the balance {balance} needs one finding per film, got films of several: choose none")
        if len(class_ids) < 2:
            raise ValueError(f"training needs two films or more, got {len(class_ids)}")
        check_at_least(batch_size, 2, "batch_size")
        self.class_ids, self.batch_size = class_ids, batch_size
        self.is_counted = n_batches is not None
        n_films = len(self._films(class_ids, generator(seed, "class batches", 0)))
        super().__init__(len(_cuts(n_films, batch_size)) + 1 if n_batches is None else n_batches, seed)

    def _batches(self) -> Iterator[list[int]]:
        rng = generator(self.seed, "class batches", self.epoch)
        films = self._films(self.class_ids, rng)
        if self.is_counted:
            n_films = self.n_batches * self.batch_size
            n_more = -(-n_films // len(films)) - 1
            films = np.concatenate([films, *(self._films(self.class_ids, rng) for _ in range(n_more))])[:n_films]
        for batch in np.split(films, _cuts(len(films), self.batch_size)):
            rows: list[int] = batch.tolist()
            yield rows


def _cuts(n_films: int, batch_size: int) -> list[int]:
    """Return where each batch but the first begins: none where a single film would be left."""
    return list(range(batch_size, n_films - 1, batch_size))


def _every_film(class_ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(len(class_ids))


def _by_inverse_count(class_ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    _, own, sizes = np.unique(class_ids, return_inverse=True, return_counts=True)
    return _weighted(1 / sizes[own], rng)


def _by_effective_number(class_ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weigh each film by (1 - beta) / (1 - beta ** n), n the size of its class.

    Source: Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", 2019, arXiv:1901.05555, eq. 2.
    """
    _, own, sizes = np.unique(class_ids, return_inverse=True, return_counts=True)
    return _weighted((1 - _EFFECTIVE_BETA) / (1 - _EFFECTIVE_BETA ** sizes[own]), rng)


def _weighted(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(len(weights), len(weights), p=weights / weights.sum())


def _in_rounds(class_ids: np.ndarray, rng: np.random.Generator, size_of: Callable[[np.ndarray], int]) -> np.ndarray:
    """Return `size_of(counts)` films of each class, each film of a class before any comes again, all shuffled."""
    classes, counts = np.unique(class_ids, return_counts=True)
    size, films = int(size_of(counts)), []
    for class_id in classes:
        rows = np.flatnonzero(class_ids == class_id)
        rounds = [rng.permutation(rows) for _ in range(-(-size // len(rows)))]
        films.append(np.concatenate(rounds)[:size])
    return rng.permutation(np.concatenate(films))


BALANCES: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "none": _every_film,
    "inverse": _by_inverse_count,
    "effective": _by_effective_number,
    "oversample": partial(_in_rounds, size_of=np.max),
    "undersample": partial(_in_rounds, size_of=np.min),
}


class BalancedBatchSampler(EpochSampler):
    """Batches that hold every class about equally often, whatever the classes' sizes.

    Within an epoch the films of a class come round without repetition before any comes again, one of each patient
    before a second one of any; a new round begins with the patients that its first batch does not hold yet. No film
    is twice in one batch: where a class has fewer films than its share, the batch is that much smaller.

    Each epoch is drawn from (seed, epoch) alone. The sampler counts its epochs itself, since Lightning tells a batch
    sampler nothing: it goes to the next after each whole iteration; `set_epoch` puts it anywhere.

    Args:
        class_ids: int64, shape (N,).
        group_ids: of patients, int64, shape (N,).
        batch_size: films in a batch, spread as evenly as can be over the classes.
        n_classes: classes in a batch; None: all, or as many as leave each two films.
        n_batches: in an epoch; None: about as many as cover all films once.
        seed: of all draws.

    Raises:
        ValueError: fewer than two classes, no class with two films, too small a batch, no batch, n_classes out of
            range, or not a group for each film.

    Examples:
        >>> class_ids = np.array([0] * 12 + [1] * 4)  # twelve films of normal, four of covid19, each of another patient
        >>> sampler = BalancedBatchSampler(class_ids, np.arange(16), batch_size=4)
        >>> [np.bincount(class_ids[batch]).tolist() for batch in sampler]
        [[2, 2], [2, 2], [2, 2], [2, 2]]
    """

    def __init__(
        self,
        class_ids: np.ndarray,
        group_ids: np.ndarray,
        *,
        batch_size: int = 48,
        n_classes: int | None = None,
        n_batches: int | None = None,
        seed: int = 0,
    ) -> None:
        self.classes, _ = check_films(class_ids, group_ids)
        n_found = len(self.classes)
        check_at_least(batch_size, 4, "batch_size")
        most = min(n_found, batch_size // 2)
        self.n_classes = most if n_classes is None else n_classes
        if not 2 <= self.n_classes <= most:
            here = f"{n_found} findings and batch_size {batch_size}"
            raise ValueError(f"n_classes must be 2..{most} for {here}, got {n_classes}")
        self.rows = {int(c): np.flatnonzero(class_ids == c) for c in self.classes}
        self.group_ids = np.asarray(group_ids)
        self.batch_size = batch_size
        super().__init__(max(1, round(len(class_ids) / batch_size)) if n_batches is None else n_batches, seed)

    def _batches(self) -> Iterator[list[int]]:
        rng = generator(self.seed, "balanced batches", self.epoch)
        queues: dict[int, list[int]] = {class_id: [] for class_id in self.rows}
        for _ in range(self.n_batches):
            chosen = rng.permutation(self.classes)[: self.n_classes].tolist()
            batch: list[int] = []
            for position, class_id in enumerate(chosen):
                share = self.batch_size // self.n_classes + (position < self.batch_size % self.n_classes)
                batch += self._take(queues[class_id], class_id, share, rng)
            yield batch

    def _take(self, queue: list[int], class_id: int, share: int, rng: np.random.Generator) -> list[int]:
        share = min(share, len(self.rows[class_id]))
        taken: list[int] = []
        while len(taken) < share:
            # A film taken at the end of one round must not come again at the start of the next, in the same batch.
            position = next((index for index, row in enumerate(queue) if row not in taken), None)
            if position is None:
                queue += self._shuffled(class_id, rng, self.group_ids[taken])
            else:
                taken.append(queue.pop(position))
        return taken

    def _shuffled(self, class_id: int, rng: np.random.Generator, groups: np.ndarray) -> list[int]:
        """Return the films of a class, one of each patient, then a second one of each; in each turn `groups` last."""
        rows = rng.permutation(self.rows[class_id])
        seen: dict[int, int] = {}
        turns = []
        for group in self.group_ids[rows].tolist():
            turns.append(seen.get(group, 0))
            seen[group] = turns[-1] + 1
        is_late = np.isin(self.group_ids[rows], groups)
        shuffled: list[int] = rows[np.lexsort((is_late, np.array(turns)))].tolist()
        return shuffled


def check_films(class_ids: np.ndarray, group_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes and how many films each has, after checking that films of two classes can be compared."""
    if len(class_ids) != len(group_ids):
        raise ValueError(f"each film needs its class and its group: got {len(class_ids)} and {len(group_ids)}")
    classes, sizes = np.unique(class_ids, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"metric learning needs films of two findings or more, got {len(classes)}: add a finding")
    if sizes.max() < 2:
        raise ValueError("metric learning needs a finding with two films; each finding here has one")
    return classes, sizes

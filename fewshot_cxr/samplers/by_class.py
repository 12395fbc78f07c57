"""Batches for a classifier: every film once, or every class as often as a balance says."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from torch.utils.data import Sampler

from fewshot_cxr._checks import check_at_least, lookup
from fewshot_cxr.seeding import generator

# Cui et al. 2019 try .9 to .9999; with .999 a class of some thousand films counts as a thousand.
_EFFECTIVE_BETA = 0.999


class ClassBatchSampler(Sampler[list[int]]):
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
        self.class_ids, self.batch_size, self.seed = class_ids, batch_size, seed
        self.is_counted = n_batches is not None
        n_films = len(self._films(class_ids, generator(seed, "class batches", 0)))
        self.n_batches = len(_cuts(n_films, batch_size)) + 1 if n_batches is None else n_batches
        check_at_least(self.n_batches, 1, "n_batches")
        self.epoch = 0

    def __len__(self) -> int:
        return self.n_batches

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch of this epoch."""
        rng = generator(self.seed, "class batches", self.epoch)
        films = self._films(self.class_ids, rng)
        if self.is_counted:
            n_films = self.n_batches * self.batch_size
            n_more = -(-n_films // len(films)) - 1
            films = np.concatenate([films, *(self._films(self.class_ids, rng) for _ in range(n_more))])[:n_films]
        for batch in np.split(films, _cuts(len(films), self.batch_size)):
            rows: list[int] = batch.tolist()
            yield rows
        self.epoch += 1


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


def _oversampled(class_ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = int(np.unique(class_ids, return_counts=True)[1].max())
    return _in_rounds(class_ids, size, rng)


def _undersampled(class_ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = int(np.unique(class_ids, return_counts=True)[1].min())
    return _in_rounds(class_ids, size, rng)


def _weighted(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(len(weights), len(weights), p=weights / weights.sum())


def _in_rounds(class_ids: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return `size` films of each class, each film of a class before any comes again, all shuffled."""
    films = []
    for class_id in np.unique(class_ids):
        rows = np.flatnonzero(class_ids == class_id)
        rounds = [rng.permutation(rows) for _ in range(-(-size // len(rows)))]
        films.append(np.concatenate(rounds)[:size])
    return rng.permutation(np.concatenate(films))


BALANCES: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "none": _every_film,
    "inverse": _by_inverse_count,
    "effective": _by_effective_number,
    "oversample": _oversampled,
    "undersample": _undersampled,
}

"""Few-shot episodes as a value: what is drawn follows from seed and episode number alone, and can be replayed.

In every episode support and query share no patient, in no class: a patient who has films of two findings is on one
side for both. Films are drawn patient by patient (one film of each patient before a second one of any), so that five
films are five patients wherever the class has them.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.class_pool import ClassPool
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.seeding import hashed_bits, text_key

_CLASS = 1  # the kind of draw: its own stream of random bits (class_pool.py has the others)
_MAX_ATTEMPTS = 200
_BLOCK_CELLS = 1 << 20  # films x episodes in work at once: tens of MB, whatever n_episodes is


@dataclass(frozen=True, eq=False)
class EpisodeBlock:
    """Consecutive episodes as row numbers into the embeddings.

    `first` is the number of the first; `class_ids` int64 (n, n_way), ascending in each episode; `support` int64
    (n, n_way, n_shot) and `query` int64 (n, n_way, n_query), row c of an episode belonging to its class c.
    """

    first: int
    class_ids: np.ndarray
    support: np.ndarray
    query: np.ndarray

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, eq=False, kw_only=True)
class Episodes:
    """n_episodes few-shot problems over labelled rows, drawn on demand in blocks: constant memory.

    Episode i depends on `seed`, i and the set of films alone: not on block size, order of rows, or patients' names.

    Args:
        class_ids: int64, shape (N,), into `class_names`.
        group_ids: int64, shape (N,): rows of one group (patient) never meet across support and query.
        class_names: findings.
        n_way: classes in an episode; None: all.
        n_shot, n_query: support and query films per class.
        n_episodes: how many.
        seed: of the whole sequence.
        paths: N texts that identify a film within its class; None: its row number does, and row order then matters.

    Raises:
        ValueError: fewer classes than n_way, or a class with too few films or patients; the text names it.
    """

    class_ids: np.ndarray
    group_ids: np.ndarray
    class_names: tuple[str, ...]
    n_way: int
    n_shot: int
    n_query: int
    n_episodes: int
    seed: int
    paths: tuple[str, ...] | None = None

    @classmethod
    def draw(
        cls,
        films: Embeddings,
        *,
        n_way: int | None = None,
        n_shot: int = 5,
        n_query: int = 15,
        n_episodes: int = 1000,
        seed: int = 0,
    ) -> "Episodes":
        """Describe the episodes over labelled embeddings; see the class for arguments and errors."""
        if films.is_multi_label:
            raise ValueError("episodes need one finding per film; keep the single-label films first")
        present = len(np.unique(films.class_ids))
        return cls(
            class_ids=films.class_ids,
            group_ids=films.patient_ids,
            class_names=tuple(films.class_names or ()),
            n_way=present if n_way is None else n_way,
            n_shot=n_shot,
            n_query=n_query,
            n_episodes=n_episodes,
            seed=seed,
            paths=None if films.paths is None else tuple(films.paths),
        )

    def __post_init__(self) -> None:
        for name, minimum in (("n_way", 2), ("n_shot", 1), ("n_query", 1), ("n_episodes", 1)):
            check_at_least(getattr(self, name), minimum, name)
        names = [pool.name for pool in self._pools]
        if self.n_way > len(names):
            raise ValueError(f"n_way is {self.n_way}, but only {len(names)} findings have films: {', '.join(names)}")
        small = [pool.complaint() for pool in self._pools if pool.n_support_groups == 0]
        if small:
            raise ValueError(
                f"too few films for {self.n_shot}-shot episodes with {self.n_query} queries per class: "
                f"{'; '.join(small)}. Support and query never share a patient. "
                "Take fewer shots (n_shot) or queries (n_query), or drop the class"
            )

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of all that decides the draws: equal hashes are identical episodes, film by film."""
        protocol = [self.n_way, self.n_shot, self.n_query, self.n_episodes, self.seed % 2**64]
        names = np.array([text_key(self.class_names[index]) for index in self.class_ids], dtype=np.uint64)
        rows = np.stack([names, self._film_keys, self._group_keys], axis=1)
        rows = rows[np.lexsort(rows.T)]
        return hashlib.sha256(json.dumps(protocol).encode() + rows.tobytes()).hexdigest()

    def blocks(self, size: int | None = None) -> Iterator[EpisodeBlock]:
        """Draw the episodes in order, `size` at a time (None: as many as keep memory small)."""
        size = size or max(16, min(4096, _BLOCK_CELLS // len(self.class_ids)))
        for first in range(0, self.n_episodes, size):
            yield self.block(first, min(size, self.n_episodes - first))

    def block(self, first: int, size: int) -> EpisodeBlock:
        """Draw the episodes first .. first+size-1.

        Raises:
            ValueError: patients shared between classes leave too few query films, in any of many attempts.
        """
        numbers = np.arange(first, first + size, dtype=np.uint64)
        chosen = self._choose_classes(numbers)
        support = np.empty((size, self.n_way, self.n_shot), dtype=np.int64)
        query = np.empty((size, self.n_way, self.n_query), dtype=np.int64)
        todo = np.arange(size)
        for attempt in range(_MAX_ATTEMPTS):
            support[todo], query[todo], is_short = self._attempt(numbers[todo], chosen[todo], attempt)
            todo = todo[is_short]
            if not len(todo):
                return EpisodeBlock(first, self._present[chosen], support, query)
        raise ValueError(
            f"episode {first + int(todo[0])}: patients with films of several findings leave too few query films; "
            "take fewer shots (n_shot) or queries (n_query)"
        )

    @cached_property
    def _film_keys(self) -> np.ndarray:
        texts = self.paths if self.paths is not None else range(len(self.class_ids))
        return np.array([text_key(str(text)) for text in texts], dtype=np.uint64)

    @cached_property
    def _row_keys(self) -> np.ndarray:
        names = np.array([text_key(name) for name in self.class_names], dtype=np.uint64)
        return hashed_bits(names[self.class_ids], self._film_keys)

    @cached_property
    def _group_keys(self) -> np.ndarray:
        # A group is known by the smallest key of its films, so that renaming patients changes no draw.
        smallest = np.full(int(self.group_ids.max()) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
        np.minimum.at(smallest, self.group_ids, self._row_keys)
        keys: np.ndarray = smallest[self.group_ids]
        return keys

    @cached_property
    def _present(self) -> np.ndarray:
        return np.unique(self.class_ids)

    @cached_property
    def _pools(self) -> list[ClassPool]:
        pools = []
        for class_id in self._present.tolist():
            rows = np.flatnonzero(self.class_ids == class_id)
            keys = self._row_keys[rows], self._group_keys[rows]
            pools.append(ClassPool.of(self.class_names[class_id], rows, *keys, (self.n_shot, self.n_query)))
        return pools

    @cached_property
    def _has_shared_groups(self) -> bool:
        pairs = np.unique(np.stack([self.group_ids, self.class_ids], axis=1), axis=0)
        return len(pairs) > len(np.unique(self.group_ids))

    def _choose_classes(self, numbers: np.ndarray) -> np.ndarray:
        """Return, per episode, the positions of its n_way pools, ascending."""
        keys = np.array([text_key(pool.name) for pool in self._pools], dtype=np.uint64)
        if len(keys) == self.n_way:
            return np.tile(np.arange(self.n_way), (len(numbers), 1))
        bits = hashed_bits(self.seed, _CLASS, numbers[:, None], keys[None, :])
        first: np.ndarray = np.sort(np.argsort(bits, axis=1, kind="stable")[:, : self.n_way], axis=1)
        return first

    def _attempt(self, numbers: np.ndarray, chosen: np.ndarray, attempt: int) -> tuple[np.ndarray, ...]:
        """Draw once: support rows, query rows, and which episodes fell short (their rows mean nothing)."""
        support = np.zeros((len(numbers), self.n_way, self.n_shot), dtype=np.int64)
        query = np.zeros((len(numbers), self.n_way, self.n_query), dtype=np.int64)
        is_short = np.zeros(len(numbers), dtype=bool)
        draws = []
        for position, pool in enumerate(self._pools):
            episode, way = np.nonzero(chosen == position)
            if len(episode):
                draw = pool.draw(self.seed, numbers[episode], attempt)
                support[episode, way], short = draw.take(draw.is_support, self.n_shot)
                is_short[episode] |= short
                draws.append((episode, way, pool, draw))
        is_banned = np.zeros(
            (len(numbers), int(self.group_ids.max()) + 1 if self._has_shared_groups else 0), dtype=bool
        )
        if self._has_shared_groups:
            is_banned[np.arange(len(numbers))[:, None], self.group_ids[support.reshape(len(numbers), -1)]] = True
        for episode, way, pool, draw in draws:
            may_ask = ~draw.is_support
            if self._has_shared_groups:
                may_ask = may_ask & ~is_banned[episode[:, None], self.group_ids[pool.rows][None, :]]
            query[episode, way], short = draw.take(may_ask, self.n_query)
            is_short[episode] |= short
        return support, query, is_short

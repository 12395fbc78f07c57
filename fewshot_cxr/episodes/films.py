"""Which film has which finding, under keys that know neither the order of rows nor the names of patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewshot_cxr.episodes.class_pool import ClassPool, PoolSide
from fewshot_cxr.seeding import hashed_bits, text_key


@dataclass(frozen=True, eq=False)
class EpisodeFilms:
    """One entry for each finding of each film: M entries, a film without a finding has none.

    Args:
        rows, class_ids: int64, shape (M,).
        film_keys, group_keys: uint64, shape (M,).
        sides: uint64, shape (M,): 1 where the film may be support, plus 2 where it may be query.
        group_of_row: int32, shape (N + 1,): the group of each row, -1 at the end (so that row -1 has none).
        class_names: findings.
        is_multi_label: whether a film may have several findings.
    """

    rows: np.ndarray
    class_ids: np.ndarray
    film_keys: np.ndarray
    group_keys: np.ndarray
    sides: np.ndarray
    group_of_row: np.ndarray
    class_names: tuple[str, ...]
    is_multi_label: bool

    @classmethod
    def of(
        cls,
        class_ids: np.ndarray,
        group_ids: np.ndarray,
        class_names: tuple[str, ...],
        *,
        paths: Sequence[str] | None = None,
        masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    ) -> "EpisodeFilms":
        """Take films apart into findings.

        Args:
            class_ids: int64 (N,), or (N, n_findings) with 1 where the film has the finding.
            group_ids: int64 (N,).
            class_names: findings.
            paths: N texts that identify a film; None: its row number does.
            masks: which films may be support, and which query, bool (N,); None: all.

        Raises:
            ValueError: a mask of another type or shape.
        """
        for name, mask in zip(("may_support", "may_query"), masks, strict=True):
            if mask is not None and (np.shape(mask) != (len(class_ids),) or np.asarray(mask).dtype != bool):
                raise ValueError(f"{name} must be bool of shape ({len(class_ids)},), one entry for each film")
        texts = range(len(class_ids)) if paths is None else paths
        film_keys = np.array([text_key(str(text)) for text in texts], dtype=np.uint64)
        if class_ids.ndim == 1:  # films of different findings may go by one name, such as 1.png in two folders
            names = np.array([text_key(name) for name in class_names], dtype=np.uint64)
            film_keys = hashed_bits(names[class_ids], film_keys)
            rows, findings = np.arange(len(class_ids)), class_ids
        else:
            rows, findings = np.nonzero(class_ids == 1)
        _, groups = np.unique(group_ids, return_inverse=True)
        # A group is known by the smallest key of its films, so that renaming patients changes no draw.
        smallest = np.full(groups.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
        np.minimum.at(smallest, groups, film_keys)
        sides = sum(
            np.uint64(bit) * np.broadcast_to(True if mask is None else mask, len(class_ids)).astype(np.uint64)
            for bit, mask in zip((1, 2), masks, strict=True)
        )
        return cls(
            rows=rows,
            class_ids=findings,
            film_keys=film_keys[rows],
            group_keys=smallest[groups][rows],
            sides=np.asarray(sides)[rows],
            group_of_row=np.append(groups, -1).astype(np.int32),
            class_names=class_names,
            is_multi_label=class_ids.ndim == 2,
        )

    @property
    def present_names(self) -> list[str]:
        """Findings that a film has."""
        return [self.class_names[class_id] for class_id in np.unique(self.class_ids).tolist()]

    def pool(self, class_id: int, *, without: Sequence[int] = ()) -> ClassPool:
        """Return the films of one finding.

        Args:
            class_id: the finding.
            without: other findings; a film that has one of them stays out.

        Raises:
            ValueError: a film occurs twice.
        """
        entries = np.flatnonzero(self.class_ids == class_id)
        keys = self.film_keys[entries]
        if len(np.unique(keys)) != len(keys):
            raise ValueError(f"{self.class_names[class_id]}: a path occurs twice; each film must be one row")
        if len(without):
            others = self.rows[np.isin(self.class_ids, without)]
            entries = entries[~np.isin(self.rows[entries], others)]
        n_groups = len(np.unique(self.group_of_row[self.rows[entries]]))
        support, query = self._side(entries, 1), self._side(entries, 2)
        return ClassPool(self.class_names[class_id], class_id, support, query, len(entries), n_groups)

    def _side(self, entries: np.ndarray, bit: int) -> PoolSide:
        entries = entries[self.sides[entries] & np.uint64(bit) > 0]
        rows = self.rows[entries]
        return PoolSide.of(rows, self.group_of_row[rows], self.film_keys[entries], self.group_keys[entries])

    def digest(self) -> bytes:
        """Return bytes that tell any two sets of films apart, and no two orders of the same films."""
        names = np.array([text_key(name) for name in self.class_names], dtype=np.uint64)
        entries = np.stack([names[self.class_ids], self.film_keys, self.group_keys, self.sides], axis=1)
        return entries[np.lexsort(entries.T)].tobytes()

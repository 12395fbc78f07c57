"""Which film has which finding, under keys that know neither the order of rows nor the names of patients."""

from collections.abc import Sequence

import numpy as np

from fewshot_cxr.episodes.class_pool import ClassPool, PoolSide
from fewshot_cxr.seeding import hashed_bits, text_key


def film_keys(
    class_ids: np.ndarray, groups: np.ndarray, class_names: Sequence[str], paths: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a key of each film, and the smallest of each group's: uint64 (N,) and (n_groups,).

    Neither the order of rows nor the names of patients matter (where films have paths).

    Args:
        class_ids: int64 (N,), or (N, n_findings).
        groups: int64 (N,), 0..n_groups-1.
        class_names: findings.
        paths: N texts that identify a film; None: its row number does.
    """
    texts = range(len(class_ids)) if paths is None else paths
    keys = np.array([text_key(str(text)) for text in texts], dtype=np.uint64)
    if class_ids.ndim == 1:  # films of different findings may go by one name, such as 1.png in two folders
        names = np.array([text_key(name) for name in class_names], dtype=np.uint64)
        keys = hashed_bits(names[class_ids], keys)
    smallest = np.full(int(groups.max()) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, groups, keys)
    return keys, smallest


class EpisodeFilms:
    """One entry for each finding of each film: M entries, a film without a finding has none.

    Args:
        class_ids: int64 (N,), or (N, n_findings) with 1 where the film has the finding.
        group_ids: int64 (N,).
        class_names: findings.
        paths: N texts that identify a film; None: its row number does.
        masks: which films may be support, and which query, bool (N,); None: all.

    Attributes:
        class_names: findings.
        is_multi_label: whether a film may have several findings.
        group_of_row: int32, shape (N + 1,): the group of each row, -1 at the end (so that row -1 has none).

    Raises:
        ValueError: a mask of another type or shape.
    """

    def __init__(
        self,
        class_ids: np.ndarray,
        group_ids: np.ndarray,
        class_names: tuple[str, ...],
        *,
        paths: Sequence[str] | None = None,
        masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    ) -> None:
        for name, mask in zip(("may_support", "may_query"), masks, strict=True):
            if mask is not None and (np.shape(mask) != (len(class_ids),) or np.asarray(mask).dtype != bool):
                raise ValueError(f"{name} must be bool of shape ({len(class_ids)},), one entry for each film")
        rows, findings = np.nonzero(class_ids == 1) if class_ids.ndim == 2 else (np.arange(len(class_ids)), class_ids)
        _, groups = np.unique(group_ids, return_inverse=True)
        keys, smallest = film_keys(class_ids, groups, class_names, paths)
        may_stand = [np.ones(len(class_ids), dtype=bool) if mask is None else mask for mask in masks]
        self.class_names, self.is_multi_label = class_names, class_ids.ndim == 2
        self.group_of_row = np.append(groups, -1).astype(np.int32)
        # One of each for every entry, shape (M,), and whether it may be support and may be query, (2, M).
        self._rows, self._class_ids = rows, findings
        self._film_keys, self._group_keys = keys[rows], smallest[groups][rows]
        self._may_stand = np.stack(may_stand)[:, rows]
        self._by_class = np.argsort(findings, kind="stable")  # once, and not a look at all entries for each class
        self._sorted_ids = findings[self._by_class]

    @property
    def present_names(self) -> list[str]:
        """Findings that a film has."""
        return [self.class_names[class_id] for class_id in np.unique(self._class_ids).tolist()]

    def pool(self, class_id: int, *, without: Sequence[int] = ()) -> ClassPool:
        """Return the films of one finding.

        Args:
            class_id: the finding.
            without: other findings; a film that has one of them stays out.

        Raises:
            ValueError: a film occurs twice.
        """
        first, end = np.searchsorted(self._sorted_ids, (class_id, class_id + 1))
        entries = self._by_class[first:end]
        keys = self._film_keys[entries]
        if len(np.unique(keys)) != len(keys):
            raise ValueError(f"{self.class_names[class_id]}: a path occurs twice; each film must be one row")
        if len(without):
            others = self._rows[np.isin(self._class_ids, without)]
            entries = entries[~np.isin(self._rows[entries], others)]
        n_groups = len(np.unique(self.group_of_row[self._rows[entries]]))
        support, query = (self._side(entries[may_stand[entries]]) for may_stand in self._may_stand)
        return ClassPool(self.class_names[class_id], class_id, support, query, len(entries), n_groups)

    def _side(self, entries: np.ndarray) -> PoolSide:
        rows = self._rows[entries]
        return PoolSide(rows, self.group_of_row[rows], self._film_keys[entries], self._group_keys[entries])

    def digest(self) -> bytes:
        """Return bytes that tell any two sets of films apart, and no two orders of the same films."""
        names = np.array([text_key(name) for name in self.class_names], dtype=np.uint64)
        sides = np.array([1, 2], dtype=np.uint64) @ self._may_stand.astype(np.uint64)
        entries = np.stack([names[self._class_ids], self._film_keys, self._group_keys, sides], axis=1)
        return entries[np.lexsort(entries.T)].tobytes()

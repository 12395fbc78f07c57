"""What lies in several splits: a patient, a group, copies of a film, or what these join in a chain."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fewshot_cxr.evaluation.audit.patients import films_of
from fewshot_cxr.evaluation.audit.result import ExactDuplicates, Leak, NearDuplicate
from fewshot_cxr.records import Records


def find_leaks(
    records: Records,
    exact: Iterable[ExactDuplicates] = (),
    near: Iterable[NearDuplicate] = (),
    possible: Iterable[NearDuplicate] = (),
) -> tuple[Leak, ...]:
    """Find what lies in several splits; a film without a split lies in none, but joins others.

    In this order: rows that name one file with two splits, patients, groups, copies, and last chains (film 1 and 2
    share a patient, 2 and 3 a group). What is part of an earlier leak is not told again. Only films in a split are
    named.
    """
    # Sets: lists that were joined, one for each split, may name the same file twice.
    splits_of: dict[str, set[str]] = {}
    for film in records:
        splits_of.setdefault(film.path, set())
        if film.split:
            splits_of[film.path].add(film.split)
    sets: list[tuple[str, str | None, tuple[str, ...]]] = []
    for by, column in (("patient", "patient_id"), ("group", "group_id")):
        sets += [(by, name, tuple(film.path for film in own)) for name, own in films_of(records, column).items()]
    sets += [("exact_duplicate", None, group.paths) for group in exact]
    sets += [("near_duplicate", None, (pair.a, pair.b)) for pair in near]
    sets += [("possible_duplicate", None, (pair.a, pair.b)) for pair in possible]
    leaks = _conflicting_rows(records, splits_of)
    told: dict[str, set[int]] = {}
    for by, name, paths in (*sets, *(("chain", None, paths) for paths in _chains([paths for *_, paths in sets]))):
        named = tuple(path for path in paths if splits_of[path])
        splits = sorted({split for path in named for split in splits_of[path]})
        if len(splits) < 2:
            continue
        # A chain is told by any leak along it, everything else by a leak that holds all of it.
        known = [told.get(path, set()) for path in named]
        if set.union(*known) if by == "chain" else set.intersection(*known):
            continue
        for path in named:
            told.setdefault(path, set()).add(len(leaks))
        leaks.append(Leak(by, name, tuple(splits), named))
    return tuple(leaks)


def _conflicting_rows(records: Records, splits_of: dict[str, set[str]]) -> list[Leak]:
    return [
        Leak("row", f"row {problem.row}", tuple(sorted({*splits_of[problem.path], problem.clash})), (problem.path,))
        for problem in records.problems
        if problem.kind == "split_conflict" and problem.path in splits_of
    ]


def _chains(sets: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the films that the sets join, where more than one set does."""
    numbers: dict[str, int] = {}
    ends = [(place, numbers.setdefault(path, len(numbers))) for place, paths in enumerate(sets) for path in paths]
    if not ends:
        return []
    of_set, of_film = np.array(ends, dtype=np.int64).T
    size = len(sets) + len(numbers)
    graph = coo_array((np.ones(len(ends), dtype=np.int8), (of_set, len(sets) + of_film)), shape=(size, size))
    parts = connected_components(graph, directed=False)[1]
    n_sets = np.bincount(parts[: len(sets)], minlength=parts.max() + 1)
    chains: dict[int, list[str]] = {}
    for path, part in zip(numbers, parts[len(sets) :].tolist(), strict=True):
        if n_sets[part] > 1:
            chains.setdefault(part, []).append(path)
    return [tuple(paths) for paths in chains.values()]

"""What the records tell of patients: contradictory labels, views, children, and what lies in several splits."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fewshot_cxr.data.readers.cells import is_normal
from fewshot_cxr.evaluation.audit.result import (
    Children,
    ContradictoryPatient,
    ExactDuplicates,
    Leak,
    Measure,
    NearDuplicate,
    Views,
)
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.metrics.association import cramers_v, cross_table
from fewshot_cxr.records import Record, Records

ADULT_YEARS = 18


def contradictory_patients(records: Records) -> tuple[ContradictoryPatient, ...]:
    """Find patients whose films carry findings that exclude each other.

    In a set of single-label films: films of one patient with different findings. In a multi-label set (one film at
    least has several findings) only "normal" or "No Finding" beside another finding, on one film or over several: two
    films of different findings contradict nothing there. A patient may also have changed between two films; whether
    that is so, dates tell, which no record has.
    """
    is_multi_label = any(len(film.findings) > 1 for film in records)
    found = _films_of_two_labels(records)
    for patient, films in films_of(records, "patient_id").items():
        names = tuple(sorted({name for film in films for name in film.findings}))
        n_normal = sum(is_normal(name) for name in names)
        if len(names) > 1 and (0 < n_normal < len(names) or not is_multi_label):
            found.append(ContradictoryPatient(patient, names, len(films), tuple(film.path for film in films)))
    return tuple(found)


def _films_of_two_labels(records: Records) -> list[ContradictoryPatient]:
    film_of = {film.path: film for film in records}
    names_of: dict[str, set[str]] = {}
    for problem in records.problems:
        if problem.kind == "finding_conflict":
            film = film_of.get(problem.path)
            own = names_of.setdefault(problem.path, set(film.findings if film else ()))
            own.update(problem.clash.split("|"))
    return [
        ContradictoryPatient(getattr(film_of.get(path), "patient_id", None) or path, tuple(sorted(names)), 1, (path,))
        for path, names in names_of.items()
    ]


def contradiction_rule(records: Records) -> str:
    """Say in a sentence what `contradictory_patients` counted."""
    if any(len(film.findings) > 1 for film in records):
        return "multi-label set: a patient is contradictory when normal (No Finding) stands beside another finding"
    return "single-label set: a patient is contradictory when its films have different findings"


def association(rows: list[str], columns: list[str], *, what: str) -> Measure:
    """Return Cramer's V of two columns of films, or why it cannot be assessed.

    Args:
        rows: the finding of each film.
        columns: source or view of each of these films.
        what: the word for the columns: "source", "view".
    """
    for name, values in ((what, columns), ("finding", rows)):
        if not values:
            return Measure.impossible(f"no {what} is stated")
        if len(set(values)) == 1:
            return Measure.impossible(f"one {name}")
    counts = np.array([list(line.values()) for line in cross_table(rows, columns).values()])
    findings = tuple(sorted(set(rows)))
    corrected = cramers_v(counts, is_corrected=True)
    return Measure(Estimate(cramers_v(counts)), corrected, chance=0.0, n_films=len(rows), findings=findings)


def tabulate(records: Iterable[Record], column: str) -> dict[str, dict[str, int]]:
    """Count films by finding and a column ("source", "view"); a film counts under each of its findings."""
    pairs = [(name, getattr(film, column) or "not stated") for film in records for name in film.findings]
    return cross_table([name for name, _ in pairs], [value for _, value in pairs])


def views(records: Records) -> Views:
    """Tell how findings and views go together; Cramer's V is over the single-label films with a view."""
    stated = [(film.finding, film.view) for film in records if len(film.findings) == 1 and film.view]
    measure = association([name for name, _ in stated], [view for _, view in stated], what="view")
    return Views(tabulate(records, "view"), measure)


def children_among_adults(records: Records) -> Children:
    """Count films of children and adults by finding; a film without an age counts as neither."""
    aged = [(film, film.age_years < ADULT_YEARS) for film in records if film.age_years is not None]
    if not aged:
        return Children(False, "cannot be assessed: no ages", n_unknown=len(records))
    by_finding: dict[str, dict[str, int]] = {}
    for film, is_child in aged:
        for name in film.findings:
            counts = by_finding.setdefault(name, {"children": 0, "adults": 0})
            counts["children" if is_child else "adults"] += 1
    n_children = sum(is_child for _, is_child in aged)
    return Children(
        True,
        n_children=n_children,
        n_adults=len(aged) - n_children,
        n_unknown=len(records) - len(aged),
        by_finding=dict(sorted(by_finding.items())),
    )


def films_of(records: Records, column: str) -> dict[str, list[Record]]:
    """Return the films of each patient ("patient_id") or group ("group_id"), by name; those that state none are out."""
    members: dict[str, list[Record]] = {}
    for film in records:
        name = getattr(film, column)
        if name:
            members.setdefault(name, []).append(film)
    return dict(sorted(members.items()))


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

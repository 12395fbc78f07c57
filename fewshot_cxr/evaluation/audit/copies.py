"""What an audit says of copies, put to use: copies stay together, and exact ones go."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fewshot_cxr._checks import lookup
from fewshot_cxr.data import patient_groups
from fewshot_cxr.evaluation.audit.result import Audit, ExactDuplicates
from fewshot_cxr.records import Problem, Record, Records

COPIES = {"group": "keep all copies, in one group", "drop": "keep the first of exact copies, and group the others"}
_MOST_NAMES = 3


def join_copies(records: Records, audit: Audit, *, copies: str = "group") -> Records:
    """Put the copies that an audit has found, and whoever is joined to them, into one group each.

    Exact, near and possible duplicates count alike, so that no split made of the result has a leak by copies. A group
    holds all films of the patients and groups that the copies join, and is called after the first of them.

    Args:
        records: the films that were audited.
        audit: of `audit_films`.
        copies: "group" keeps all films; "drop" keeps the first of exact copies that agree in their findings, and none
            of those that do not: which is right, nobody knows. Copies that were saved anew are grouped either way.

    Returns:
        The films with their groups, in their order. Notes count what was done; dropped films are problems.

    Raises:
        ValueError: the audit is of other films, splits, findings or groups, or `copies` is neither.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> from fewshot_cxr.evaluation import audit_films
        >>> with TemporaryDirectory() as folder:
        ...     films = Records(tuple(Record(f"{name}.png", ("normal",), name) for name in ("p1", "p2")), folder)
        ...     for film in films: Image.new("L", (32, 32)).save(films.file(film))  # one picture, two patients
        ...     [film.group_id for film in join_copies(films, audit_films(films, progress=None))]
        ['copies of p1.png', 'copies of p1.png']
    """
    lookup(COPIES, copies, what="way with copies")
    if audit.data_hash != records.data_hash:
        raise ValueError(
            f"the audit is of other films (hash {audit.data_hash[:12]}, these have {records.data_hash[:12]}): audit "
            "these, read with the same flags (fscxr data audit --json); films whose patients have other names in each "
            "run (DICOM without --salt-file) need a manifest first (fscxr data read)"
        )
    pairs = [(pair.a, pair.b) for pair in (*audit.near_duplicates, *audit.possible_duplicates)]
    parts = _joined_groups(records.films, [*pairs, *(one.paths for one in audit.exact_duplicates)]).tolist()
    names: dict[int, str] = {}
    films = [
        film if part < 0 else replace(film, group_id=names.setdefault(part, f"copies of {film.path}"))
        for film, part in zip(records, parts, strict=True)
    ]
    dropped = _dropped(audit.exact_duplicates) if copies == "drop" else ()
    sizes = Counter(part for part in parts if part >= 0)
    notes = (*records.notes, *_join_notes(sizes), *_drop_notes(records, audit, dropped))
    return replace(records, films=tuple(films), notes=notes).with_problems(dropped)


def _joined_groups(films: Sequence[Record], sets: Iterable[Sequence[str]]) -> np.ndarray:
    """Return a number for each film that copies join to another group, int64, shape (N,); -1 for all other films."""
    groups = patient_groups(films)
    rows: dict[str, list[int]] = {}
    for row, film in enumerate(films):
        rows.setdefault(film.path, []).append(row)
    ends = [(groups[rows[paths[0]][0]], groups[row]) for paths in sets for path in paths for row in rows[path]]
    n_groups = int(groups.max(initial=-1)) + 1
    heads, tails = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(heads), dtype=np.int8), (heads, tails)), shape=(n_groups, n_groups))
    parts = connected_components(graph, directed=False)[1]
    joined: np.ndarray = np.where(np.bincount(parts)[parts] > 1, parts, -1)[groups].astype(np.int64)
    return joined


def _dropped(exact: Sequence[ExactDuplicates]) -> tuple[Problem, ...]:
    reasons = dict.fromkeys(_contradictory(exact), "a copy of it has other findings")
    for one in exact:
        first, *others = dict.fromkeys(one.paths)
        for path in others:
            reasons.setdefault(path, f"an exact copy of {first}")
    return tuple(Problem(None, path, reason) for path, reason in reasons.items())


def _contradictory(exact: Iterable[ExactDuplicates]) -> list[str]:
    return list(dict.fromkeys(path for one in exact if not one.same_label for path in one.paths))


def _join_notes(sizes: Mapping[int, int]) -> list[str]:
    if not sizes:
        return ["copies join no films that were apart"]
    largest = max(sizes.values())
    return [f"films that copies join: {sum(sizes.values())}, in groups: {len(sizes)}, the largest of {largest}"]


def _drop_notes(records: Records, audit: Audit, dropped: Sequence[Problem]) -> list[str]:
    notes = [f"exact copies dropped: {len(dropped)}"] if dropped else []
    if clashing := _contradictory(audit.exact_duplicates):
        named = ", ".join(clashing[:_MOST_NAMES]) + (", ..." if len(clashing) > _MOST_NAMES else "")
        way = "all dropped" if dropped else "kept, --copies drop leaves them out"
        findings = _commonest_clash(records, audit.exact_duplicates)
        notes.append(f"exact copies with different findings: {len(clashing)} ({way}): {named}; {findings}")
    told = {*clashing, *(problem.path for problem in dropped)}
    pairs = [(p.a, p.b) for p in (*audit.near_duplicates, *audit.possible_duplicates) if not p.same_label]
    if left := [pair for pair in pairs if told.isdisjoint(pair)]:
        named = ", ".join(" and ".join(pair) for pair in left[:_MOST_NAMES])
        notes.append(f"pairs of other copies with different findings: {len(left)} (kept): {named}")
    return notes


def _commonest_clash(records: Records, exact: Iterable[ExactDuplicates]) -> str:
    """Say which findings clash most often: two names of one finding, perhaps."""
    findings = {film.path: "|".join(sorted(film.findings)) for film in records}
    clashes = Counter(
        " and ".join(sorted({findings[path] for path in one.paths})) for one in exact if not one.same_label
    )
    names, count = clashes.most_common(1)[0]
    return f"most often {names} ({count} times; two names of one finding are joined by data read --map)"

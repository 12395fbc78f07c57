"""Splits by patient: all films of a patient, and of whatever shares a group with it, lie on one side."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fewshot_cxr.records import Record, Records
from fewshot_cxr.seeding import hashed_bits, text_key


def patient_groups(records: Iterable[Record]) -> np.ndarray:
    """Number the groups that must stay together: films joined by a group id or a patient id, directly or in a chain.

    Returns:
        int64, shape (N,). A film with neither id is a group of its own.
    """
    films = list(records)
    nodes: dict[tuple[str, str], int] = {}
    edges = []
    for row, film in enumerate(films):
        for kind, name in (("group", film.group_id), ("patient", film.patient_id)):
            if name:
                edges.append((row, len(films) + nodes.setdefault((kind, name), len(nodes))))
    size = len(films) + len(nodes)
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), dtype=np.int8), (ends[:, 0], ends[:, 1])), shape=(size, size))
    labels = connected_components(graph, directed=False)[1][: len(films)]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def split_by_patient(
    records: Records,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    *,
    seed: int = 0,
    names: Sequence[str] = ("train", "val", "test"),
) -> tuple[Records, ...]:
    """Divide films into parts of whole patients, each with about its share of every finding.

    A group counts as its rarest finding. Within a finding the groups are taken in an order that follows from `seed`
    and their first path alone, and each goes to the part that is furthest behind its share; the last ones go to parts
    that would else have none.

    Args:
        records: films with patients or groups; a film without counts as its own patient.
        fractions: share of each part; they sum to 1.
        seed: of the order.
        names: of the parts, set as `Record.split`.

    Returns:
        One Records for each name, in the order of `records`. A note says where a part got no film of a finding.

    Raises:
        ValueError: fractions below 0 or not summing to 1, or another number of names.
    """
    if len(fractions) != len(names):
        raise ValueError(f"{len(names)} parts ({', '.join(names)}) need as many fractions, got {len(fractions)}")
    if not (all(fraction >= 0 for fraction in fractions) and abs(sum(fractions) - 1) < 1e-6):
        raise ValueError(f"fractions must be 0 or more and sum to 1, got {', '.join(f'{f:g}' for f in fractions)}")
    part_of_group = _assign(records, np.asarray(fractions, dtype=float), seed)
    parts = part_of_group[patient_groups(records)]
    split = [
        replace(
            records,
            films=tuple(replace(film, split=name) for film, part in zip(records, parts, strict=True) if part == index),
        )
        for index, name in enumerate(names)
    ]
    notes = tuple(
        f"the split {part_name} has no film of {finding}"
        for part_name, fraction, part in zip(names, fractions, split, strict=True)
        for finding in records.findings
        if fraction > 0 and finding not in part.findings
    )
    result = tuple(replace(part, notes=part.notes + notes) for part in split)
    check_no_leak(*result)
    return result


def check_no_leak(*parts: Records) -> None:
    """Refuse parts that share a patient or a group.

    Raises:
        ValueError: names one shared patient and both parts.
    """
    for kind in ("group_id", "patient_id", "path"):
        seen: dict[str, int] = {}
        for number, part in enumerate(parts):
            for film in part:
                name = getattr(film, kind)
                if name and seen.setdefault(name, number) != number:
                    here, there = (_name(parts, index) for index in (number, seen[name]))
                    what = {"group_id": "group", "patient_id": "patient", "path": "film"}[kind]
                    raise ValueError(f"{what} {name} is in {there} and in {here}: split by patient (fscxr data split)")


def _name(parts: Sequence[Records], index: int) -> str:
    return parts[index][0].split or f"part {index + 1}"


def _assign(records: Records, fractions: np.ndarray, seed: int) -> np.ndarray:
    """Return the part of each group."""
    counts = Counter(name for film in records for name in film.findings)
    members: dict[int, list[Record]] = {}
    for film, group in zip(records, patient_groups(records).tolist(), strict=True):
        members.setdefault(group, []).append(film)

    def stratum(films: list[Record]) -> str:
        return min(
            (name for film in films for name in film.findings), key=lambda name: (counts[name], name), default=""
        )

    strata: dict[str, list[int]] = {}
    for group, films in members.items():
        strata.setdefault(stratum(films), []).append(group)
    part_of_group = np.zeros(len(members), dtype=np.int64)
    for groups in strata.values():
        keys = {group: int(hashed_bits(seed, text_key(min(film.path for film in members[group])))) for group in groups}
        filled = np.zeros(len(fractions))
        total = sum(len(members[group]) for group in groups)
        for n_taken, group in enumerate(sorted(groups, key=keys.__getitem__)):
            behind = fractions * total - filled
            is_empty = (filled == 0) & (fractions > 0)
            if len(groups) - n_taken <= is_empty.sum():
                behind[~is_empty] = -np.inf
            part = int(np.argmax(behind))
            part_of_group[group] = part
            filled[part] += len(members[group])
    return part_of_group

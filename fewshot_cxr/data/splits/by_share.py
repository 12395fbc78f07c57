"""Parts by their share of the films, and of every finding: train, val and test, or folds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.data.splits.groups import NAMES, assert_no_leak, patient_groups, take_parts
from fewshot_cxr.records import Records
from fewshot_cxr.seeding import hashed_bits, text_key

_TOLERANCE = 0.05


def split_by_patient(
    records: Records, fractions: Sequence[float] = (0.7, 0.1, 0.2), *, seed: int = 0, names: Sequence[str] = NAMES
) -> tuple[Records, ...]:
    """Divide films into parts of whole patients, each with about its share of every finding.

    The division follows from `seed`, the findings and the paths alone: neither the order of rows nor the names of
    patients matter. Films of several findings are dealt out by iterative stratification.

    Args:
        records: films with patients or groups; a film without counts as its own patient.
        fractions: share of each part; they sum to 1.
        seed: of the order in which patients are dealt out.
        names: of the parts, set as `Record.split`.

    Returns:
        One Records for each name, in the order of `records`. Notes say where a part has no film of a finding, or a
        share that is off by more than 5 points and more than one patient.

    Raises:
        ValueError: fractions below 0 or not summing to 1, or another number of names.

    Examples:
        >>> from fewshot_cxr import Record
        >>> films = tuple(Record(f"{n}.png", ("normal",), patient_id=f"p{n // 2}") for n in range(20))  # 10 patients
        >>> train, val, test = split_by_patient(Records(films, "."), (0.7, 0.1, 0.2))
        >>> len(train), len(val), len(test)
        (14, 2, 4)
        >>> {film.patient_id for film in train} & {film.patient_id for film in test}
        set()
    """
    parts, notes = share_out(records, fractions, names, seed=seed)
    return take_parts(records, parts, names, notes)


def share_out(
    records: Records, fractions: Sequence[float], names: Sequence[str] = NAMES, *, seed: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the part of each film, int64, shape (N,), and the notes on their balance: see `split_by_patient`."""
    if len(fractions) != len(names):
        raise ValueError(f"{len(names)} parts ({', '.join(names)}) need as many fractions, got {len(fractions)}")
    if not (all(fraction >= 0 for fraction in fractions) and abs(sum(fractions) - 1) < 1e-6):
        raise ValueError(f"fractions must be 0 or more and sum to 1, got {', '.join(f'{f:g}' for f in fractions)}")
    table, shares = group_table(records, seed), np.asarray(fractions, dtype=float)
    has_several = any(len(film.findings) > 1 for film in records)
    parts = (_assign_iteratively if has_several else _assign_by_rarest)(table, shares)
    return parts[table.of_film], _balance_notes(table, parts, shares, names)


def k_folds(records: Records, n_folds: int = 5, *, seed: int = 0) -> tuple[Records, ...]:
    """Divide films into folds of whole patients, alike in every finding; `fold_split` makes a split of them.

    Returns:
        `n_folds` Records with the splits "fold0", "fold1" and so on; each film is in exactly one. Notes as from
        `split_by_patient`.

    Raises:
        ValueError: fewer than 2 folds, or fewer patients than folds.

    Examples:
        >>> from fewshot_cxr import Record
        >>> films = tuple(Record(f"{n}.png", ("normal",), patient_id=f"p{n // 2}") for n in range(20))
        >>> [len(fold) for fold in k_folds(Records(films, "."), 5)]
        [4, 4, 4, 4, 4]
    """
    check_at_least(n_folds, 2, name="n_folds")
    table = group_table(records, seed)
    if len(table.counts) < n_folds:
        raise ValueError(f"n_folds is {n_folds}, but the films are of {len(table.counts)} patients: take fewer folds")
    shares, names = np.full(n_folds, 1 / n_folds), [f"fold{number}" for number in range(n_folds)]
    parts = _assign_iteratively(table, shares)
    return take_parts(records, parts[table.of_film], names, _balance_notes(table, parts, shares, names))


def fold_split(folds: Sequence[Records], test_fold: int) -> tuple[Records, Records, Records]:
    """Return (train, val, test): one fold is test, the next one (after the last, the first) val, the others train.

    Raises:
        ValueError: fewer than 3 folds, no such fold, or folds that share a patient.

    Examples:
        >>> from fewshot_cxr import Record
        >>> films = Records(tuple(Record(f"{n}.png", ("normal",), patient_id=f"p{n // 2}") for n in range(20)), ".")
        >>> [(part[0].split, len(part)) for part in fold_split(k_folds(films, 5), test_fold=0)]
        [('train', 12), ('val', 4), ('test', 4)]
    """
    check_at_least(len(folds), 3, name="the number of folds for train, val and test")
    if not 0 <= test_fold < len(folds):
        raise ValueError(f"test_fold must be 0 to {len(folds) - 1}, got {test_fold}")
    val_fold = (test_fold + 1) % len(folds)
    chosen = {"train": [at for at in range(len(folds)) if at not in (test_fold, val_fold)]}
    chosen |= {"val": [val_fold], "test": [test_fold]}
    train, val, test = (
        replace(folds[0], films=tuple(replace(film, split=name) for at in numbers for film in folds[at]))
        for name, numbers in chosen.items()
    )
    assert_no_leak(train, val, test)
    return train, val, test


@dataclass(frozen=True)
class GroupTable:
    """Films of every group by finding.

    `of_film` is the group of each film, int64, shape (N,). `counts` is the number of films, int64, shape (n_groups,
    n_findings + 1): a column for each of `findings`, then one for all films. `keys` orders the groups by chance,
    uint64, shape (n_groups,): it follows from the seed and the first path of each group alone.
    """

    findings: tuple[str, ...]
    of_film: np.ndarray
    counts: np.ndarray
    keys: np.ndarray


def group_table(records: Records, seed: int) -> GroupTable:
    """Count the films of every group, see `GroupTable`."""
    findings = records.findings
    column = {name: index for index, name in enumerate(findings)}
    groups = patient_groups(records)
    n_groups = int(groups.max(initial=-1)) + 1
    counts = np.zeros((n_groups, len(findings) + 1), dtype=np.int64)
    first_path: dict[int, str] = {}
    for film, group in zip(records, groups.tolist(), strict=True):
        counts[group, [*{column[name] for name in film.findings}, -1]] += 1
        first_path[group] = min(film.path, first_path.get(group, film.path))
    words = np.array([text_key(first_path[group]) for group in range(n_groups)], dtype=np.uint64)
    return GroupTable(findings, groups, counts, hashed_bits(seed, words))


def _assign_by_rarest(table: GroupTable, fractions: np.ndarray) -> np.ndarray:
    """Return the part of each group, int64, shape (n_groups,), for films of one finding each.

    A group counts, with all its films, as its rarest finding. Within a finding, groups are taken by chance, and each
    goes to the part that is furthest behind its share; the last ones go to parts that would else have none.
    """
    totals = table.counts[:, :-1].sum(axis=0)
    rank = np.empty_like(totals)
    rank[np.lexsort((np.arange(len(totals)), totals))] = np.arange(len(totals))
    stratum = np.where(table.counts[:, :-1] > 0, rank, len(rank)).min(axis=1, initial=len(rank))
    part_of_group = np.zeros(len(table.counts), dtype=np.int64)
    sizes = table.counts[:, -1]
    for number in np.unique(stratum):
        groups = np.flatnonzero(stratum == number)
        filled = np.zeros(len(fractions))
        total = sizes[groups].sum()
        for n_taken, group in enumerate(groups[np.argsort(table.keys[groups])]):
            behind = fractions * total - filled
            is_empty = (filled == 0) & (fractions > 0)
            if len(groups) - n_taken <= is_empty.sum():
                behind[~is_empty] = -np.inf
            part = int(np.argmax(behind))
            part_of_group[group] = part
            filled[part] += sizes[group]
    return part_of_group


def _assign_iteratively(table: GroupTable, fractions: np.ndarray) -> np.ndarray:
    """Return the part of each group, int64, shape (n_groups,), for films of any number of findings.

    The finding with the fewest films left is dealt out first: each of its groups goes to the part that lacks most of it
    and, where parts lack it alike, most films. Groups with twice the films come before, by chance among themselves,
    because a large patient that comes last cannot be made up for; without that the shares come out far worse.

    Source: Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-Label Data", 2011, algorithm 1, with groups
    in place of examples.
    """
    left = table.counts.sum(axis=0)
    lacking = fractions[:, None] * left
    has_any = np.zeros(lacking.shape, dtype=bool)
    has_any[fractions == 0] = True
    lacking[fractions == 0] = -np.inf
    part_of_group = np.full(len(table.counts), -1, dtype=np.int64)
    while left.any():
        column = int(np.argmin(np.where(left > 0, left, np.iinfo(left.dtype).max)))
        groups = np.flatnonzero((part_of_group < 0) & (table.counts[:, column] > 0))
        magnitude = np.floor(np.log2(table.counts[groups, column]))
        for n_taken, group in enumerate(groups[np.lexsort((table.keys[groups], -magnitude))]):
            is_empty = ~has_any[:, column]
            must_fill = len(groups) - n_taken <= is_empty.sum()
            wish = np.where(is_empty, np.inf, lacking[:, column]) if must_fill else lacking[:, column]
            part = int(np.lexsort((-lacking[:, -1].round(6), -wish.round(6)))[0])
            part_of_group[group] = part
            lacking[part] -= table.counts[group]
            has_any[part] |= table.counts[group] > 0
            left = left - table.counts[group]
    return part_of_group


def _balance_notes(
    table: GroupTable, part_of_group: np.ndarray, fractions: np.ndarray, names: Sequence[str]
) -> tuple[str, ...]:
    """Say where a part has no film of a finding, or a share that is off by over 5 points and over one patient."""
    notes = []
    n_parts = int((fractions > 0).sum())
    for column, finding in enumerate(table.findings):
        films = table.counts[:, column]
        n_patients, total = int((films > 0).sum()), int(films.sum())
        for index in np.flatnonzero(fractions > 0).tolist():
            found, wanted = int(films[part_of_group == index].sum()), fractions[index] * total
            if not found:
                too_few = f": {_patients(n_patients)} for {n_parts} parts" if n_patients < n_parts else ""
                notes.append(f"the split {names[index]} has no film of {finding}{too_few}")
            elif abs(found - wanted) > max(_TOLERANCE * total, films.max()):
                notes.append(
                    f"the split {names[index]} has {found / total:.0%} of the films of {finding} "
                    f"instead of {fractions[index]:.0%}"
                )
    return tuple(notes)


def _patients(count: int) -> str:
    return f"{count} patient has it," if count == 1 else f"{count} patients have it,"

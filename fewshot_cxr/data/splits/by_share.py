"""Parts by their share of the films: train, val and test, or folds."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.data.splits.groups import NAMES, assert_no_leak, take_parts
from fewshot_cxr.data.splits.strata import assign_by_rarest, assign_iteratively, balance_notes, group_table
from fewshot_cxr.records import Records


def split_by_patient(
    records: Records,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    *,
    seed: int = 0,
    names: Sequence[str] = NAMES,
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
    parts = (assign_iteratively if has_several else assign_by_rarest)(table, shares)
    return parts[table.of_film], balance_notes(table, parts, shares, names)


def k_folds(records: Records, n_folds: int = 5, *, seed: int = 0) -> tuple[Records, ...]:
    """Divide films into folds of whole patients, alike in every finding; `fold_split` makes a split of them.

    Returns:
        `n_folds` Records with the splits "fold0", "fold1" and so on; each film is in exactly one. Notes as from
        `split_by_patient`.

    Raises:
        ValueError: fewer than 2 folds, or fewer patients than folds.
    """
    check_at_least(n_folds, 2, name="n_folds")
    table = group_table(records, seed)
    if len(table.counts) < n_folds:
        raise ValueError(f"n_folds is {n_folds}, but the films are of {len(table.counts)} patients: take fewer folds")
    shares, names = np.full(n_folds, 1 / n_folds), [f"fold{number}" for number in range(n_folds)]
    parts = assign_iteratively(table, shares)
    return take_parts(records, parts[table.of_film], names, balance_notes(table, parts, shares, names))


def fold_split(folds: Sequence[Records], test_fold: int) -> tuple[Records, Records, Records]:
    """Return (train, val, test): one fold is test, the next one (after the last, the first) val, the others train.

    Raises:
        ValueError: fewer than 3 folds, no such fold, or folds that share a patient.
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

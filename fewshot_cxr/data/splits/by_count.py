"""Test and validation parts with so many films of each class, as published comparisons use them."""

import numpy as np

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.data.splits.by_share import GroupTable, group_table
from fewshot_cxr.data.splits.groups import NAMES, take_parts
from fewshot_cxr.records import Records


def fixed_counts(
    records: Records, n_test: int = 60, n_val: int = 60, *, seed: int = 0
) -> tuple[Records, Records, Records]:
    """Put `n_test` and `n_val` films of each class into test and val, whole patients only, and the rest into train.

    The count is exact where patients add up to it; where they do not, it is the nearest that was found, and a note says
    so. A film of several findings counts for each. Classes come out equal: the parts do not show how common each is.

    Args:
        records: films with patients or groups; a film without counts as its own patient.
        n_test: films of each class.
        n_val: films of each class.
        seed: of the order in which patients are taken.

    Returns:
        (train, val, test), each in the order of `records`. Train has at least one film of each class.

    Raises:
        ValueError: a class has too few films or patients; it is named, with the largest counts that would do.
    """
    check_at_least(n_test, 1, name="n_test")
    check_at_least(n_val, 0, name="n_val")
    table = group_table(records, seed)
    parts, failed = _assign(table, n_test, n_val)
    if failed is not None:
        films = table.counts[:, failed]
        raise ValueError(
            f"{table.findings[failed]} has {films.sum()} films of {(films > 0).sum()} patients, which cannot give "
            f"{n_test} films to test, {n_val} to val and the rest to train: {_way_out(table, n_test, n_val, failed)}"
        )
    notes = [
        f"the split {NAMES[part]} has {found} films of {finding} instead of {wanted}: patients stay whole"
        for part, wanted in ((1, n_val), (2, n_test))
        for finding, found in zip(table.findings, table.counts[parts == part, :-1].sum(axis=0), strict=True)
        if found != wanted
    ]
    train, val, test = take_parts(records, parts[table.of_film], NAMES, notes)
    return train, val, test


def _way_out(table: GroupTable, n_test: int, n_val: int, failed: int) -> str:
    fewest = int(table.counts[:, :-1].sum(axis=0).min())
    for test in range(min(n_test, (fewest - 1) * n_test // (n_test + n_val)), 0, -1):
        val = max(test * n_val // n_test, min(n_val, 1))
        if _assign(table, test, val)[1] is None:
            return f"at most {test} and {val} would do"
    return f"leave {table.findings[failed]} out, or split by shares (--fractions)"


def _assign(table: GroupTable, n_test: int, n_val: int) -> tuple[np.ndarray, int | None]:
    """Return the part of each group, shape (n_groups,), and the column of a class that a part lacks (else None)."""
    counts = table.counts[:, :-1]
    parts = np.zeros(len(counts), dtype=np.int64)
    too_few = np.flatnonzero(counts.sum(axis=0) <= n_test + n_val)
    if len(too_few):
        return parts, int(too_few[np.argmin(counts.sum(axis=0)[too_few])])
    order = np.argsort(table.keys)
    for part, wanted, reserved in ((2, n_test, n_val + 1), (1, n_val, 1)):
        if not wanted:
            continue
        free = order[parts[order] == 0]
        most = counts[free].sum(axis=0) - reserved
        is_pure = (counts[free] > 0).sum(axis=1) == 1
        chosen = _choose(counts, free, wanted, most)
        if (counts[chosen].sum(axis=0) != wanted).any():
            # Patients of several findings may stand in the way of an exact count.
            other = _choose(counts, free[is_pure], wanted, most)
            chosen = min(chosen, other, key=lambda groups: int(abs(counts[groups].sum(axis=0) - wanted).sum()))
        parts[chosen] = part
        absent = np.flatnonzero(counts[chosen].sum(axis=0) == 0)
        if len(absent):
            return parts, int(absent[0])
    return parts, None


def _choose(counts: np.ndarray, free: np.ndarray, wanted: int, most: np.ndarray) -> np.ndarray:
    """Return groups out of `free` that have `wanted` films of each class, or nearly, and never more than `most`.

    Groups are taken while they fit, for the rarest class first. A class that misses its count has its groups of no
    other class chosen anew, this time by the sums that they can reach.
    """
    have = np.zeros(counts.shape[1], dtype=np.int64)
    chosen: dict[int, None] = {}
    for column in np.argsort(counts[free].sum(axis=0), kind="stable").tolist():
        for group in free[counts[free, column] > 0].tolist():
            if have[column] == wanted:
                break
            if group not in chosen and (have + counts[group] <= wanted).all():
                chosen[group] = None
                have += counts[group]
    pure = free[(counts[free] > 0).sum(axis=1) == 1]
    for column in np.flatnonzero(have != wanted).tolist():
        own = pure[counts[pure, column] > 0].tolist()
        kept = int(have[column]) - sum(int(counts[group, column]) for group in own if group in chosen)
        sizes = [int(counts[group, column]) for group in own]
        picked = _nearest_subset(sizes, wanted - kept, int(most[column]) - kept, may_be_empty=kept > 0)
        for group in own:
            chosen.pop(group, None)
        chosen.update((own[at], None) for at in picked)
    return np.array(sorted(chosen), dtype=np.int64)


def _nearest_subset(sizes: list[int], target: int, most: int, *, may_be_empty: bool) -> list[int]:
    """Return positions of sizes whose sum is nearest to `target` and at most `most`; of two as near, the smaller sum.

    Bit s of `sums[i]` says whether some of the first i sizes sum to s. No sum above twice the target can be nearest.
    """
    mask = (1 << min(most, 2 * target) + 1) - 1
    sums = [1]
    for size in sizes:
        sums.append((sums[-1] | sums[-1] << size) & mask)
        if sums[-1] >> target & 1:
            break
    reached = [total for total in range(0 if may_be_empty else 1, mask.bit_length()) if sums[-1] >> total & 1]
    total = min(reached, key=lambda reachable: abs(reachable - target), default=0)
    picked = []
    for at in range(len(sums) - 2, -1, -1):
        if not sums[at] >> total & 1:
            picked.append(at)
            total -= sizes[at]
    return picked

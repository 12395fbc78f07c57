"""Parts that are named beforehand: counts of films, a source, new findings, folds."""

from collections.abc import Sequence

import numpy as np

from fewshot_cxr._checks import check_at_least, lookup
from fewshot_cxr.data.splits.by_share import GroupTable, group_table, share_out
from fewshot_cxr.data.splits.groups import NAMES, patient_groups, take_parts
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

    Examples:
        >>> from fewshot_cxr import Record
        >>> films = tuple(Record(f"{name}/{n}.png", (name,)) for name in ("normal", "covid19") for n in range(5))
        >>> train, val, test = fixed_counts(Records(films, "."), n_test=2, n_val=1)
        >>> train.count_findings(), test.count_findings()
        ({'covid19': 2, 'normal': 2}, {'covid19': 2, 'normal': 2})
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


def leave_one_source_out(
    records: Records, *, val_fraction: float = 0.1, seed: int = 0
) -> dict[str, tuple[Records, Records, Records]]:
    """Test on each source in turn, after training on the others: does the encoder see findings, or hospitals?

    Test is the whole source and nothing else. A patient with films of that source and of others is in test alone: its
    films of other sources are left out, and a note says how many. Val is carved from the other sources by patient.

    Args:
        records: films that all state their source.
        val_fraction: share of the other sources' films, 0 or more and below 1.
        seed: of the validation films.

    Returns:
        (train, val, test) of each source, sorted by source.

    Raises:
        ValueError: fewer than 2 sources, a film without one, or a source whose patients leave no film to train on.

    Examples:
        >>> from fewshot_cxr import Record
        >>> films = tuple(Record(f"{name}/1.png", ("normal",), source=name) for name in ("lyon", "oslo", "turin"))
        >>> train, val, test = leave_one_source_out(Records(films, "."), val_fraction=0)["turin"]
        >>> [film.source for film in train], [film.source for film in test]
        (['lyon', 'oslo'], ['turin'])
    """
    if not 0 <= val_fraction < 1:
        raise ValueError(f"val_fraction must be 0 or more and below 1, got {val_fraction:g}")
    unknown = [film.path for film in records if not film.source]
    if unknown:
        raise ValueError(
            f"films without a source: {len(unknown)}, such as {unknown[0]}; drop them, or fill in the column"
        )
    sources = sorted({film.source for film in records if film.source})
    if len(sources) < 2:
        raise ValueError(f"leaving a source out needs 2 sources or more, got {', '.join(sources) or 'none'}")
    groups = patient_groups(records)
    return {source: _leave_out(records, groups, source, val_fraction, seed=seed) for source in sources}


def _leave_out(
    records: Records, groups: np.ndarray, source: str, val_fraction: float, *, seed: int
) -> tuple[Records, Records, Records]:
    is_source = np.array([film.source == source for film in records])
    is_shared = np.isin(groups, groups[is_source]) & ~is_source
    rest = np.flatnonzero(~is_source & ~is_shared)
    if not len(rest):
        raise ValueError(f"every patient has films of the source {source}: no film is left to train on")
    notes = []
    if is_shared.any():
        n_patients = len(np.unique(groups[is_shared]))
        notes.append(f"{is_shared.sum()} films of {n_patients} patients who are also in {source} are left out")
    fit = records.take(rest)
    unseen = sorted(set(records.take(np.flatnonzero(is_source)).findings) - set(fit.findings))
    if unseen:
        notes.append(f"only {source} has {', '.join(unseen)}: training on the other sources cannot learn it")
    part_of_film = np.where(is_source, 2, -1)
    part_of_film[rest], balance = share_out(fit, (1 - val_fraction, val_fraction), ("train", "val"), seed=seed)
    notes += balance
    train, val, test = take_parts(records, part_of_film, notes=notes)
    return train, val, test


def novel_classes(
    records: Records,
    novel: Sequence[str] = ("COVID-19",),
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    *,
    seed: int = 0,
) -> tuple[Records, Records, Records]:
    """Hold findings out whole, so that few-shot episodes on test meet findings that training has never seen.

    Films of a novel finding are in test alone, and so are all other films of their patients. The patients without one
    are divided by `split_by_patient`.

    Args:
        records: films with patients or groups; a film without counts as its own patient.
        novel: the findings to hold out.
        fractions: share of train, val and test of the patients without a novel finding.
        seed: of the order in which patients are dealt out.

    Returns:
        (train, val, test), each in the order of `records`. A note counts the films of known findings that came to test
        with their patients.

    Raises:
        ValueError: no or an unknown novel finding, or no patient without one.

    Examples:
        >>> from fewshot_cxr import Record
        >>> names = ["normal", "pneumonia"] * 5 + ["covid19"] * 2
        >>> films = Records(tuple(Record(f"{n}.png", (name,), f"p{n}") for n, name in enumerate(names)), ".")
        >>> train, val, test = novel_classes(films, ["covid19"], (0.8, 0.0, 0.2))
        >>> train.count_findings(), test.count_findings()
        ({'normal': 4, 'pneumonia': 4}, {'covid19': 2, 'normal': 1, 'pneumonia': 1})
    """
    if not novel:
        raise ValueError(f"novel names no finding; choose from {', '.join(records.findings)}")
    for name in novel:
        lookup(dict.fromkeys(records.findings), name, what="finding")
    groups = patient_groups(records)
    is_novel = np.array([not set(film.findings).isdisjoint(novel) for film in records])
    is_held = np.isin(groups, groups[is_novel])
    rest = np.flatnonzero(~is_held)
    if not len(rest):
        raise ValueError(f"every patient has a film of {', '.join(novel)}: no film is left to train on")
    part_of_film = np.full(len(records), 2)
    part_of_film[rest], balance = share_out(records.take(rest), fractions, seed=seed)
    notes = list(balance)
    n_along = int((is_held & ~is_novel).sum())
    if n_along:
        notes.append(f"{n_along} films without a novel finding are in test, because their patients have one")
    train, val, test = take_parts(records, part_of_film, notes=notes)
    return train, val, test

"""From the part of each film to the parts, and what to say about their balance."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from fewshot_cxr.data.splits.groups import assert_no_leak
from fewshot_cxr.data.splits.strata import GroupTable
from fewshot_cxr.records import Records

NAMES = ("train", "val", "test")
_TOLERANCE = 0.05


def take_parts(
    records: Records, part_of_film: np.ndarray, names: Sequence[str] = NAMES, notes: Iterable[str] = ()
) -> tuple[Records, ...]:
    """Return the films of each part, in their order, with its name as `split` and with these notes; check for leaks.

    Args:
        records: the films.
        part_of_film: int64, shape (N,): an index of `names`, or -1 for a film that is left out.
        names: of the parts.
        notes: put behind those of `records`.
    """
    parts = tuple(
        replace(
            records,
            films=tuple(replace(records[row], split=name) for row in np.flatnonzero(part_of_film == index).tolist()),
            notes=records.notes + tuple(notes),
        )
        for index, name in enumerate(names)
    )
    assert_no_leak(*parts)
    return parts


def balance_notes(
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

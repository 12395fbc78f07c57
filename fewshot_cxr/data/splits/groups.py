"""What must stay together, the parts that films are divided into, and the check that it did stay together."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from fewshot_cxr.records import Record, Records
from fewshot_cxr.unknown_patients import is_unknown, with_unknown_noted

NAMES = ("train", "val", "test")
_WAY_OUT = "split by patient (fscxr data split)"


def patient_groups(records: Iterable[Record]) -> np.ndarray:
    """Number the groups that must stay together: films joined by a group id or a patient id, directly or in a chain.

    Returns:
        int64, shape (N,). A film with neither id is a group of its own.

    Examples:
        >>> twin = Record("3.png", ("normal",), patient_id="p2", group_id="near-copies")
        >>> films = [Record("1.png", ("normal",), "p1", "near-copies"), Record("2.png", ("covid19",), "p2"), twin]
        >>> patient_groups([*films, Record("4.png", ("normal",), "p3")]).tolist()  # p1 and p2 are joined by a copy
        [0, 0, 0, 1]
    """
    before: list[int] = []  # of each film one that it is joined to, the first of its group itself
    first_with: dict[tuple[str, str], int] = {}
    for row, film in enumerate(records):
        before.append(row)
        for kind, name in (("group", film.group_id), ("patient", film.patient_id)):
            if name:
                first, last = sorted(_first_of(before, end) for end in (row, first_with.setdefault((kind, name), row)))
                before[last] = first
    firsts = np.array([_first_of(before, row) for row in range(len(before))], dtype=np.int64)
    return np.unique(firsts, return_inverse=True)[1].astype(np.int64)


def patient_ids(records: Sequence[Record]) -> list[int | None]:
    """Return `patient_groups` as `Embeddings` and `Answers` take them: None for a film of an unknown patient.

    Examples:
        >>> known, unknown = Record("1.png", ("normal",), patient_id="p1"), Record("2.png", ("normal",))
        >>> patient_ids([known, unknown, Record("3.png", ("covid19",), patient_id="p1")])
        [0, None, 0]
    """
    groups = patient_groups(records).tolist()
    return [None if is_unknown(film) else group for film, group in zip(records, groups, strict=True)]


def _first_of(before: list[int], row: int) -> int:
    while before[row] != row:
        before[row] = before[before[row]]  # half as far the next time
        row = before[row]
    return row


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
    records = with_unknown_noted(records)
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


def assert_no_leak(*parts: Records) -> None:
    """Refuse parts that share a film, a patient or a group, directly or in a chain (p1 - g1 - p2).

    Args:
        parts: films of one side each; one alone is checked by its column `split`, where a film without a split lies on
            no side but still joins its patient and its group.

    Raises:
        ValueError: names what two parts share, and both.

    Examples:
        >>> train = Records((Record("1.png", ("normal",), "p1", split="train"),), ".")
        >>> test = Records((Record("2.png", ("covid19",), "p1", split="test"),), ".")
        >>> assert_no_leak(train, test)
        Traceback (most recent call last):
        ValueError: patient p1 is in train and in test: split by patient (fscxr data split)
    """
    films = [film for part in parts for film in part]
    splits = [film.split for film in films] if len(parts) == 1 else _names_of_parts(parts)
    roots = [root for part in parts for root in [part.root.resolve()] * len(part)]
    for what, keys in (
        ("group", [film.group_id for film in films]),
        ("patient", [film.patient_id for film in films]),
        ("film", [(root, film.path) for root, film in zip(roots, films, strict=True)]),
    ):
        for key, there, here in _shared(keys, splits):
            name = key[1] if isinstance(key, tuple) else key
            raise ValueError(f"{what} {name} is in {there} and in {here}: {_WAY_OUT}")
    if None in splits:
        _refuse_chain(films, splits)


def _refuse_chain(films: Sequence[Record], splits: Sequence[str | None]) -> None:
    """Refuse a chain over films of no split, which join what shares nothing by itself."""
    groups = patient_groups(films).tolist()
    for group, there, here in _shared(groups, splits):
        members = [(film.path, side) for film, of, side in zip(films, groups, splits, strict=True) if of == group]
        first, other = (next(path for path, side in members if side == at) for at in (there, here))
        raise ValueError(
            f"film {first} is in {there} and film {other} in {here}, but films of no split join them: {_WAY_OUT}"
        )


def _names_of_parts(parts: Sequence[Records]) -> list[str | None]:
    """Name each part after its split where that says which part it is."""
    splits = [{film.split for film in part} for part in parts]
    names: list[str | None] = []
    for number, (part, split) in enumerate(zip(parts, splits, strict=True), start=1):
        is_plain = len(split) == 1 and None not in split and splits.count(split) == 1
        names += [part[0].split if is_plain else f"part {number}"] * len(part)
    return names


def _shared(keys: Sequence[object], splits: Sequence[str | None]) -> Iterable[tuple[object, str, str]]:
    seen: dict[object, str] = {}
    for key, side in zip(keys, splits, strict=True):
        if key is not None and key != "" and side and seen.setdefault(key, side) != side:
            yield key, seen[key], side

"""Several data sets become one list of films."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fewshot_cxr.data.readers.cells import ALIKE, alike_findings
from fewshot_cxr.data.split_names import split_named
from fewshot_cxr.records import Problem, Record, Records
from fewshot_cxr.unknown_patients import is_unknown


def merge_records(
    parts: Mapping[str, Records],
    *,
    patients: Mapping[str, str] | None = None,
    name_sources: bool = True,
    keep_repeats: bool = False,
) -> Records:
    """Join films of several data sets.

    Patient and group ids get a name in front, because "17" of one hospital is not "17" of another; all films have the
    name of their set as the attribute `dataset`. A set that was built from another one (COVIDx holds films of
    covid-chestxray) shares films with it all the same: audit the result.

    Args:
        parts: name of each data set -> its films.
        patients: name of each data set -> the name in front of its ids; sets of one name share their patients. None:
            that of the set.
        name_sources: a film without a source gets the name of its set as its source.
        keep_repeats: keep a file that two sets name twice; without it the later one is a problem.

    Returns:
        The films in the order of the parts, below the nearest folder that holds all their roots; problems and notes
        with the name of their set.

    Raises:
        ValueError: no part, or roots on different drives.

    Examples:
        >>> lyon = Records((Record("1.png", ("normal",), patient_id="17"),), "lyon")
        >>> turin = Records((Record("1.png", ("covid19",), patient_id="17"),), "turin")
        >>> [(film.path, film.patient_id) for film in merge_records({"lyon": lyon, "turin": turin})]
        [('lyon/1.png', 'lyon:17'), ('turin/1.png', 'turin:17')]
    """
    if not parts:
        raise ValueError("nothing to merge; name at least one data set")
    root = Path(os.path.commonpath([part.root.resolve() for part in parts.values()]))
    films: list[Record] = []
    problems: list[Problem] = []
    notes: list[str] = []
    seen: set[str] = set()
    n_rows = 0
    for name, part in parts.items():
        folder = part.root.resolve().relative_to(root).as_posix()
        prefix = "" if folder == "." else f"{folder}/"
        whose = name if patients is None else patients[name]
        moved = [
            replace(
                film,
                path=prefix + film.path,
                patient_id=film.patient_id and f"{whose}:{film.patient_id}",
                group_id=film.group_id and f"{whose}:{film.group_id}",
                source=film.source or (name if name_sources else None),
                mask_path=film.mask_path and prefix + film.mask_path,
                attributes={**film.attributes, "dataset": name},
            )
            for film in part
        ]
        again = [] if keep_repeats else [film.path for film in moved if film.path in seen]
        films += [film for film in moved if keep_repeats or film.path not in seen]
        seen |= {film.path for film in moved}
        problems += [Problem(None, path, "an earlier set names the file too", "duplicate") for path in again]
        problems += [replace(problem, path=prefix + problem.path) for problem in part.problems]
        notes += [f"{name}: {note}" for note in part.notes]
        n_rows += len(part) + len(part.problems) if part.n_rows is None else part.n_rows
    if not any(ALIKE in note for note in notes):
        notes += alike_findings(films)
    return Records(tuple(films), root, tuple(problems), tuple(notes), n_rows)


def patient_namespaces(parts: Mapping[str, Records], paths: Sequence[Path]) -> dict[str, str]:
    """Return the set whose patients each set shares: its own name, or that of an earlier one.

    "1" of one hospital is not "1" of another. Two sets share their patients where their places differ in the name of a
    split alone (cxr_train.csv and cxr_test.csv, site/train and site/val), or where a film of both is of one patient.

    Args:
        parts: name of each set -> its films.
        paths: where each lies, in the same order.

    Examples:
        >>> parts = {name: Records((), name) for name in ("cxr_train", "cxr_test", "turin")}
        >>> patient_namespaces(parts, [Path(f"{name}.csv") for name in parts])
        {'cxr_train': 'cxr_train', 'cxr_test': 'cxr_train', 'turin': 'turin'}
    """
    families: dict[object, str] = {}
    whose: dict[str, str] = {}
    for (name, part), path in zip(parts.items(), paths, strict=True):
        root = part.root.resolve()
        stated = ((root / film.path, film.patient_id, film.group_id) for film in part if not is_unknown(film))
        keys = [_without_split(path), *stated]
        met = sorted({families[key] for key in keys if key in families}, key=list(parts).index)
        whose[name] = met[0] if met else name
        # A set that meets two others joins these, too.
        whose = {other: whose[name] if namespace in met else namespace for other, namespace in whose.items()}
        families = {key: whose.get(namespace, namespace) for key, namespace in families.items()}
        families |= dict.fromkeys(keys, whose[name])
    return whose


def namespace_notes(parts: Mapping[str, Records], whose: Mapping[str, str]) -> list[str]:
    """Return how many patient ids occur in several sets, and for how many patients they are taken.

    Examples:
        >>> film = Record("1.png", ("normal",), patient_id="17")
        >>> parts = {"a": Records((film,), "a"), "b": Records((film,), "b")}
        >>> namespace_notes(parts, {"a": "a", "b": "a"})
        ['patient ids in several of a, b: 1, such as 17; each is taken for one patient']
    """
    sets_of: dict[str, list[str]] = {}
    for name, part in parts.items():
        for patient in {film.patient_id or film.group_id for film in part} - {None}:
            sets_of.setdefault(str(patient), []).append(name)
    notes = []
    for text, is_one in (("one patient", True), ("different patients; --same-patients takes them for one", False)):
        ids = sorted(
            one for one, names in sets_of.items() if len(names) > 1 and (len({whose[n] for n in names}) == 1) == is_one
        )
        if ids:
            names = ", ".join(name for name in parts if any(name in sets_of[one] for one in ids))
            notes.append(f"patient ids in several of {names}: {len(ids):,}, such as {ids[0]}; each is taken for {text}")
    return notes + _alike_but_for_zeros(sets_of)


def _alike_but_for_zeros(sets_of: Mapping[str, Sequence[str]]) -> list[str]:
    """Say where ids of two sets would be one without leading zeros, which a program may have taken away."""
    written: dict[str, list[str]] = {}
    for one in sorted(sets_of):
        if one.isdecimal():
            written.setdefault(one.lstrip("0"), []).append(one)
    alike = [ids for ids in written.values() if len({name for one in ids for name in sets_of[one]}) > 1 < len(ids)]
    if not alike:
        return []
    return [
        f"patient ids that differ in leading zeros alone: {len(alike):,}, such as {' and '.join(alike[0])}; if they "
        "are one patient's, write them alike: until then a patient may be in two splits"
    ]


def _without_split(path: Path) -> tuple[str, ...]:
    """Return a path's words without those that name a split; a path without such a word is of its own family."""
    words = re.split(r"[\W_]+", str(path.resolve()))
    kept = tuple(word for word in words if not split_named(word))
    return kept if len(kept) < len(words) else (str(path.resolve()),)

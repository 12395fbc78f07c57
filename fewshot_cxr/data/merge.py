"""Several data sets become one list of films."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fewshot_cxr.data.readers.cells import ALIKE, alike_findings
from fewshot_cxr.records import Problem, Record, Records


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

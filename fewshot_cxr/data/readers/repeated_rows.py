"""Several rows of one file, one for each box or reader: what they say together, whatever their order."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any, NamedTuple

from fewshot_cxr.data.readers.cells import is_normal
from fewshot_cxr.records import Problem, Record

AGREE, JOIN = "agree", "join"
_SINGLE = tuple(item.name for item in fields(Record) if item.name not in ("path", "findings", "attributes", "unstated"))


class FilmRow(NamedTuple):
    """A film as one row names it.

    Args:
        place: among all rows of a set, by which problems are put in order.
        number: of the row in its table; None where no table names the file.
        film: what it says.
    """

    place: int
    number: int | None
    film: Record


Placed = tuple[int, Problem]
"""A problem and the place of its row."""


def one_film_each(rows: Iterable[FilmRow], how: str = AGREE) -> tuple[list[Record], list[Placed]]:
    """Make one film of all rows that name a file. The order of rows decides nothing but the order of films.

    Args:
        rows: as they were read.
        how: "agree": a film whose rows name other findings is left out; "join": it has all of them, and "No Finding" or
            "normal" beside others is dropped. Rows that name other patients always leave the film out.

    Returns:
        Each file once, and the rows that are not needed or cannot be believed.
    """
    rows = list(rows)
    n_rows = Counter(map(attrgetter("film.path"), rows))
    again: dict[str, list[FilmRow]] = {path: [] for path, count in n_rows.items() if count > 1}
    for row in rows if again else ():
        if row.film.path in again:
            again[row.film.path].append(row)
    films: list[Record] = []
    problems: list[Placed] = []
    for row in rows:
        same = again.get(row.film.path, [row])
        if len(same) == 1:
            films.append(row.film)
        elif row is not same[0]:
            continue
        elif conflict := _conflict([row.film for row in same], how):
            kind, reason = conflict
            problems += [
                (row.place, Problem(row.number, row.film.path, reason, kind, "|".join(row.film.findings)))
                for row in same
            ]
        else:
            film = _together([row.film for row in same])
            films.append(film)
            problems += [(row.place, _again(row, film, same)) for row in same[1:]]
    return films, problems


def conflict_notes(problems: Iterable[Problem]) -> list[str]:
    """Return a note for each kind of conflict that left films out: how many, the first, and the way out."""
    problems, notes = list(problems), []
    for what, way_out in (
        ("finding", "--rows join gives such a film all findings of its rows"),
        ("patient", "correct the table"),
    ):
        paths = dict.fromkeys(problem.path for problem in problems if problem.kind == f"{what}_conflict")
        if paths:
            told = f"{len(paths)} films left out, their rows name different {what}s (the first: {next(iter(paths))})"
            notes.append(f"{told}; {way_out}")
    return notes


def _conflict(films: Sequence[Record], how: str) -> tuple[str, str] | None:
    """Return the kind of problem and its reason where the rows of a film cannot all be right."""
    findings = {"|".join(sorted(film.findings)) for film in films}
    patients = {film.patient_id for film in films if film.patient_id}
    for what, says in (("finding", findings if how == AGREE else set()), ("patient", patients)):
        if len(says) > 1:
            return f"{what}_conflict", f"its rows name different {what}s: {', '.join(sorted(says))}"
    return None


def _together(films: Sequence[Record]) -> Record:
    if all(film == films[0] for film in films[1:]):
        return films[0]
    known = {name: sorted({value for film in films if (value := getattr(film, name)) is not None}) for name in _SINGLE}
    single: dict[str, Any] = {name: values[0] if values else None for name, values in known.items()}
    return replace(
        films[0],
        findings=_joined(films),
        unstated=tuple(sorted({name for film in films for name in film.unstated})),
        **single,
    )


def _joined(films: Sequence[Record]) -> tuple[str, ...]:
    if len({film.findings for film in films}) == 1:
        return films[0].findings
    names = sorted({name for film in films for name in film.findings})
    return tuple(name for name in names if not is_normal(name)) or tuple(names[:1])


def _again(row: FilmRow, film: Record, same: Sequence[FilmRow]) -> Problem:
    others = {other.film.split for other in same if other.film.split and row.film.split} - {film.split}
    if not others:
        return Problem(row.number, film.path, "the file is named in an earlier row", "duplicate")
    clash = min(others) if row.film.split == film.split else str(row.film.split)
    reason = f"its rows name different splits: {', '.join(sorted({str(film.split), *others}))}"
    return Problem(row.number, film.path, reason, "split_conflict", clash)

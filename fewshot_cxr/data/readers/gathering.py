"""Rows of a data set's own tables become films: present ones, once each, and the others as problems."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from fewshot_cxr._checks import first_of, lookup
from fewshot_cxr.data.readers.cells import alike_findings, clean_cells, split_joined_names
from fewshot_cxr.data.readers.film_sizes import LINK, Folders
from fewshot_cxr.data.readers.lost_films import lost_films
from fewshot_cxr.data.readers.plain_ahead import plain_ahead
from fewshot_cxr.data.readers.repeated_rows import AGREE, JOIN, FilmRow, Placed, conflict_notes, one_film_each
from fewshot_cxr.records import Problem, Record, Records, count_reasons, resolve_below

_LONGEST = 4096  # characters: PATH_MAX of Linux
StateOf = Callable[[str, Path, int | None], tuple[str, str, str]]


class Row(NamedTuple):
    """One row of a data set's table, whether its film is there or not.

    Args:
        number: in the table, 1-based.
        film: what the row says; its path is relative to the root, or what stands in its place where there is a fault.
        fault: why the row cannot be understood.
        unasked: why the row was not asked for.
    """

    number: int
    film: Record
    fault: str = ""
    unasked: str = ""


class Gathering:
    """Collects the films of one root while a reader goes through its rows.

    Each row of the source ends in exactly one call: `add`, `leave_out` or `pass_over`, so that their sum is the number
    of rows, and nothing is dropped in silence.
    """

    def __init__(self, root: Path, *, rows: str = AGREE) -> None:
        """Begin with no film.

        Args:
            root: of the data set; a path that leaves it is an error.
            rows: what several rows of one file make: see `one_film_each`.
        """
        self._root = root
        self._how = lookup({AGREE: AGREE, JOIN: JOIN}, rows, what="rows")
        self._n_rows = 0
        self._rows: list[FilmRow] = []
        self._problems: list[Placed] = []
        self._passed_over: Counter[str] = Counter()
        self._masks_lost: set[str] = set()
        self.state_of = file_states(root)

    def take_all(self, table: Path, rows: Iterable[Row]) -> None:
        """Take every row of a table; of thousands another process asks the disk for their films meanwhile."""
        for row, is_there in plain_ahead(self._root, rows, attrgetter("film.path")):
            self.take(table, row, is_there=is_there)

    def take(self, table: Path, row: Row, *, is_there: bool = False) -> None:
        """Add, leave out or pass over a row, as it says itself; `is_there`: its film is known to be (see `add`)."""
        if row.fault:
            self.leave_out(row.number, row.film.path, row.fault)
        elif row.unasked:
            self.pass_over(row.unasked)
        else:
            self.add(table, row.number, row.film, is_there=is_there)

    def add(self, table: Path, row: int | None, film: Record, *, is_there: bool = False) -> None:
        """Take a film, if its file is there, is not empty and was not named before.

        Args:
            table: that names it, for errors.
            row: of the table, 1-based; None where no table names the file.
            film: its path relative to the root. A mask that is not there is noted, the film stays.
            is_there: the path is as it should be, and was seen to be a plain file that is not empty.

        Raises:
            ValueError: its path, or its mask's, leaves the root.
        """
        path, kind, reason = (film.path, "", "") if is_there else self.state_of(film.path, table, row)
        if kind:
            self.leave_out(row, path, reason, kind=kind)
            return
        self._n_rows += 1
        if film.mask_path is not None:
            mask, lost, _ = self.state_of(film.mask_path, table, row)
            self._masks_lost |= {path} if lost else set()
            film = replace(film, mask_path=None if lost else mask)
        film = film if path == film.path else replace(film, path=path)
        self._rows.append(FilmRow(self._n_rows, row, film))

    def leave_out(self, row: int | None, path: str, reason: str, *, kind: str = "other") -> None:
        """Count a row that cannot be used, as a problem."""
        self._n_rows += 1
        self._problems.append((self._n_rows, Problem(row, path, reason, kind)))

    def pass_over(self, why: str) -> None:
        """Count a row that was not asked for; a note will say how many there were for each `why`."""
        self._n_rows += 1
        self._passed_over[why] += 1

    def records(self, notes: Iterable[str] = ()) -> Records:
        """Return what was gathered: each file once, with what its cells mean.

        Raises:
            FileNotFoundError: no film at all; the commonest problem is named first.
        """
        passed_over = [f"{count} rows passed over: {why}" for why, count in sorted(self._passed_over.items())]
        masks = [f"{len(self._masks_lost)} masks are missing or empty"] if self._masks_lost else []
        cleaned, on_cells = clean_cells(row.film for row in self._rows)
        cleaned, on_names = split_joined_names(cleaned)
        pairs = zip(self._rows, cleaned, strict=True)
        rows = [row if film is row.film else row._replace(film=film) for row, film in pairs]
        empty = [
            (place, Problem(number, film.path, "the row names no finding"))
            for place, number, film in rows
            if not film.findings
        ]
        films, repeated = one_film_each((row for row in rows if row.film.findings), self._how)
        placed = sorted((*self._problems, *empty, *repeated), key=lambda item: item[0])
        problems = tuple(problem for _, problem in placed)
        lost = lost_films(self._root, [problem.path for problem in problems if problem.kind == "missing"])
        told = (*on_cells, *on_names, *conflict_notes(problems), *passed_over, *masks, *lost, *alike_findings(films))
        if not films:
            why = "; ".join(["", *count_reasons(problems), *passed_over, *lost, *conflict_notes(problems)])
            raise FileNotFoundError(f"none of its {self._n_rows} rows is readable below {self._root}{why}")
        return Records(tuple(films), self._root, problems, (*notes, *told), self._n_rows)


def first_file(root: Path, names: Sequence[str]) -> Path:
    """Return the first of these files that lies below the root; where none does, the error is that of `wrong_root`."""
    for name in names:
        if (root / name).is_file():
            return root / name
    raise wrong_root(root, " or ".join(names))


def wrong_root(root: Path, expected: str) -> FileNotFoundError:
    """Return the error for a folder that does not hold what a reader looks for: what was expected, what was found."""
    if root.is_file():
        return FileNotFoundError(f"{root} is a file; name the folder with {expected}")
    if not root.is_dir():
        return FileNotFoundError(f"{root}: no such folder; expected {expected} in it")
    inside = sorted(item.name + "/" * item.is_dir() for item in root.iterdir() if not item.name.startswith("."))
    return FileNotFoundError(f"{root}: expected {expected}; found {first_of(inside, 6) or 'nothing'}")


def file_states(root: Path) -> StateOf:
    """Return a function from (path, table, row) to (path below the root, kind of problem or "", its reason or "")."""
    real_root = str(root.resolve())  # text: a Path for each of 377,110 films takes longer than to ask for its size
    folders = Folders(real_root)

    def size_of(name: str, table: Path, row: int | None) -> int | None:
        folder, _, file = name.rpartition("/")
        if not folders.is_own(folder):
            _insist_below(table, row, folder, root)
            folders.remember(folder)
        size = folders.size(folder, file)
        return _insist_below(table, row, name, root).stat().st_size if size == LINK else size

    def look(name: str, table: Path, row: int | None) -> tuple[str, str, str]:
        if os.path.isabs(name) or ".." in name.split("/"):
            name = _insist_below(table, row, name, root).relative_to(real_root).as_posix()
        name = os.path.normpath(name).replace(os.sep, "/")
        try:
            size = size_of(name, table, row) if len(name) <= _LONGEST else None
        except OSError:  # a link that leads nowhere, or in a circle
            size = None
        if size is None:
            return name, "missing", "the file is missing"
        return (name, "", "") if size else (name, "unreadable", "the file is empty")

    def state(cell: str, table: Path, row: int | None) -> tuple[str, str, str]:
        # As it stands first: a file's name may begin with a blank or hold a backslash.
        found = look(cell, table, row)
        if found[1] != "missing":
            return found
        plain = cell.strip().replace("\\", "/")
        forms = () if plain.isascii() else (unicodedata.normalize(form, plain) for form in ("NFC", "NFD"))
        for name in dict.fromkeys((plain, *forms)):
            if name != cell and (again := look(name, table, row))[1] != "missing":
                return again
        return found

    return state


def _insist_below(table: Path, row: int | None, name: str, root: Path) -> Path:
    try:
        return resolve_below(root, name)
    except ValueError as error:
        raise ValueError(f"{table}{'' if row is None else f', row {row}'}: {error}") from None

"""Rows of a data set's own tables become films: present ones, once each, and the others as problems."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fewshot_cxr._checks import first_of, lookup
from fewshot_cxr.data.readers.cells import alike_findings, clean_cells, split_joined_names
from fewshot_cxr.data.readers.lost_films import lost_films
from fewshot_cxr.data.readers.repeated_rows import AGREE, JOIN, FilmRow, Placed, conflict_notes, one_film_each
from fewshot_cxr.records import Problem, Record, Records, count_reasons, resolve_below

_MOST_FOLDERS = 2_000
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

    def take(self, table: Path, row: Row) -> None:
        """Add, leave out or pass over a row, as it says itself."""
        if row.fault:
            self.leave_out(row.number, row.film.path, row.fault)
        elif row.unasked:
            self.pass_over(row.unasked)
        else:
            self.add(table, row.number, row.film)

    def add(self, table: Path, row: int | None, film: Record) -> None:
        """Take a film, if its file is there, is not empty and was not named before.

        Args:
            table: that names it, for errors.
            row: of the table, 1-based; None where no table names the file.
            film: its path relative to the root. A mask that is not there is noted, the film stays.

        Raises:
            ValueError: its path, or its mask's, leaves the root.
        """
        path, kind, reason = self.state_of(film.path, table, row)
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
        rows = [row._replace(film=film) for row, film in zip(self._rows, cleaned, strict=True)]
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
    folders = _Folders(root)

    def look(name: str, table: Path, row: int | None) -> tuple[str, str, str]:
        folder, _, file = name.rpartition("/")
        if folders.known(folder).get(file, 0) > 0 and name[0] != "/":
            return name, "", ""  # most films: their folder is known, under this very name, and they are no links
        if os.path.isabs(name) or ".." in name.split("/"):
            name = _insist_below(table, row, name, root).relative_to(folders.real_root).as_posix()
        name = os.path.normpath(name).replace(os.sep, "/")
        folder, _, file = name.rpartition("/")
        size = folders.listed(folder, table, row).get(file)
        if size == -1:
            size = _size_of_link(table, row, name, root)
        if size is None:
            return name, "missing", "the file is missing"
        return (name, "", "") if size else (name, "unreadable", "the file is empty")

    def state(cell: str, table: Path, row: int | None) -> tuple[str, str, str]:
        # As it stands first: a file's name may begin with a blank or hold a backslash.
        found = look(cell, table, row)
        if found[1] != "missing":
            return found
        plain = cell.strip().replace("\\", "/")
        return found if plain == cell else look(plain, table, row)

    return state


class _Folders:
    """Folders below a root, each listed once: asking about every one of 100,000 films by itself takes far longer.

    Of many folders (MIMIC-CXR-JPG has 230,000) the last ones are remembered.
    """

    def __init__(self, root: Path) -> None:
        self._root, self.real_root = (
            root,
            str(root.resolve()),
        )  # text: a Path for each folder takes longer than its listing
        self._sizes: dict[str, dict[str, int]] = {}
        self._real = {""}  # they lie below the root by their own names, without a link on the way

    def known(self, folder: str) -> dict[str, int]:
        """Return size by name of a folder that was listed before, else nothing; -1 stands for a link."""
        return self._sizes.get(folder, {})

    def listed(self, folder: str, table: Path, row: int | None) -> dict[str, int]:
        """Return size by name of a folder; table and row are for the error where it leaves the root."""
        if folder not in self._sizes:
            if not self._is_real(folder):
                _insist_below(table, row, folder or ".", self._root)
            if len(self._sizes) >= _MOST_FOLDERS:
                del self._sizes[next(iter(self._sizes))]
            self._sizes[folder] = _list_sizes(self.real_root, folder)
        return self._sizes[folder]

    def _is_real(self, folder: str) -> bool:
        if folder in self._real:
            return True
        above = folder.rpartition("/")[0]
        if folder.startswith(("/", "..")) or not self._is_real(above) or os.path.islink(f"{self.real_root}/{folder}"):
            return False
        if len(self._real) >= _MOST_FOLDERS:
            self._real = {""}
        self._real.add(folder)
        return True


def _list_sizes(real_root: str, folder: str) -> dict[str, int]:
    """Return size by name for one folder; -1 stands for a link, which is looked at one by one."""
    sizes: dict[str, int] = {}
    try:
        with os.scandir(f"{real_root}/{folder}") as entries:
            for entry in entries:
                if entry.is_symlink():
                    sizes[entry.name] = -1
                elif entry.is_file():
                    sizes[entry.name] = entry.stat().st_size
    except OSError:  # no such folder, or one that may not be looked into: none of its files is there for us
        return {}
    return sizes


def _insist_below(table: Path, row: int | None, name: str, root: Path) -> Path:
    try:
        return resolve_below(root, name)
    except ValueError as error:
        raise ValueError(f"{table}{'' if row is None else f', row {row}'}: {error}") from None


def _size_of_link(table: Path, row: int | None, name: str, root: Path) -> int | None:
    try:
        target = _insist_below(table, row, name, root)
        return target.stat().st_size if target.is_file() else None
    except OSError:  # it leads nowhere, or in a circle
        return None

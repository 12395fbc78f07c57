"""The films of a shard, decoded: on processors, while what comes after is at work on those of another shard."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot_cxr.data import DecodingFacts, decode_film, notes_of_films, to_square
from fewshot_cxr.data.film_marks import FilmMarks, film_marks
from fewshot_cxr.engines.places import at_hand, below, is_far
from fewshot_cxr.engines.plan import Plan
from fewshot_cxr.records import Record

_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, ValueError)
Film = tuple[np.ndarray, FilmMarks | None, DecodingFacts]


@dataclass(frozen=True, eq=False)
class DecodedShard:
    """Films of a shard in the order of its rows.

    Args:
        rows: ids of the rows, int64 (n,).
        films: what the table says of each.
        squares: uint8 (n, S, S); black where a film could not be read, so that it stands in its batch and changes no
            number of another film.
        problems: place in them -> why that film could not be read.
        marks: of each film, where they are wanted.
        notes: on the decoding.
        n_passed: rows of other splits.
    """

    rows: np.ndarray
    films: list[Record]
    squares: np.ndarray
    problems: dict[int, str]
    marks: list[FilmMarks | None]
    notes: tuple[str, ...] = ()
    n_passed: int = 0

    def batches(self, batch_size: int) -> Iterator[np.ndarray]:
        """Yield the squares, so many at a time."""
        for first in range(0, len(self.squares), batch_size):
            yield self.squares[first : first + batch_size]


def decode_shard(plan: Plan, shard: int, n_threads: int = 1) -> DecodedShard:
    """Decode the films of a shard.

    Args:
        plan: what is to be done.
        shard: its number.
        n_threads: that decode.

    Raises:
        OSError: table or root are not at hand; a film that cannot be read costs its own row alone.
    """
    films, faults = plan.table.films(shard)
    kept = [place for place, film in enumerate(films) if plan.split in (None, film.split)]
    chosen, size = [films[place] for place in kept], plan.spec.size_px
    told = [_fault(plan, films[place], faults.get(place)) for place in kept]
    with ThreadPoolExecutor(n_threads) as pool:
        found = list(pool.map(lambda film, fault: fault or _decoded(plan, film), chosen, told))
    problems = {place: one for place, one in enumerate(found) if isinstance(one, str)}
    if problems and not is_far(plan.table.root) and not os.path.isdir(plan.table.root):
        raise FileNotFoundError(f"{plan.table.root} is not at hand: bring it back, and run this again, which goes on")
    squares = np.zeros((len(kept), size, size), np.uint8)
    marks: list[FilmMarks | None] = [None] * len(kept)
    for place, one in enumerate(found):
        if not isinstance(one, str):
            squares[place], marks[place] = one[:2]
    notes = notes_of_films((film, one[2]) for film, one in zip(chosen, found, strict=True) if not isinstance(one, str))
    rows = np.array([plan.table.span(shard)[place] for place in kept], dtype=np.int64)
    return DecodedShard(rows, chosen, squares, problems, marks, notes, len(films) - len(kept))


def _fault(plan: Plan, film: Record, fault: str | None) -> str | None:
    if fault or plan.kind != "embed":
        return fault
    if not film.findings:
        return "the row names no finding"
    return None if len(film.findings) == 1 else f"it shows several findings, {' and '.join(film.findings)}"


def _decoded(plan: Plan, film: Record) -> Film | str:
    """Decode one film; or say why it cannot be read."""
    try:
        address = below(plan.table.root, film.path)
        with at_hand(address) as file:
            return _read(plan, file, is_own=is_far(address))
    except _ABSENT as error:
        return str(error)


def _read(plan: Plan, file: Path, *, is_own: bool) -> Film | str:
    try:
        decoded = decode_film(file, bit_depth=plan.spec.bit_depth, any_modality=plan.any_modality)
        if not is_own and plan.begun_at < file.stat().st_mtime <= time.time():
            return "it was changed after the run began: embed it by itself, or all films into another folder"
        marks = film_marks(decoded.gray) if plan.looks_at_pixels else None
        return to_square(decoded.gray, plan.spec), marks, decoded.facts
    except (OSError, ValueError) as error:
        return str(error)

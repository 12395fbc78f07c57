"""Malformed films that a bank is asked about: each costs one row of the answers, and no other film its own."""

import csv
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

import numpy as np
from made_bombs import BOMBS
from made_hostile import cuts, textured, whole_dicoms, whole_pictures, zero_tails
from PIL import Image

from fault_kinds.attack import CRASH, LOST, REFUSED, SILENT, Attack, Finished, call, command_outcome, fresh
from fault_kinds.names import ODD
from fault_kinds.pictures import fuzz
from fewshot_cxr.data import read_dataset
from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.inference.bank.answer import COLUMNS

N_FILMS, N_TOGETHER, N_WHOLE = 1_000, 50, 3
NOTHING_READABLE = 4  # exit code
WAYS: dict[str, tuple[object, ...]] = {
    "a table": (),
    "patients": ("--per", "patient"),
    "all that is said": ("--details", "--json", "answers.json", "--html", "answers.html"),
}


def malformed(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Ask about 1,000 malformed films, each alone and in folders beside whole ones; and about what is no plain file."""
    films = list(islice(_films(draw), round(N_FILMS * share)))
    for name, content in films:
        yield name, partial(_alone, made, name, content)
    for number, first in enumerate(range(0, len(films), N_TOGETHER)):
        way = list(WAYS)[number % len(WAYS)]
        some = dict(films[first : first + N_TOGETHER])
        yield f"{len(some)} and {N_WHOLE} whole ones, {way}", partial(_together, made, some, WAYS[way])
    for what in list(ODD)[: None if share == 1 else 2]:
        yield f"{what} by its name", partial(_odd, made, what)


def _films(draw: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield films that ask for much work, that are cut short or end in zeros, and others with random changes."""
    wholes = whole_pictures() | whole_dicoms()
    for name, make in BOMBS.items():
        yield f"costly_{name}", make()
    for name, content in wholes.items():
        yield f"empty_{name}", b""
        for kind, make_all in (("cut", cuts), ("zeros", zero_tails)):
            for number, damaged in enumerate(islice(make_all(content), 0, None, 4)):
                yield f"{kind}{number}_{name}", damaged
    names = list(wholes)
    for number in range(N_FILMS):
        name = names[number % len(names)]
        yield f"{number}_{name}", fuzz(wholes[name], wholes[names[draw.integers(len(names))]], draw)[1]


def _alone(made: Path, name: str, content: bytes) -> str:
    place = fresh(made, "alone")
    (place / name).write_bytes(content)
    return _outcome(_ask(made, place, name), place, [name])


def _together(made: Path, films: Mapping[str, bytes], way: tuple[object, ...]) -> str:
    place = fresh(made, "together")
    (place / "new").mkdir()
    for name, content in films.items():
        (place / "new" / name).write_bytes(content)
    for number in range(N_WHOLE):
        Image.fromarray(textured(seed=200 + number)).save(place / "new" / f"whole{number}.png")
    names = [f"new/{name}" for name in (*films, *(f"whole{number}.png" for number in range(N_WHOLE)))]
    outcome = _outcome(_ask(made, place, "new", *way), place, names)
    lost = [row["path"] for row in _rows(place) if "whole" in row["path"] and row["reason"] == "unreadable"]
    return f"{LOST}: {lost[0]}, which is whole" if lost else outcome


def _odd(made: Path, what: str) -> str:
    place, here = fresh(made, "odd"), os.getcwd()
    Image.fromarray(textured()).save(place / "0_0.png")
    ODD[what](place / "odd.png")
    os.chdir(here)  # a socket is made from its folder
    films = sorted(os.listdir(place))
    told = [film.encode(errors="backslashreplace").decode() for film in films if not (place / film).is_dir()]
    return _outcome(_ask(made, place, *films), place, told)


def _ask(made: Path, place: Path, *films: object) -> Finished:
    flags = ("--bank", _bank(made), "--csv", "answers.csv", "--device", "cpu", "--threads", 1)
    return call("predict", *films, *flags, cwd=place)


@lru_cache
def _bank(made: Path) -> Path:
    file = made / f"asked_{os.getpid()}.bank"
    bank = SupportBank.build(made / "run", read_dataset("manifest", made / "films.csv"), n_exemplars=4, device="cpu")
    bank.save(file, self_contained=True)
    return file


def _outcome(done: Finished, place: Path, names: list[str]) -> str:
    """Return what came of a question: it must give each film one row, and say so if no film is readable."""
    outcome = command_outcome(done)
    if done.code not in (0, NOTHING_READABLE):
        return f"{LOST}: all films: {done.error}" if outcome == REFUSED else outcome
    rows = _rows(place)
    told = sorted(path for row in rows for path in row["path"].split("; "))
    if told != sorted(names):
        odd = set(told) ^ set(names) or [path for path in told if told.count(path) > 1]
        return f"{LOST}: {len(rows)} rows of {len(names)} films, such as {min(odd)}"
    if any(not row["answer"] or (row["answer"] == "abstained" and not row["reason"]) for row in rows):
        return f"{SILENT}: neither an answer nor a reason"
    if done.code == 0 and all(row["reason"] == "unreadable" for row in rows):
        return f"{SILENT}: nothing was readable, and the exit code is 0"
    strange = [line for line in done.err.splitlines() if "TIFF" in line and "readable" not in line]
    return f"{CRASH}: {strange[0]}" if strange else outcome


def _rows(place: Path) -> list[dict[str, str]]:
    file = place / "answers.csv"
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    return rows if rows and list(rows[0]) == list(COLUMNS) else []

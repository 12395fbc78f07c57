"""Pictures that are damaged or made to cost: refused, at little cost, and no other film is lost for one of them."""

import os
import resource
import time
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from made_bombs import BOMBS
from made_hostile import cuts, textured, whole_dicoms, whole_pictures, zero_tails
from PIL import Image

from fault_kinds.attack import (
    CRASH,
    HANG,
    HARMLESS,
    LOST,
    MEGABYTES,
    REFUSED,
    SECONDS,
    SILENT,
    Attack,
    call,
    fresh,
    in_process,
)
from fewshot_cxr.data import read_gray

N_FUZZED, N_IN_BATCH = 3_000, 40
# Formats that end with a mark or a sum, or count their parts: what is cut off is known to be missing.
PACKED = (".png", ".jpg", ".webp", ".jp2", ".j2k", ".gif", ".dcm")


def cut_short(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Cut each format at 25 places, and overwrite its end with zeros: never read as another film."""
    wholes = _wholes()
    for name, content in wholes.items():
        truth = _read(made, name, content)
        if isinstance(truth, str):
            raise RuntimeError(f"{name}: {truth}")
        for kind, make in (("cut", cuts), ("zeros", zero_tails)):
            for number, damaged in enumerate(make(content)):
                if share == 1 or number % 20 == 0:
                    yield f"{name} {kind} {number}", partial(_cut, made, name, damaged, truth, kind)


def fuzzed(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Change bytes of each format at random, and put them among whole films."""
    wholes = _wholes()
    names = list(wholes)
    batch: dict[str, bytes] = {}
    for number in range(round(N_FUZZED * share)):
        name = names[number % len(names)]
        how, damaged = fuzz(wholes[name], wholes[names[draw.integers(len(names))]], draw)
        batch[f"{number}_{name}"] = damaged
        yield f"{name} {how}", partial(_fuzzed, made, name, damaged)
        if len(batch) == N_IN_BATCH:
            yield f"a folder of {N_IN_BATCH} and 6 whole ones", partial(_among_whole, made, batch)
            batch = {}


def costly(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Small files that ask for much work or memory."""
    for name, make in islice(BOMBS.items(), None if share == 1 else 2):
        # Each in a process of its own: the peak of one would hide that of the next.
        yield name, lambda name=name, make=make: in_process(partial(_fuzzed, made, name, make()))
        yield f"{name} among whole ones", lambda name=name, make=make: _among_whole(made, {name: make()})


def _wholes() -> dict[str, bytes]:
    return whole_pictures() | whole_dicoms()


def _read(made: Path, name: str, content: bytes) -> np.ndarray | str:
    file = made / f"fuzzed_{os.getpid()}_{name}"
    file.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_gray(file)
    except (OSError, ValueError) as error:
        return str(error) or "no reason"
    finally:
        file.unlink()


def _fuzzed(made: Path, name: str, content: bytes) -> str:
    begun, before = time.process_time(), _peak()
    found = _read(made, name, content)
    seconds, megabytes = time.process_time() - begun, _peak() - before
    if isinstance(found, str) and "\n" in found:
        return f"{CRASH}: more than one line: {found}"
    if isinstance(found, str) and (seconds > SECONDS or megabytes > MEGABYTES):
        return f"{HANG}: refused after {seconds:.1f} s and {megabytes:.0f} MB: {found}"
    return REFUSED if isinstance(found, str) else HARMLESS


def _cut(made: Path, name: str, content: bytes, truth: np.ndarray, kind: str) -> str:
    found = _read(made, name, content)
    if isinstance(found, str):
        return REFUSED
    if np.array_equal(found, truth):
        return HARMLESS
    if kind == "zeros" and (not name.endswith(PACKED) or name == "plain.dcm"):
        return HARMLESS  # zeros in unpacked pixels are black pixels: no format says otherwise
    return f"{SILENT}: {int((found != truth).sum()) if found.shape == truth.shape else 'all'} pixels"


def fuzz(content: bytes, other: bytes, draw: np.random.Generator) -> tuple[str, bytes]:
    damaged, place = bytearray(content), int(draw.integers(len(content)))
    how = ("flips", "noise", "deleted", "inserted", "spliced", "length")[draw.integers(6)]
    if how == "flips":
        for at in draw.integers(0, min(len(content), 4_000), 4).tolist():
            damaged[at] ^= 1 << int(draw.integers(8))
    elif how == "noise":
        damaged[place : place + 64] = draw.bytes(64)
    elif how == "deleted":
        del damaged[place : place + int(draw.integers(1, 200))]
    elif how == "inserted":
        damaged[place:place] = draw.bytes(int(draw.integers(1, 200)))
    elif how == "spliced":
        damaged[place:] = other[int(draw.integers(len(other))) :]
    else:  # numbers of four bytes in the head, where sizes stand
        at = int(draw.integers(min(len(content) - 4, 400)))
        damaged[at : at + 4] = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\0\0")[
            draw.integers(4)
        ]
    return f"{how} at {place}", bytes(damaged)


def _among_whole(made: Path, batch: dict[str, bytes]) -> str:
    place = fresh(made, "batch")
    (place / "films" / "some").mkdir(parents=True)
    for number in range(6):
        Image.fromarray(textured(seed=100 + number)).save(place / "films" / "some" / f"whole{number}.png")
    for name, content in batch.items():
        (place / "films" / "some" / name).write_bytes(content)
    done = call("data", "read", "image_folder:films", "--out", "films.csv", cwd=place)
    if done.is_crash or done.code:
        return f"{LOST}: all films: {done.err.strip()[-300:]}"
    # What is no film is a row; what a library of C says in between is none.
    strange = [line for line in done.err.splitlines() if "TIFF" in line and "left out" not in line]
    n_kept = (place / "films.csv").read_text(encoding="utf-8").count("\nsome/whole")
    if n_kept < 6:
        return f"{LOST}: {6 - n_kept} whole films"
    return f"{CRASH}: {strange[0]}" if strange else HARMLESS


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

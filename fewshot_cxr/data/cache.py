"""Decode each film once, into memory-mapped uint8; later runs and other splits find it by content and recipe.

A folder for each recipe (crop, size, bit depth) holds immutable packs: `<name>.u8`, n films of S x S bytes, beside
`<name>.json`, the content hashes of these n films. A run adds one pack with the films that no pack holds yet, so that
two runs at once do each other no harm.
"""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from fewshot_cxr.data.hashing import file_hash
from fewshot_cxr.data.images import read_gray
from fewshot_cxr.data.preprocess import RECIPE_VERSION, to_square
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import Problem, Record, Records
from fewshot_cxr.storage import whole_file, write_json

Progress = Callable[[int, int], None]
_CHUNK = 64


@dataclass(frozen=True, eq=False)
class CachedFilms:
    """Decoded films: row i of `rows` is film i of `records`, which holds the readable ones, problems noted."""

    records: Records
    packs: tuple[Path, ...]
    pack_of_film: np.ndarray
    row_of_film: np.ndarray
    size_px: int

    def __post_init__(self) -> None:
        films = (-1, self.size_px, self.size_px)
        object.__setattr__(self, "_maps", [np.memmap(pack, np.uint8, "r").reshape(films) for pack in self.packs])

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_maps"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    def __len__(self) -> int:
        return len(self.records)

    def rows(self, indices: np.ndarray | Sequence[int]) -> np.ndarray:
        """Gather films from the memory maps: uint8, shape (len(indices), S, S)."""
        maps: list[np.ndarray] = self._maps  # type: ignore[attr-defined]  # set in __post_init__, not a field
        indices = np.asarray(indices, dtype=np.int64)
        films = np.empty((len(indices), self.size_px, self.size_px), dtype=np.uint8)
        packs, rows = self.pack_of_film[indices], self.row_of_film[indices]
        for pack in np.unique(packs):
            here = packs == pack
            films[here] = maps[pack][rows[here]]
        return films


def cache_films(
    records: Records,
    spec: ImageSpec,
    *,
    folder: Path | None = None,
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> CachedFilms:
    """Decode films that the cache does not hold yet, and return all of them as memory maps.

    Args:
        records: the films; an unreadable one is left out and named in the result's `records.problems`.
        spec: size, crop and bit depth are the recipe.
        folder: the cache; None: the environment's FSCXR_CACHE, else ~/.cache/fewshot_cxr.
        n_workers: threads that decode; None: one for each processor.
        progress: called with (films done, films in all).

    Raises:
        FileNotFoundError: no film is readable; the first reason is named.
    """
    folder = folder or default_folder()
    place = folder / f"recipe{RECIPE_VERSION}-{spec.crop}-{spec.size_px}px-{spec.bit_depth or 'any'}bit"
    with ThreadPoolExecutor(n_workers or os.cpu_count()) as pool:
        hashes, reasons = _hash_films(records, folder / "hashes.json", pool)
        index = _read_packs(place, spec.size_px)
        new = {key: records.file(film) for key, film in zip(hashes, records, strict=True) if key and key not in index}
        if new:
            packed, unreadable = _decode(new, spec, place, pool, progress)
            index |= packed
            reasons |= {row: unreadable[key] for row, key in enumerate(hashes) if key in unreadable}
    if progress is not None:
        progress(len(records), len(records))
    problems = [Problem(None, records[row].path, reasons[row]) for row in sorted(reasons)]
    kept = [row for row in range(len(records)) if row not in reasons]
    if not kept:
        first = f", the first: {problems[0].path}: {problems[0].reason}" if problems else ""
        raise FileNotFoundError(f"none of {len(records)} films is readable{first}")
    places = [index[hashes[row]] for row in kept]
    packs = tuple(dict.fromkeys(pack for pack, _ in places))
    number = {pack: position for position, pack in enumerate(packs)}
    return CachedFilms(
        records=records.take(kept).with_problems(problems),
        packs=packs,
        pack_of_film=np.array([number[pack] for pack, _ in places], dtype=np.int64),
        row_of_film=np.array([row for _, row in places], dtype=np.int64),
        size_px=spec.size_px,
    )


def default_folder() -> Path:
    """Return the cache folder of this user: FSCXR_CACHE, else ~/.cache/fewshot_cxr."""
    return Path(os.environ.get("FSCXR_CACHE") or Path.home() / ".cache" / "fewshot_cxr")


def _hash_films(records: Records, memory: Path, pool: ThreadPoolExecutor) -> tuple[list[str], dict[int, str]]:
    """Return the content hash of every film ("" where there is none), and by row why."""
    known = _read_json(memory)

    def look(film: Record) -> tuple[str, str, list[int | str]]:
        try:
            path = records.file(film)
            stat = path.stat()
            remembered = known.get(str(path), [0, 0, ""])
            # Size and time stand for content as long as nobody sets the clock back on purpose; `make` trusts them too.
            if remembered[:2] != [stat.st_size, stat.st_mtime_ns]:
                remembered = [stat.st_size, stat.st_mtime_ns, file_hash(path)]
            return str(path), "", remembered
        except (OSError, ValueError) as error:
            return "", f"cannot be opened: {getattr(error, 'strerror', None) or error}", [0, 0, ""]

    found = list(pool.map(look, records))
    fresh = {path: entry for path, _, entry in found if path and known.get(path) != entry}
    if fresh:
        write_json(memory, known | fresh)
    return [str(entry[2]) for _, _, entry in found], {row: why for row, (_, why, _) in enumerate(found) if why}


def _read_packs(place: Path, size_px: int) -> dict[str, tuple[Path, int]]:
    """Return where each decoded film lies; a pack that is not whole is passed over and its films decoded again."""
    index: dict[str, tuple[Path, int]] = {}
    for listing in sorted(place.glob("*.json")):
        pack, hashes = listing.with_suffix(".u8"), _read_json(listing).get("hashes", [])
        if pack.is_file() and pack.stat().st_size == len(hashes) * size_px**2:
            index |= {key: (pack, row) for row, key in enumerate(hashes)}
    return index


def _decode(
    files: dict[str, Path], spec: ImageSpec, place: Path, pool: ThreadPoolExecutor, progress: Progress | None
) -> tuple[dict[str, tuple[Path, int]], dict[str, str]]:
    """Decode films into one new pack; return where each lies, and for the unreadable ones why."""

    def decode(path: Path) -> np.ndarray | str:
        try:
            return to_square(read_gray(path, bit_depth=spec.bit_depth), spec)
        except (OSError, ValueError) as error:
            return str(error)

    pack = place / f"{uuid4().hex}.u8"
    packed: list[str] = []
    unreadable: dict[str, str] = {}
    keys = iter(files)
    with whole_file(pack) as part, part.open("wb") as opened:
        while chunk := list(islice(keys, _CHUNK)):
            for key, film in zip(chunk, pool.map(decode, (files[key] for key in chunk)), strict=True):
                if isinstance(film, str):
                    unreadable[key] = film
                else:
                    opened.write(film.tobytes())
                    packed.append(key)
            if progress is not None:
                progress(len(packed) + len(unreadable), len(files))
    if packed:
        write_json(pack.with_suffix(".json"), {"hashes": packed})
    else:
        pack.unlink()
    return {key: (pack, row) for row, key in enumerate(packed)}, unreadable


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}

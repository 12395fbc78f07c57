"""Decode each film once, into memory-mapped uint8; later runs and other splits find it by content and recipe.

A folder for each recipe (size, crops, bit depth, equaliser) holds immutable packs: `<name>.u8`, n films of S x S
bytes, beside `<name>.json`, the content hashes of these n films, what should be said of them, and a checksum of both.
A run adds packs with the films that no pack holds yet, so that two runs at once do each other no harm, and a run that
is stopped loses one pack.
"""

import os
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np

from fewshot_cxr._processors import n_processors
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.data.film import DecodingFacts, notes_of_films, takes_any_modality
from fewshot_cxr.data.film_files import find_files, hash_files, stamp_of
from fewshot_cxr.data.images import decode_film
from fewshot_cxr.data.packs import Facts, Places, read_packs, write_listing
from fewshot_cxr.data.quiet import quiet
from fewshot_cxr.data.square import RECIPE_VERSION, to_square
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import Problem, Records
from fewshot_cxr.whole_files import sweep_parts, whole_file

_CHANGED = "it was changed while it was read: ask again"
_HOME = "~/.cache/fewshot_cxr"
_NAME_ANOTHER = "name another folder by --cache-dir or FSCXR_CACHE"
_CHUNK = 64
_PACK = 4096


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
        # As plain arrays, row by row: gathering rows of an np.memmap by a list of indices is 15 times slower.
        maps = [np.memmap(pack, np.uint8, "r").view(np.ndarray).reshape(films) for pack in self.packs]
        object.__setattr__(self, "_maps", maps)

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
        packs, rows = self.pack_of_film[indices], self.row_of_film[indices]
        films = np.empty((len(indices), self.size_px, self.size_px), dtype=np.uint8)
        for place, (pack, row) in enumerate(zip(packs.tolist(), rows.tolist(), strict=True)):
            films[place] = maps[pack][row]
        return films


def cache_films(
    records: Records,
    spec: ImageSpec,
    *,
    folder: str | Path | None = None,
    n_workers: int | None = None,
    progress: Bar | None = None,
) -> CachedFilms:
    """Decode films that the cache does not hold yet, and return all of them as memory maps.

    Args:
        records: the films; one that is unreadable, or no chest X-ray, is left out and named in the result's
            `records.problems`. What else should be known of them is in `records.notes`, and a warning.
        spec: what changes the decoded pixels is the recipe: size, crops, bit depth, equaliser.
        folder: the cache; None: the environment's FSCXR_CACHE, else ~/.cache/fewshot_cxr.
        n_workers: threads that decode; None: one for each processor.
        progress: called with (films done, films in all).

    Raises:
        FileNotFoundError: no film is readable; the first reason is named.
    """
    folder = _prepared(Path(folder or default_folder()), is_named=bool(folder or os.environ.get("FSCXR_CACHE")))
    place = folder / _recipe_name(spec)
    with ThreadPoolExecutor(n_workers or n_processors()) as pool:
        files, reasons = find_files(records)
        entries = hash_files(files, reasons, folder / "hashes.json", pool)
        hashes = [entry[-1] for entry in entries]
        index, facts = read_packs(place, spec.size_px, wanted=set(hashes), pool=pool)
        seen = zip(files, entries, strict=True)
        new = {key: (file, stamp) for file, (*stamp, _, key) in seen if file and key and key not in index}
        n_done = len(records) - len(new)
        for keys in _slices(list(new), _PACK):
            report = partial(_report, progress, n_done, len(records))
            packed, unreadable = _decode({key: new[key] for key in keys}, spec, place, pool, facts=facts, report=report)
            index |= packed
            reasons |= {row: unreadable[key] for row, key in enumerate(hashes) if key in unreadable}
            n_done += len(keys)
    tell(progress, len(records), len(records))
    told = [(film, facts.get(key, DecodingFacts())) for film, key in zip(records, hashes, strict=True)]
    for row, (film, known) in enumerate(told):
        if known.stranger and not takes_any_modality(film):
            reasons.setdefault(row, known.refusal)
    problems = [Problem(None, records[row].path, reasons[row], "unreadable") for row in sorted(reasons)]
    kept = [row for row in range(len(records)) if row not in reasons]
    if not kept:
        first = f", the first: {problems[0].path}: {problems[0].reason}" if problems else ""
        raise FileNotFoundError(f"none of {len(records)} films is readable{first}")
    places = [index[hashes[row]] for row in kept]
    packs = tuple(dict.fromkeys(pack for pack, _ in places))
    number = {pack: position for position, pack in enumerate(packs)}
    notes = notes_of_films(told[row] for row in kept)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    whole = records.take(kept).with_problems(problems)
    return CachedFilms(
        records=replace(whole, notes=(*whole.notes, *notes)),
        packs=packs,
        pack_of_film=np.array([number[pack] for pack, _ in places], dtype=np.int64),
        row_of_film=np.array([row for _, row in places], dtype=np.int64),
        size_px=spec.size_px,
    )


def default_folder() -> Path:
    """Return the cache folder of this user: FSCXR_CACHE, else ~/.cache/fewshot_cxr."""
    try:
        return Path(os.environ.get("FSCXR_CACHE") or _HOME).expanduser()
    except RuntimeError as error:
        raise OSError(f"there is no home folder to keep decoded films in: {_NAME_ANOTHER}") from error


def _prepared(folder: Path, *, is_named: bool) -> Path:
    """Make the cache for its owner alone; one that is there already, and was named by the user, keeps its mode."""
    with _kept_in(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_named:
        with suppress(OSError):
            folder.chmod(0o700)
    sweep_parts(folder)
    return folder


@contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    """Name the way out where this folder cannot be written; of a full disk `whole_file` says more."""
    try:
        yield
    except OSError as error:
        if not error.strerror:
            raise
        raise OSError(f"decoded films cannot be kept in {folder} ({error.strerror}): {_NAME_ANOTHER}") from error


def _decode(
    files: dict[str, tuple[Path, list[int]]],
    spec: ImageSpec,
    place: Path,
    pool: ThreadPoolExecutor,
    *,
    facts: Facts,
    report: Callable[[int], None],
) -> tuple[Places, dict[str, str]]:
    """Decode films into one new pack; return where each lies, and for the unreadable ones why; add to the facts."""

    def decode(key: str) -> np.ndarray | str:
        file, stamp = files[key]
        try:
            film = decode_film(file, bit_depth=spec.bit_depth)
            if stamp_of(file.stat()) != stamp:  # another film would lie under its hash for good
                return _CHANGED
            if film.facts != DecodingFacts():
                facts[key] = film.facts
            return to_square(film.gray, spec)
        except (OSError, ValueError) as error:
            return str(error)

    pack = place / f"{uuid4().hex}.u8"
    packed, unreadable = list[str](), dict[str, str]()
    checksum = 0
    with _kept_in(place.parent), whole_file(pack) as part:
        with part.open("wb") as opened:
            for keys in _slices(list(files), _CHUNK):
                with quiet:  # of all of them: to enter it anew for each film takes a third of a small one's time
                    films = list(pool.map(decode, keys))
                for key, film in zip(keys, films, strict=True):
                    if isinstance(film, str):
                        unreadable[key] = film
                    else:
                        content = film.tobytes()
                        checksum = zlib.crc32(content, checksum)
                        opened.write(content)
                        packed.append(key)
                report(len(packed) + len(unreadable))
        # Before the pack is there: a list without a pack says nothing, a pack without a list would lie there for ever.
        if packed:
            write_listing(pack, packed, facts, checksum=checksum)
    if not packed:
        pack.unlink()
    return {key: (pack, row) for row, key in enumerate(packed)}, unreadable


def _recipe_name(spec: ImageSpec) -> str:
    """Return the folder of a recipe; what is off goes unnamed, so that older caches still serve."""
    name = f"recipe{RECIPE_VERSION}-{spec.crop}-{spec.size_px}px-{spec.bit_depth or 'any'}bit"
    name += f"-top{spec.top_crop}" if spec.top_crop else ""
    name += f"-border{spec.border_crop}" if spec.border_crop else ""
    name += "" if spec.resize == "bilinear" else f"-{spec.resize}"
    return name if spec.equalise == "none" else f"{name}-{spec.equalise}"


def _report(progress: Bar | None, n_before: int, n_films: int, n_done: int) -> None:
    tell(progress, n_before + n_done, n_films)


def _slices(keys: list[str], length: int) -> list[list[str]]:
    return [keys[start : start + length] for start in range(0, len(keys), length)]

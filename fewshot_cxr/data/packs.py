"""Packs of decoded films: each is tested by a checksum, with its list, before any film of it is taken."""

import hashlib
import json
import warnings
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from fewshot_cxr._json import read_json
from fewshot_cxr.data.film import DecodingFacts
from fewshot_cxr.whole_files import sweep_parts, write_json

Places = dict[str, tuple[Path, int]]
"""By content hash: the pack, and the row in it."""
Facts = dict[str, DecodingFacts]
"""By content hash, of the films of which something should be said."""
_BLOCK = 1 << 20


def read_packs(place: Path, size_px: int, *, wanted: set[str], pool: ThreadPoolExecutor) -> tuple[Places, Facts]:
    """Return where the wanted films lie, and others of the same packs.

    A pack that holds a wanted film is tested once in each process; one that is not as it was written is removed with a
    warning, so that its films are decoded again.

    Args:
        place: the folder of packs.
        size_px: side of the films.
        wanted: content hashes.
        pool: packs are tested on its threads.
    """
    sweep_parts(place)
    index: Places = {}
    facts: Facts = {}
    listings = sorted(place.glob("*.json"))
    damaged = []
    for listing, found in zip(listings, pool.map(lambda one: _read_pack(one, size_px, wanted), listings), strict=True):
        if found is None:
            damaged.append(listing)
        else:
            index |= found[0]
            facts |= found[1]
    for listing in damaged:
        with suppress(OSError):  # of a cache that we may only read
            listing.unlink()
            listing.with_suffix(".u8").unlink(missing_ok=True)
    if damaged:
        what, whose = ("pack", "its") if len(damaged) == 1 else ("packs", "their")
        warnings.warn(
            f"{place} holds {len(damaged)} damaged {what} of decoded films: {whose} films are decoded again",
            stacklevel=3,
        )
    return index, facts


def write_listing(pack: Path, hashes: Sequence[str], facts: Facts, *, checksum: int) -> None:
    """Write what a pack holds.

    Args:
        pack: the file of films.
        hashes: content hash of each film in it.
        facts: of these films and others.
        checksum: CRC-32 of the pack.
    """
    told = {key: asdict(facts[key]) for key in hashes if key in facts}
    entry = {"facts": told, "hashes": list(hashes)}
    write_json(pack.with_suffix(".json"), {"crc32": _sum_of(entry, checksum)} | entry)


def file_hash(path: str | Path) -> str:
    """BLAKE2b (hex, 128 bits) over the bytes of a file."""
    with Path(path).open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _read_pack(listing: Path, size_px: int, wanted: set[str]) -> tuple[Places, Facts] | None:
    """Return the films of one pack, none where none is wanted or it cannot be opened; None: it is damaged."""
    pack = listing.with_suffix(".u8")
    try:
        entry = read_json(listing)
        hashes = entry["hashes"]
        if wanted.isdisjoint(hashes):
            return {}, {}
        if pack.stat().st_size != len(hashes) * size_px**2 or not _is_as_written(pack, listing, entry):
            return None
        facts = {key: DecodingFacts.of_json(told) for key, told in entry.get("facts", {}).items()}
        return {key: (pack, row) for row, key in enumerate(hashes)}, facts
    except OSError:
        return {}, {}
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _is_as_written(pack: Path, listing: Path, entry: dict[str, Any]) -> bool:
    found = pack.stat()
    # Equal stamps stand for equal content within one process, not from one to the next: disks rot.
    checksum = _sum_of(entry, _file_sum(pack, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)))
    if "crc32" in entry:
        return bool(entry["crc32"] == checksum)
    if file_hash(pack) != entry["hash"]:  # of a version before
        return False
    with suppress(OSError):  # hash it this once, if we may write here
        write_json(listing, {"crc32": checksum, "hashes": entry["hashes"], "facts": entry.get("facts", {})})
    return True


def _sum_of(entry: Mapping[str, Any], checksum: int) -> int:
    """Return the checksum of a pack and of what is listed of it."""
    return zlib.crc32(json.dumps([entry["hashes"], entry.get("facts", {})]).encode(), checksum)


@cache
def _file_sum(pack: Path, stamp: tuple[int, ...]) -> int:
    checksum = 0
    with pack.open("rb") as opened:
        while block := opened.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum

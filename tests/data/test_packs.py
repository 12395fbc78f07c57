"""Packs of decoded films that a disk has altered, date and size unchanged: none of it is served."""

import errno
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot_cxr.data import cache, cache_films, film_files, packs, read_gray, to_square
from fewshot_cxr.data.packs import file_hash
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import Record, Records

SPEC = ImageSpec(size_px=16)
DAMAGED = "holds 1 damaged pack of decoded films: its films are decoded again"


@pytest.fixture
def records(tmp_path):
    root = tmp_path / "films"
    root.mkdir()
    for number in range(3):
        film = np.random.default_rng(number).integers(0, 256, (24, 20), dtype=np.uint8)
        Image.fromarray(film if number else film.astype(np.uint16) * 16).save(root / f"{number}.png")  # one has a note
    return Records(tuple(Record(f"{number}.png", ("a",)) for number in range(3)), root)


def cached(records, folder):
    """The films and the warnings of a run that finds the cache as it is."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        films = cache_films(records, SPEC, folder=folder, n_workers=1)
    assert np.array_equal(
        films.rows(range(3)), np.stack([to_square(read_gray(records.root / f"{n}.png"), SPEC) for n in range(3)])
    )
    (note,) = films.records.notes
    assert "12 bits 1" in note
    return films, [str(one.message) for one in said if str(one.message) != note]


def rot(file, place, bit):
    """Flip one bit, as a disk does: no date changes."""
    content, found = bytearray(file.read_bytes()), file.stat()
    content[place] ^= 1 << bit
    file.write_bytes(content)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_no_flipped_bit_of_a_pack_or_its_list_is_served(tmp_path, records):
    folder, rng = tmp_path / "cache", np.random.default_rng(0)
    for kind, n_flips in ((".u8", 15), (".json", 60)):
        for _ in range(n_flips):
            pack = cached(records, folder)[0].packs[0]
            file = pack.with_suffix(kind)
            rot(file, rng.integers(file.stat().st_size), rng.integers(8))
            again, said = cached(records, folder)
            changed = again.packs[0] != pack
            assert [DAMAGED in text for text in said] == [True] * changed
            assert changed == (not pack.exists()) or kind == ".json"
            assert changed or kind == ".json"  # a blank between two words of the list says nothing
        assert cached(records, folder)[1] == []


def test_a_list_of_an_older_version_is_tested_by_its_hash_and_gets_a_checksum(tmp_path, records):
    folder = tmp_path / "cache"
    for is_rotten in (False, True):
        pack = cached(records, folder)[0].packs[0]
        listing = pack.with_suffix(".json")
        entry = json.loads(listing.read_text())
        old = {"hash": file_hash(pack), "mtime_ns": pack.stat().st_mtime_ns, "facts": entry["facts"]}
        listing.write_text(json.dumps(old | {"hashes": entry["hashes"]}))
        if is_rotten:
            rot(pack, 100, 3)
        assert [DAMAGED in text for text in cached(records, folder)[1]] == [True] * is_rotten
        if not is_rotten:
            assert json.loads(listing.read_text()) == entry


def test_a_pack_is_tested_once_in_a_process_and_only_where_its_films_are_wanted(tmp_path, records, monkeypatch):
    folder = tmp_path / "cache"
    cached(records, folder)
    packs._file_sum.cache_clear()
    for _ in range(3):
        cached(records, folder)
    assert packs._file_sum.cache_info().misses == 1
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(np.full((20, 20), 7, dtype=np.uint8)).save(other / "a.png")
    packs._file_sum.cache_clear()
    cache_films(Records((Record("a.png", ("a",)),), other), SPEC, folder=folder, n_workers=1)
    assert packs._file_sum.cache_info().misses == 0


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_cache_is_for_its_owner_alone_unless_it_was_there(tmp_path, records, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FSCXR_CACHE", raising=False)
    shared, usual = tmp_path / "shared", tmp_path / "home" / ".cache" / "fewshot_cxr"
    for folder in (shared, usual):
        folder.mkdir(parents=True)
        folder.chmod(0o775)
    for named, found, mode in (
        (shared, shared, 0o775),
        (None, usual, 0o700),
        (tmp_path / "new", tmp_path / "new", 0o700),
    ):
        cached(records, named)
        assert found.stat().st_mode & 0o777 == mode


def test_where_no_cache_can_be_one_line_names_the_way_out(tmp_path, records, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(
        OSError, match=r"decoded films cannot be kept in .*/file/cache \(Not a directory\): name another"
    ):
        cached(records, tmp_path / "file" / "cache")
    refusal = OSError(errno.EROFS, os.strerror(errno.EROFS), "a pack")
    with monkeypatch.context() as patched:
        patched.setattr(cache, "whole_file", lambda pack: (_ for _ in ()).throw(refusal))
        with pytest.raises(OSError, match="Read-only file system") as caught:
            cached(records, tmp_path)
    assert str(caught.value) == (
        f"decoded films cannot be kept in {tmp_path} (Read-only file system): name another folder by --cache-dir or "
        "FSCXR_CACHE"
    )
    monkeypatch.delenv("FSCXR_CACHE", raising=False)
    monkeypatch.setattr(Path, "expanduser", lambda self: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(
        OSError, match="there is no home folder to keep decoded films in: name another folder by --cache"
    ):
        cached(records, None)


def test_a_cache_that_may_only_be_read_serves(tmp_path, records, monkeypatch):
    cached(records, tmp_path / "cache")
    (tmp_path / "cache" / "hashes.json").unlink()

    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(film_files, "write_text", refuse)  # root may write everywhere
    monkeypatch.setattr(cache, "decode_film", refuse)
    assert cached(records, tmp_path / "cache")[1] == []

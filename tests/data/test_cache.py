import json
import multiprocessing
import os
import pickle
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fewshot_cxr.data import cache, cache_films, decode_film, film_files, read_gray, to_square
from fewshot_cxr.data.packs import file_hash
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import Record, Records

SPEC = ImageSpec(size_px=16)


@pytest.fixture
def records(tmp_path):
    root = tmp_path / "films"
    root.mkdir()
    for number in range(70):  # more than one chunk
        film = np.random.default_rng(number).integers(0, 256, (24, 20), dtype=np.uint8)
        Image.fromarray(film).save(root / f"{number}.png")
    return Records(tuple(Record(f"{number}.png", ("a",)) for number in range(70)), root)


@pytest.fixture
def reads(monkeypatch):
    counted = Counter()

    def counting(path, **options):
        counted[path.name] += 1
        return decode_film(path, **options)

    monkeypatch.setattr(cache, "decode_film", counting)
    return counted


def expected(records, spec=SPEC):
    return np.stack([to_square(read_gray(records.file(film)), spec) for film in records])


def test_rows_are_the_films_in_any_order(tmp_path, records):
    films = cache_films(records, SPEC, folder=tmp_path / "cache", n_workers=1)
    order = np.random.default_rng(0).permutation(70)[:33]
    assert np.array_equal(films.rows(order), expected(records)[order])
    assert films.rows([]).shape == (0, 16, 16)
    assert len(films) == 70


def test_each_film_is_decoded_once_and_new_ones_only(tmp_path, records, reads):
    folder = tmp_path / "cache"
    cache_films(records[:40], SPEC, folder=folder, n_workers=1)
    films = cache_films(records, SPEC, folder=folder, n_workers=1)
    assert set(reads.values()) == {1}
    assert len(films.packs) == 2
    assert np.array_equal(films.rows(range(70)), expected(records))


def test_the_recipe_is_part_of_the_key(tmp_path, records, reads):
    for spec in (SPEC, ImageSpec(size_px=16, crop="none"), ImageSpec(size_px=8), ImageSpec(size_px=16, bit_depth=12)):
        assert np.array_equal(
            cache_films(records[:3], spec, folder=tmp_path / "cache", n_workers=1).rows(range(3)),
            expected(records[:3], spec),
        )
    cache_films(records[:3], ImageSpec(size_px=16, n_channels=3, mean=(0.1,)), folder=tmp_path / "cache", n_workers=1)
    assert reads["0.png"] == 4


def test_every_field_that_changes_pixels_is_in_the_key(tmp_path, records, reads):
    options = [{"top_crop": 0.08}, {"top_crop": 1 / 6}, {"border_crop": 0.08}, {"top_crop": 0.08, "border_crop": 0.08}]
    options += [{"crop": "pad"}, {"resize": "bicubic"}]
    for option in options:
        spec = ImageSpec(size_px=16, **option)
        films = cache_films(records[:3], spec, folder=tmp_path / "cache", n_workers=1)
        assert np.array_equal(films.rows(range(3)), expected(records[:3], spec))
    assert reads["0.png"] == len(options)


def test_an_equaliser_is_in_the_key(tmp_path, records, reads):
    pytest.importorskip("cv2", reason="needs fewshot_cxr[clahe]")
    for equalise in ("none", "clahe", "clahe"):
        spec = ImageSpec(size_px=16, equalise=equalise)
        films = cache_films(records[:3], spec, folder=tmp_path / "cache", n_workers=1)
        assert np.array_equal(films.rows(range(3)), expected(records[:3], spec))
    assert reads["0.png"] == 2


def test_a_cache_of_an_older_version_still_serves(tmp_path, records, reads):
    cache_films(records[:3], ImageSpec(size_px=16, per_pixel=True), folder=tmp_path / "cache", n_workers=1)
    assert [place.name for place in (tmp_path / "cache").iterdir() if place.is_dir()] == ["recipe1-square-16px-anybit"]


def test_content_counts_not_the_name(tmp_path, records, reads):
    folder = tmp_path / "cache"
    cache_films(records, SPEC, folder=folder, n_workers=1)
    (records.root / "0.png").rename(records.root / "moved.png")
    os.replace(records.root / "2.png", records.root / "1.png")
    moved = Records((Record("moved.png", ("a",)), Record("1.png", ("a",))), records.root)
    films = cache_films(moved, SPEC, folder=folder, n_workers=1)
    assert np.array_equal(films.rows([0, 1]), expected(moved))
    assert "moved.png" not in reads


def test_an_unreadable_film_costs_one_row(tmp_path, records):
    (records.root / "5.png").write_bytes((records.root / "5.png").read_bytes()[:100])
    (records.root / "6.png").unlink()
    films = cache_films(records, SPEC, folder=tmp_path / "cache", n_workers=1)
    assert [problem.path for problem in films.records.problems] == ["5.png", "6.png"]
    assert [film.path for film in films.records] == [f.path for f in records if f.path not in ("5.png", "6.png")]
    assert np.array_equal(films.rows(range(68)), expected(films.records))


def test_nothing_readable_names_count_and_first_reason(tmp_path, records):
    for number in range(3):
        (records.root / f"{number}.png").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"none of 3 films is readable.*0\.png: the file is empty"):
        cache_films(records[:3], SPEC, folder=tmp_path / "cache", n_workers=1)
    assert not list((tmp_path / "cache").rglob("*.u8"))


def test_a_pack_cut_short_is_built_again(tmp_path, records):
    folder = tmp_path / "cache"
    pack = cache_films(records, SPEC, folder=folder, n_workers=1).packs[0]
    pack.write_bytes(pack.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="1 damaged pack of decoded films"):
        films = cache_films(records, SPEC, folder=folder, n_workers=1)
    assert np.array_equal(films.rows(range(70)), expected(records))
    for listing in [*folder.rglob("*.json")]:
        listing.write_text("{", encoding="utf-8")
    with pytest.warns(UserWarning, match="1 damaged pack of decoded films"):
        films = cache_films(records, SPEC, folder=folder, n_workers=1)
    assert np.array_equal(films.rows(range(70)), expected(records))
    assert np.array_equal(cache_films(records, SPEC, folder=folder, n_workers=1).rows(range(70)), expected(records))


def test_pickle_carries_places_not_pixels(tmp_path, records):
    films = cache_films(records, SPEC, folder=tmp_path / "cache", n_workers=1)
    again = pickle.loads(pickle.dumps(films))
    assert np.array_equal(again.rows([3, 60]), films.rows([3, 60]))
    assert len(pickle.dumps(films)) < 70 * 16 * 16


def test_the_environment_names_the_folder(tmp_path, records, monkeypatch):
    monkeypatch.setenv("FSCXR_CACHE", str(tmp_path / "named"))
    assert cache_films(records[:1], SPEC, n_workers=1).packs[0].is_relative_to(tmp_path / "named")


def test_progress_ends_at_all(tmp_path, records):
    calls = []
    cache_films(
        records, SPEC, folder=tmp_path / "c", n_workers=1, progress=lambda done, total: calls.append((done, total))
    )
    assert calls[-1] == (70, 70)


def test_the_second_call_decodes_nothing(tmp_path, records, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a film was read again")

    films = cache_films(records, SPEC, folder=tmp_path / "cache", n_workers=1)
    monkeypatch.setattr(cache, "decode_film", fail)
    monkeypatch.setattr(film_files, "file_hash", fail)
    again = cache_films(records, SPEC, folder=tmp_path / "cache", n_workers=1)
    assert np.array_equal(again.rows(range(70)), films.rows(range(70)))


def test_changed_content_of_the_old_size_and_time_is_seen(tmp_path, records):
    path = records.root / "0.png"
    contents = [(records.root / name).read_bytes() for name in ("0.png", "1.png")]
    old, new = (content.ljust(max(map(len, contents)), b"\0") for content in contents)  # PNG ends before the padding
    path.write_bytes(old)
    cache_films(records[:1], SPEC, folder=tmp_path / "cache", n_workers=1)
    before = path.stat()
    path.write_bytes(new)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    films = cache_films(records[:1], SPEC, folder=tmp_path / "cache", n_workers=1)
    assert np.array_equal(films.rows([0]), expected(records[1:2]))


def test_a_film_that_is_changed_before_it_is_decoded_does_not_lie_under_its_old_hash(tmp_path, records, monkeypatch):
    file, before = records.root / "3.png", (records.root / "3.png").read_bytes()

    def late(path, **options):
        if path == file:
            Image.new("L", (24, 20), 255).save(file)
        return decode_film(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(cache, "decode_film", late)
        found = cache_films(records, SPEC, folder=tmp_path / "cache")
    assert [(one.path, one.reason) for one in found.records.problems] == [
        ("3.png", "it was changed while it was read: ask again")
    ]
    file.write_bytes(before)
    again = cache_films(records, SPEC, folder=tmp_path / "cache")
    assert not again.records.problems
    np.testing.assert_array_equal(again.rows([3])[0], to_square(read_gray(file), SPEC))


@pytest.mark.parametrize("names", [("a.png", "b.dcm", "0.png"), ("b.dcm", "a.png", "0.png")])
def test_a_picture_named_as_dicom_costs_its_own_row_alone(tmp_path, records, names):
    for name in ("a.png", "b.dcm"):
        shutil.copy(records.root / "1.png", records.root / name)
    for _ in range(2):  # the second time the picture is known
        found = cache_films(Records(tuple(Record(name, ("a",)) for name in names), records.root), SPEC, folder=tmp_path)
        assert sorted(film.path for film in found.records) == ["0.png", "a.png"]
        assert [one.path for one in found.records.problems] == ["b.dcm"]


def test_a_pack_with_other_bytes_is_built_again(tmp_path, records):
    folder = tmp_path / "cache"
    pack = cache_films(records, SPEC, folder=folder, n_workers=1).packs[0]
    pack.write_bytes(bytes(pack.stat().st_size))
    with pytest.warns(UserWarning, match="1 damaged pack of decoded films"):
        cache_films(records, SPEC, folder=folder, n_workers=1)
    assert np.array_equal(cache_films(records, SPEC, folder=folder, n_workers=1).rows(range(70)), expected(records))


def test_a_copied_cache_is_taken(tmp_path, records, reads):
    cache_films(records, SPEC, folder=tmp_path / "cache", n_workers=1)
    shutil.copytree(tmp_path / "cache", tmp_path / "copy", copy_function=shutil.copy)
    films = cache_films(records, SPEC, folder=tmp_path / "copy", n_workers=1)
    assert np.array_equal(films.rows(range(70)), expected(records))
    assert set(reads.values()) == {1}


@pytest.mark.filterwarnings("ignore:.* damaged pack of decoded films")
@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"hashes": 3}', '{"hashes": []}', '{"hashes": [[]]}', "\0", "[" * 9999]
)
def test_damaged_lists_are_built_again(tmp_path, records, content):
    folder = tmp_path / "cache"
    cache_films(records[:5], SPEC, folder=folder, n_workers=1)
    memory = folder / "hashes.json"
    entries = {path: [1] for path in json.loads(memory.read_text(encoding="utf-8"))}
    for listing in folder.rglob("*.json"):
        listing.write_text(json.dumps(entries) if listing == memory else content, encoding="utf-8")
    films = cache_films(records[:5], SPEC, folder=folder, n_workers=1)
    assert np.array_equal(films.rows(range(5)), expected(records[:5]))
    memory.write_text(content, encoding="utf-8")
    assert len(cache_films(records[:5], SPEC, folder=folder, n_workers=1)) == 5


def test_equal_content_under_two_paths_is_decoded_once(tmp_path, records, reads):
    shutil.copy(records.root / "3.png", records.root / "twin.png")
    names = ["3.png", "0.png", "twin.png", "3.png"]
    films = cache_films(
        Records(tuple(Record(name, ("a",)) for name in names), records.root), SPEC, folder=tmp_path / "c", n_workers=1
    )
    assert [film.path for film in films.records] == names
    assert np.array_equal(films.rows(range(4)), expected(films.records))
    assert sum(reads.values()) == 2


def test_a_path_that_leaves_the_root_is_not_read(tmp_path, records, reads):
    (records.root / "link.png").symlink_to(tmp_path / "secret.png")
    (records.root / "linked").symlink_to(tmp_path)
    shutil.copy(records.root / "0.png", tmp_path / "secret.png")
    paths = ["../secret.png", "link.png", "linked/secret.png", str(tmp_path / "secret.png"), "/secret.png", "1.png", ""]
    films = cache_films(
        Records(tuple(Record(path, ("a",)) for path in paths), records.root), SPEC, folder=tmp_path / "c", n_workers=1
    )
    assert [film.path for film in films.records] == ["1.png"]
    assert len(films.records.problems) == 6
    assert all("leaves the data root" in problem.reason for problem in films.records.problems[:5])
    assert set(reads) == {"1.png"}


def test_a_stopped_run_keeps_the_packs_that_were_whole(tmp_path, records, reads, monkeypatch):
    monkeypatch.setattr(cache, "_PACK", 20)
    monkeypatch.setattr(cache, "_CHUNK", 10)

    def stop(done, total):
        assert total == 70
        if done >= 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_films(records, SPEC, folder=tmp_path / "c", n_workers=1, progress=stop)
    assert not list((tmp_path / "c").rglob("*.part"))
    calls = []
    films = cache_films(records, SPEC, folder=tmp_path / "c", n_workers=1, progress=lambda *call: calls.append(call))
    assert calls[0] == (50, 70)
    assert [reads[f"{number}.png"] for number in (0, 39, 40, 69)] == [1, 1, 2, 1]
    assert np.array_equal(films.rows(range(70)), expected(records))


def test_rows_are_mapped_not_loaded(tmp_path, records):
    films = cache_films(records, SPEC, folder=tmp_path / "cache", n_workers=1)
    (mapped,) = films._maps
    while not isinstance(mapped, np.memmap):
        mapped = mapped.base
    assert not mapped.flags.writeable


def build(arguments):
    records, folder = arguments
    return cache_films(records, SPEC, folder=folder, n_workers=2).rows(range(len(records)))


@pytest.mark.slow
def test_two_processes_at_once(tmp_path, records):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        first, second = pool.map(build, [(records, tmp_path / "cache")] * 2)
    assert np.array_equal(first, expected(records))
    assert np.array_equal(second, first)
    assert np.array_equal(build((records, tmp_path / "cache")), first)


def test_no_films(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^none of 0 films is readable$"):
        cache_films(Records((), tmp_path), SPEC, folder=tmp_path / "cache", n_workers=1)


def test_an_older_cache_serves_what_reads_as_it_did(tmp_path, records, reads):
    folder = tmp_path / "cache"
    films = records[:2]
    kinds = {"0.png": "0.png", "1.png": "deep.tif"}
    gray = np.random.default_rng(0).integers(0, 4096, (24, 20), dtype=np.uint16)
    Image.fromarray(gray).save(records.root / "deep.tif")
    films = replace(films, films=tuple(Record(name, ("a",)) for name in kinds.values()))
    with pytest.warns(UserWarning, match="12 bits 1"):
        cache_films(films, SPEC, folder=folder, n_workers=1)
    # As it was written before: without the number of the version, and with the bare hash as the key.
    memory = json.loads((folder / "hashes.json").read_text())
    (folder / "hashes.json").write_text(json.dumps({key: [*e[:3], e[4].split("-")[0]] for key, e in memory.items()}))
    for listing in folder.glob("recipe*/*.json"):
        entry = json.loads(listing.read_text())
        old = {"hash": file_hash(listing.with_suffix(".u8")), "facts": entry["facts"]}
        listing.write_text(json.dumps(old | {"hashes": [key.split("-")[0] for key in entry["hashes"]]}))
    reads.clear()
    with pytest.warns(UserWarning, match="12 bits 1"):
        cache_films(films, SPEC, folder=folder, n_workers=1)
    assert reads == {"deep.tif": 1}


def test_what_should_be_said_of_a_film_is_said_from_the_cache_too(tmp_path, records, reads):
    for name, most in (("twelve.png", 4095), ("fourteen.png", 4200)):
        Image.fromarray(np.linspace(0, most, 480).reshape(24, 20).astype(np.uint16)).save(records.root / name)
    films = replace(records, films=(Record("twelve.png", ("a",)), Record("fourteen.png", ("a",)), records[0]))
    for _ in range(2):
        with pytest.warns(UserWarning, match="by their own maximum: 12 bits 1, 14 bits 1; .*--bit-depth 14"):
            cached = cache_films(films, SPEC, folder=tmp_path / "cache", n_workers=1)
        assert len(cached.records.notes) == 1
    assert set(reads.values()) == {1}
    spec = replace(SPEC, bit_depth=14)
    named = cache_films(films, spec, folder=tmp_path / "cache", n_workers=1)
    assert not named.records.notes
    assert named.rows([0]).max() <= 4095 >> 6


def test_what_a_killed_run_left_half_written_is_swept(tmp_path, records):
    folder = tmp_path / "cache"
    films = cache_films(records[:3], SPEC, folder=folder, n_workers=1)
    place = films.packs[0].parent
    for name in (".0123.u8.17.abcdefgh.part", ".0123.u8.abcdefgh.part"):  # of this version, and of those before
        (place / name).write_bytes(b"half")
    (folder / ".hashes.json.17.abcdefgh.part").write_text("{")
    cache_films(records[:3], SPEC, folder=folder, n_workers=1)
    assert not [*folder.rglob("*.part")]
    assert np.array_equal(films.rows(range(3)), expected(records[:3]))

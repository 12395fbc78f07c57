"""What every reader promises; a new line in READERS is tested the day it is written."""

import pytest

from fewshot_cxr.data import READERS, read_dataset, write_manifest
from fewshot_cxr.records import Records

FILES = {"a/p1_1.png": b"film", "a/p1_2.jpg": b"film", "b/p2_1.tif": b"film", "b/empty.png": b""}


def lay_image_folder(root):
    return root


def lay_manifest(root):
    rows = "".join(f"{path},{path[0]}\n" for path in FILES)
    (root / "films.csv").write_text(f"path,label\n{rows}", encoding="utf-8")
    return root / "films.csv"


LAYOUTS = {"image_folder": lay_image_folder, "manifest": lay_manifest}


@pytest.fixture(params=sorted(READERS))
def place(request, tmp_path):
    assert request.param in LAYOUTS, "write down how a small set for this reader is laid out"
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return request.param, LAYOUTS[request.param](tmp_path)


@pytest.mark.parametrize("as_text", [False, True])
def test_readable_films_and_named_problems(place, as_text):
    name, path = place
    records = read_dataset(name, str(path) if as_text else path)
    assert isinstance(records, Records)
    assert sorted((film.path, film.finding) for film in records) == [
        ("a/p1_1.png", "a"),
        ("a/p1_2.jpg", "a"),
        ("b/p2_1.tif", "b"),
    ]
    assert [(problem.path, "empty" in problem.reason) for problem in records.problems] == [("b/empty.png", True)]
    assert records.notes
    assert all(records.file(film).is_file() for film in records)


def test_reading_twice_gives_the_same(place):
    first, second = (read_dataset(*place) for _ in range(2))
    assert first == second


def test_what_was_read_can_be_written_and_read_again(place, tmp_path):
    records = read_dataset(*place)
    write_manifest(records, tmp_path / "again" / "m.csv")
    again = read_dataset("manifest", tmp_path / "again" / "m.csv")
    assert again.films == records.films
    assert again.root.resolve() == records.root.resolve()


@pytest.mark.parametrize("name", sorted(READERS))
def test_nothing_there(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone: no such"):
        read_dataset(name, tmp_path / "gone")

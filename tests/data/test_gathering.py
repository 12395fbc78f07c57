"""Rows become films or problems; each row is counted once."""

import itertools
import re
from dataclasses import replace

import pytest

from fewshot_cxr.data.readers.csv_table import read_rows
from fewshot_cxr.data.readers.gathering import Gathering, wrong_root
from fewshot_cxr.records import Record


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "deep/b.png", "mask.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"film")
    (tmp_path / "empty.png").touch()
    return tmp_path


@pytest.fixture
def gathering(folder):
    return Gathering(folder)


def add(gathering, folder, row, path, **more):
    gathering.add(folder / "table.csv", row, Record(path, ("x",), **more))


def test_each_row_ends_in_one_place(gathering, folder):
    for row, path in enumerate(("a.png", "deep/b.png", "empty.png", "gone.png", "./a.png"), start=2):
        add(gathering, folder, row, path)
    gathering.leave_out(7, "c.png", "has no finding")
    gathering.pass_over("modality CT")
    gathering.pass_over("modality CT")
    records = gathering.records(["first"])
    assert [film.path for film in records] == ["a.png", "deep/b.png"]
    assert [(problem.row, problem.path, problem.kind) for problem in records.problems] == [
        (4, "empty.png", "unreadable"),
        (5, "gone.png", "missing"),
        (6, "a.png", "duplicate"),
        (7, "c.png", "other"),
    ]
    assert records.n_rows == 8
    assert records.notes == ("first", "2 rows passed over: modality CT")


def test_a_lost_mask_costs_no_film(gathering, folder):
    add(gathering, folder, 2, "a.png", mask_path="mask.png")
    add(gathering, folder, 3, "deep/b.png", mask_path="gone.png")
    records = gathering.records()
    assert [film.mask_path for film in records] == ["mask.png", None]
    assert records.notes == ("1 masks are missing or empty",)


@pytest.mark.parametrize("outside", ["../a.png", "/etc/passwd", "deep/../../a.png"])
def test_no_path_leaves_the_root(gathering, folder, outside):
    expected = re.escape(f"{folder / 'table.csv'}, row 2: {outside} leaves the data root {folder}")
    with pytest.raises(ValueError, match=expected):
        add(gathering, folder, 2, outside)
    with pytest.raises(ValueError, match=expected):
        add(gathering, folder, 2, "a.png", mask_path=outside)


def test_a_link_out_of_the_root_is_refused(folder):
    inner = folder / "inner"
    inner.mkdir()
    (inner / "link.png").symlink_to(folder / "a.png")
    with pytest.raises(ValueError, match=r"row 2: link\.png leaves the data root"):
        add(Gathering(inner), inner, 2, "link.png")


def test_nothing_readable_names_the_first_reason(gathering, folder):
    add(gathering, folder, 2, "gone.png")
    gathering.pass_over("view L")
    expected = r"^none of its 2 rows is readable below .*; gone\.png \(row 2\): the file is missing; 1 rows"
    with pytest.raises(FileNotFoundError, match=expected):
        gathering.records()


def test_a_wrong_root_says_what_was_expected_and_what_is_there(folder):
    error = wrong_root(folder, "images/ and metadata.csv")
    assert str(error) == f"{folder}: expected images/ and metadata.csv; found a.png, deep/, empty.png, mask.png"
    for number in range(5):
        (folder / f"z{number}").touch()
    assert str(wrong_root(folder, "x")).endswith("z0, z1 and 3 more")
    assert str(wrong_root(folder / "gone", "x")) == f"{folder / 'gone'}: no such folder; expected x in it"
    assert str(wrong_root(folder / "a.png", "x")) == f"{folder / 'a.png'} is a file; name the folder with x"


def test_a_table_is_read_by_its_columns(folder):
    (folder / "t.csv").write_text('File Name ,finding,\n"a,b",x\n\n', encoding="utf-8")
    rows, places, notes = read_rows(folder / "t.csv", ("FILE NAME", "finding"))
    assert rows == [["a,b", "x"], []]
    assert places["file name"] == 0
    assert notes == ()
    with pytest.raises(ValueError, match=r"t\.csv has no column view, sex; it has File Name , finding$"):
        read_rows(folder / "t.csv", ("view", "finding", "sex"))


def test_the_record_itself_is_not_changed(gathering, folder):
    film = Record("./deep/b.png", ("x",), patient_id="1")
    gathering.add(folder / "t.csv", 2, film)
    assert gathering.records()[0] == replace(film, path="deep/b.png")


def test_rows_that_disagree_over_the_split_are_conflicts(gathering, folder):
    add(gathering, folder, 2, "a.png", split="train")
    add(gathering, folder, 3, "a.png", split="test")
    add(gathering, folder, 4, "a.png")
    problems = gathering.records().problems
    assert [(problem.row, problem.kind, problem.clash) for problem in problems] == [
        (3, "split_conflict", "train"),
        (4, "duplicate", ""),
    ]
    assert problems[0].reason == "its rows name different splits: test, train"


@pytest.mark.parametrize("rows", list(itertools.permutations(range(6)))[::37])
def test_the_order_of_rows_decides_nothing(folder, rows):
    own = [
        Record("a.png", ("x",), patient_id="1", split="train"),
        Record("a.png", ("x",), sex="F", split="test"),
        Record("deep/b.png", ("x", "y")),
        Record("deep/b.png", ("y", "x"), patient_id="nan", group_id="g"),
        Record("mask.png", ("x",)),
        Record("mask.png", ("No finding",)),
    ]
    gathering = Gathering(folder)
    for number, row in enumerate(rows, start=2):
        gathering.add(folder / "t.csv", number, own[row])
    records = gathering.records()
    found = {film.path: (set(film.findings), film.patient_id, film.group_id, film.split, film.sex) for film in records}
    assert found == {"a.png": ({"x"}, "1", None, "test", "F"), "deep/b.png": ({"x", "y"}, None, "g", None, None)}
    kinds = sorted(problem.kind for problem in records.problems)
    assert kinds == ["duplicate", "finding_conflict", "finding_conflict", "split_conflict"]
    assert "1 films left out, their rows name different findings (the first: mask.png)" in " ".join(records.notes)


@pytest.mark.parametrize("names", list(itertools.permutations(("No finding", "Effusion", "Mass"))))
def test_rows_are_joined_where_that_is_asked(folder, names):
    gathering = Gathering(folder, rows="join")
    for number, name in enumerate(names, start=2):
        gathering.add(folder / "t.csv", number, Record("a.png", (name,)))
    assert gathering.records()[0].findings == ("Effusion", "Mass")


def test_rows_of_two_patients_leave_the_film_out(folder):
    gathering = Gathering(folder, rows="join")
    for number, patient in enumerate("12", start=2):
        gathering.add(folder / "t.csv", number, Record("a.png", ("x",), patient_id=patient))
    add(gathering, folder, 4, "deep/b.png")
    records = gathering.records()
    assert [film.path for film in records] == ["deep/b.png"]
    assert {problem.reason for problem in records.problems} == {"its rows name different patients: 1, 2"}


def test_a_circle_of_links_costs_one_film(folder):
    (folder / "loop.png").symlink_to("loop.png")
    gathering = Gathering(folder)
    add(gathering, folder, 2, "a.png")
    add(gathering, folder, 3, "loop.png")
    records = gathering.records()
    assert [film.path for film in records] == ["a.png"]
    assert [problem.kind for problem in records.problems] == ["missing"]


@pytest.mark.parametrize("n_asked", [3, 40])
def test_a_folder_of_many_films_is_listed_and_says_the_same(folder, n_asked):
    deep, names = folder / "deep", [f"{number}.png" for number in range(n_asked)]
    for name in names:
        (deep / name).write_bytes(b"film")
    (deep / "0.png").unlink()
    (deep / "link.png").symlink_to(folder / "a.png")
    (deep / "dead.png").symlink_to(deep / "gone.png")
    (deep / "folder.png").mkdir()
    gathering = Gathering(folder)
    for name in (*names, "link.png", "dead.png", "folder.png"):
        add(gathering, folder, 2, f"deep/{name}")
    records = gathering.records()
    assert [film.path for film in records] == [f"deep/{name}" for name in (*names[1:], "link.png")]
    assert [(problem.path, problem.kind) for problem in records.problems] == [
        (f"deep/{name}", "missing") for name in ("0.png", "dead.png", "folder.png")
    ]


@pytest.mark.parametrize("path", ["a/" * 60_000, "x" * 5_000, "circle/a.png", "a.png/b.png", "a\0.png"])
def test_a_path_that_no_file_can_have_costs_its_row(gathering, folder, path):
    (folder / "circle").symlink_to(folder / "circle")
    add(gathering, folder, 2, path)
    add(gathering, folder, 3, "a.png")
    records = gathering.records()
    assert [film.path for film in records] == ["a.png"]
    assert [problem.kind for problem in records.problems] == ["missing"]

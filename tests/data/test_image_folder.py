import os

import pytest

from fewshot_cxr.data import read_dataset, write_manifest


@pytest.fixture
def root(tmp_path):
    for path in (
        "normal/p1_a.png",
        "normal/deep/p1_b.PNG",
        "covid19/p2_a.jpg",
        "covid19/odd.tif",
        "covid19/._p2_a.jpg",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"film")
    return tmp_path


def test_folders_are_findings(root):
    records = read_dataset("image_folder", root)
    assert [(film.path, film.finding) for film in records] == [
        ("covid19/odd.tif", "covid19"),
        ("covid19/p2_a.jpg", "covid19"),
        ("normal/deep/p1_b.PNG", "normal"),
        ("normal/p1_a.png", "normal"),
    ]
    assert len({film.group for film in records}) == 4
    assert "--patient-pattern" in records.notes[0]


@pytest.mark.parametrize("pattern", [r"(p\d+)_", r"p\d+"])
def test_patients_by_pattern(root, pattern):
    records = read_dataset("image_folder", root, patient_pattern=pattern)
    assert [film.patient_id for film in records] == [None, "p2", "p1", "p1"]
    assert records.notes == ("1 of 4 paths do not match the patient pattern: each is its own patient",)


def test_a_pattern_that_is_none(root):
    with pytest.raises(ValueError, match=r"--patient-pattern '\(' is no regular expression"):
        read_dataset("image_folder", root, patient_pattern="(")


def test_loose_and_empty_pictures_are_problems(root):
    (root / "loose.png").write_bytes(b"film")
    (root / "normal" / "zero.png").touch()
    records = read_dataset("image_folder", root)
    assert [(p.path, p.reason) for p in records.problems] == [
        ("loose.png", "lies in no finding's folder"),
        ("normal/zero.png", "is empty"),
    ]
    assert len(records) == 4


def test_split_folders(tmp_path):
    for path in ("train/a/1.png", "VALID/a/2.png", "test/b/3.png"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(b"film")
    films = read_dataset("image_folder", tmp_path)
    assert {(film.split, film.finding) for film in films} == {("train", "a"), ("val", "a"), ("test", "b")}


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected .*/<finding>/\*\.png .*found nothing"):
        read_dataset("image_folder", tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_dataset("image_folder", tmp_path / "gone")


def test_hidden_folders_and_linked_ones(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "o.png").write_bytes(b"film")
    (root / ".thumbs").mkdir()
    (root / ".thumbs" / "t.png").write_bytes(b"film")
    (root / "linked").symlink_to(outside)
    (root / "normal" / "link.png").symlink_to(outside / "o.png")
    (root / "normal" / "broken.png").symlink_to(root / "gone.png")
    records = read_dataset("image_folder", root)
    assert len(records) == 4
    assert [(p.path, p.reason) for p in records.problems] == [
        ("linked", "is a link to a folder, which is not followed"),
        ("normal/broken.png", "cannot be opened: No such file or directory"),
        ("normal/link.png", "is a link that leaves the folder"),
    ]


def test_a_splits_name_is_no_finding(root):
    (root / "train").mkdir()
    (root / "train" / "a.png").write_bytes(b"film")
    records = read_dataset("image_folder", root)
    assert records.findings == ("covid19", "normal")
    assert [(p.path, p.reason) for p in records.problems] == [("train/a.png", "lies in no finding's folder")]


def test_nothing_but_loose_films(tmp_path):
    (tmp_path / "a.png").write_bytes(b"film")
    with pytest.raises(FileNotFoundError, match=r"found a\.png; 1 left out, the first: a\.png lies in no finding's"):
        read_dataset("image_folder", tmp_path)


def test_names_that_are_odd_and_names_that_are_no_text(tmp_path):
    (tmp_path / "a").mkdir()
    names = ["line\nbreak.png", "narrow\u202fblank.png", os.fsdecode(b"latin-\xe9.png")]
    try:
        for name in names:
            (tmp_path / "a" / name).write_bytes(b"film")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    records = read_dataset("image_folder", tmp_path)
    assert [film.path for film in records] == [f"a/{name}" for name in names[:2]]
    assert [problem.reason for problem in records.problems] == ["has a name that is not UTF-8"]
    write_manifest(records, tmp_path / "m.csv")
    assert read_dataset("manifest", tmp_path / "m.csv").films == records.films

"""ChestX-ray14: both forms of its table, the sample, its lists and boxes, in whole and in part."""

import json
from collections import Counter

import pytest

from fewshot_cxr.data.readers.chestxray14 import read_bounding_boxes, read_chestxray14

NAMES = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
HEADERS = {
    "Data_Entry_2017_v2020.csv": NAMES + "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]",
    "Data_Entry_2017.csv": NAMES + "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],",
    "sample_labels.csv": NAMES + "OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,"
    "OriginalImagePixelSpacing_y",
}
LABELS = {
    "00000001_000.png": "Cardiomegaly",
    "00000001_001.png": "Cardiomegaly|Emphysema",
    "00000002_000.png": "No Finding",
    "00000013_000.png": "Infiltration",
    "00000013_001.png": "Pleural_Thickening|Mass|Hernia",
}
V2020, FIRST = "Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"


def write_table(path, labels=LABELS, age="58"):
    rows = [
        f"{name},{label},{int(name[9:12])},{int(name[:8])},{age},M,PA,2682,2749,0.143,0.143"
        for name, label in labels.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADERS[path.name], *rows, ""]), encoding="utf-8")


def write_films(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"film")


@pytest.fixture
def root(tmp_path):
    write_table(tmp_path / V2020)
    write_films(*(tmp_path / f"images_{1 + at // 3:03d}" / "images" / name for at, name in enumerate(LABELS)))
    return tmp_path


@pytest.mark.parametrize("table", [V2020, FIRST])
def test_both_headers_give_the_same_films(tmp_path, table):
    write_table(tmp_path / table)
    write_films(*(tmp_path / "images" / name for name in LABELS))
    records = read_chestxray14(tmp_path)
    assert [film.path for film in records] == [f"images/{name}" for name in LABELS]
    assert ["|".join(film.findings) for film in records] == list(LABELS.values())
    assert [film.patient_id for film in records] == ["1", "1", "2", "13", "13"]
    film = records[1]
    assert (film.view, film.sex, film.age_years, film.source, film.split) == ("PA", "M", 58.0, "NIH", None)
    assert film.attributes == {"Follow-up #": "1", "Patient Age": "58"}
    assert records.n_rows == 5
    assert not records.problems
    assert records.notes[0] == f"the table is {table}"


@pytest.mark.parametrize(
    "folder", ["", "images", "images_001/images", "images_012", "Images/images_small", "images-224/images-224"]
)
def test_films_may_lie_in_any_folder_of_images(tmp_path, folder):
    write_table(tmp_path / V2020)
    write_films(*(tmp_path / folder / name for name in LABELS))
    prefix = f"{folder}/" if folder else ""
    assert [film.path for film in read_chestxray14(tmp_path)] == [prefix + name for name in LABELS]


@pytest.mark.parametrize("table", ["sample_labels.csv", "sample/sample_labels.csv"])
@pytest.mark.parametrize("folder", ["sample", "sample/images", "sample/sample/images", "images"])
def test_the_sample_release(tmp_path, table, folder):
    write_table(tmp_path / table, age="060Y")
    write_films(*(tmp_path / folder / name for name in LABELS))
    records = read_chestxray14(tmp_path)
    assert [film.path for film in records] == [f"{folder}/{name}" for name in LABELS]
    assert {film.age_years for film in records} == {60.0}
    assert "no official split: train_val_list.txt and test_list.txt are not both there" in records.notes


def test_the_corrected_table_is_taken_first_unless_another_is_named(root):
    write_table(root / FIRST, age="411")
    assert {film.age_years for film in read_chestxray14(root)} == {58.0}
    records = read_chestxray14(root, table="2017")
    assert {film.age_years for film in records} == {None}
    assert records.notes[0] == "the table is Data_Entry_2017.csv"
    assert "5 ages are no number below 120 years: unknown, as written in 'Patient Age'" in records.notes
    with pytest.raises(FileNotFoundError, match=r"expected sample_labels.csv or .*; found Data_Entry_2017.csv"):
        read_chestxray14(root, table="sample")


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("58", 58.0),
        ("058Y", 58.0),
        ("006M", 0.5),
        ("000D", 0.0),
        ("013D", 13 / 365.25),
        ("58.0", 58.0),
        ("119", 119.0),
        ("120", None),
        ("411", None),
        ("150Y", None),
        ("", None),
        ("-3", None),
        ("unknown", None),
    ],
)
def test_ages_in_every_spelling(tmp_path, text, years):
    write_table(tmp_path / V2020, age=text)
    write_films(*(tmp_path / name for name in LABELS))
    film = read_chestxray14(tmp_path)[0]
    assert film.age_years == (years if years is None else pytest.approx(years))
    assert film.attributes["Patient Age"] == text


def test_official_lists_become_splits(root):
    (root / "train_val_list.txt").write_text("00000001_000.png\n00000001_001.png\n00000002_000.png", encoding="utf-8")
    (root / "test_list.txt").write_text("00000013_000.png\r\n00000013_001.png", encoding="utf-8")
    records = read_chestxray14(root)
    assert [film.split for film in records] == ["train"] * 3 + ["test"] * 2
    assert any("carve validation from it by patient" in note for note in records.notes)
    (root / "test_list.txt").write_text("00000001_001.png", encoding="utf-8")
    with pytest.raises(ValueError, match=r"1 films are in both official lists, such as 00000001_001\.png"):
        read_chestxray14(root)


def test_one_list_alone_is_no_split_and_a_patient_in_both_is_told(root):
    (root / "train_val_list.txt").write_text("00000001_000.png", encoding="utf-8")
    assert {film.split for film in read_chestxray14(root)} == {None}
    (root / "test_list.txt").write_text("00000001_001.png", encoding="utf-8")
    records = read_chestxray14(root)
    assert [film.split for film in records] == ["train", "test", None, None, None]
    assert "1 patients are in both official splits" in records.notes


def test_a_partial_download_is_counted_row_by_row(root):
    (root / "images_001/images/00000001_001.png").unlink()
    (root / "images_001/images/00000002_000.png").write_bytes(b"")
    write_films(root / "images_002/images/00000099_000.png", root / "images_002/images/00000013_000.png")
    records = read_chestxray14(root)
    assert [(problem.row, problem.path, problem.kind) for problem in records.problems] == [
        (3, "00000001_001.png", "missing"),
        (4, "images_001/images/00000002_000.png", "unreadable"),
    ]
    assert records.n_rows == 5 == len(records) + 2
    assert "1 of 5 rows have no film here, which is usual after a partial download" in records.notes
    assert "1 films have no row in the table and were passed over" in records.notes


def test_a_film_in_two_folders_is_taken_once_and_told(root):
    write_films(root / "images_002/images/00000001_000.png")
    records = read_chestxray14(root)
    assert records[0].path == "images_001/images/00000001_000.png"
    assert len(records) == 5
    assert any(note.startswith("1 films lie in more than one folder") for note in records.notes)


@pytest.mark.parametrize(
    ("row", "kind", "reason"),
    [
        ("00000001_000.png,Cardiomegaly,0,1,58,M,PA", "duplicate", "the file is named in an earlier row"),
        ("00000003_000.png,Cough,0,3,58,M,PA", "other", "'Cough' is none of the 14 findings, nor No Finding"),
        ("00000003_000.png,No Finding|Mass,0,3,58,M,PA", "other", "'No Finding|Mass' is none of the 14 findings"),
        ("00000003_000.png,,0,3,58,M,PA", "other", "'' is none of the 14 findings"),
        (",Mass,0,3,58,M,PA", "other", "the row names no film"),
        ("00000003_000.png,Mass", "other", "the row has 2 cells, at least 7 were expected"),
    ],
)
def test_a_row_that_cannot_be_used_is_a_problem(root, row, kind, reason):
    with (root / V2020).open("a", encoding="utf-8") as file:
        file.write(f"\n{row}\n")  # after an empty line, which is no row
    records = read_chestxray14(root)
    (problem,) = records.problems
    assert (problem.row, problem.kind) == (8, kind)
    assert problem.reason.startswith(reason)
    assert records.n_rows == 6


def test_single_label_keeps_one_of_the_14_findings(root):
    records = read_chestxray14(root, classes="single_label")
    assert [film.finding for film in records] == ["Cardiomegaly", "Infiltration"]
    assert records.n_rows == 5
    assert "1 rows passed over: they have No Finding" in records.notes
    assert "2 rows passed over: they have several findings" in records.notes


def test_what_is_wrong_is_named(root, tmp_path_factory):
    with pytest.raises(ValueError, match="unknown table of chestxray14 'v2021'.*choose from 2017, newest, sample"):
        read_chestxray14(root, table="v2021")
    with pytest.raises(ValueError, match="unknown classes of chestxray14 'single'"):
        read_chestxray14(root, classes="single")
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(FileNotFoundError, match=r"expected Data_Entry_2017_v2020.csv or .*; found nothing"):
        read_chestxray14(empty)
    (root / V2020).write_text("Image Index,Finding Labels\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no column Follow-up #, Patient ID"):
        read_chestxray14(root)


def test_a_table_cannot_name_a_file_outside(root):
    write_films(root.parent / "outside.png")
    with (root / V2020).open("a", encoding="utf-8") as file:
        file.write("../outside.png,Mass,0,3,58,M,PA\n")
    with pytest.raises(ValueError, match=r"row 7: \.\./outside\.png leaves the data root"):
        read_chestxray14(root)


def test_boxes_by_film(tmp_path):
    rows = "a.png,Infiltrate,1.5,2,30,40.25\nb.png,Mass,0,0,1,1,,,\na.png,Mass,5,6,7,8\n"
    (tmp_path / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n" + rows, encoding="utf-8"
    )
    boxes = read_bounding_boxes(tmp_path)
    assert boxes == {
        "a.png": (("Infiltration", 1.5, 2.0, 30.0, 40.25), ("Mass", 5.0, 6.0, 7.0, 8.0)),
        "b.png": (("Mass", 0.0, 0.0, 1.0, 1.0),),
    }
    assert boxes["a.png"][0].width == 30.0


@pytest.mark.parametrize("row", ["a.png,Mass,1,2,3", "a.png,Mass,1,2,3,x", "a.png,Mass,1,2,0,4", "a.png,Cough,1,2,3,4"])
def test_a_row_that_is_no_box_is_an_error(tmp_path, row):
    path = tmp_path / "BBox_List_2017.csv"
    path.write_text(f"Image Index,Finding Label,Bbox [x,y,w,h],,,\n{row}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"BBox_List_2017\.csv, row 2"):
        read_bounding_boxes(tmp_path)


def test_absent_boxes_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected BBox_List_2017\.csv; found nothing"):
        read_bounding_boxes(tmp_path)


@pytest.mark.parametrize("table", ["v2020", "2017"])
def test_the_real_layout(fscxr_data, table):
    layouts = fscxr_data / "layouts"
    expected = json.loads((layouts / "EXPECTED.json").read_text(encoding="utf-8"))["chestxray14"]
    records = read_chestxray14(layouts / "chestxray14", table=table)
    assert (len(records), records.n_rows) == (expected["images"], expected["rows"])
    assert Counter(problem.kind for problem in records.problems) == {"missing": 630 - 35}
    parts = Counter(str(int(film.path[len("images_") :][:3])) for film in records)
    assert parts == expected["parts"]
    assert sum(film.split == "train" for film in records) == expected["chosen_in_train_val"]
    assert {film.split for film in records} == {"train", "test"}
    assert not any("both official splits" in note for note in records.notes)
    boxes = read_bounding_boxes(layouts / "chestxray14")
    assert sum(map(len, boxes.values())) == expected["bbox_rows"]
    assert len({box.finding for found in boxes.values() for box in found}) == 8


def test_the_real_lists_are_whole(fscxr_data, tmp_path):
    """Every listed film as a row: 86,524 and 25,596 of them, 30,805 patients, none on both sides."""
    layout = fscxr_data / "layouts" / "chestxray14"
    for name in ("train_val_list.txt", "test_list.txt"):
        (tmp_path / name).write_bytes((layout / name).read_bytes())
    names = [name for path in sorted(tmp_path.glob("*.txt")) for name in path.read_text(encoding="utf-8").split()]
    write_table(tmp_path / V2020, dict.fromkeys(names, "No Finding"))
    write_films(tmp_path / names[0], tmp_path / names[-1])
    records = read_chestxray14(tmp_path)
    assert records.n_rows == 112_120
    assert len(records.problems) == 112_118
    assert {film.split for film in records} == {"train", "test"}
    assert len({name[:8] for name in names}) == 30_805

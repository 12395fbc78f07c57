"""The sets that teach most, with the mess that each is known for."""

import csv
import gzip
import json
from pathlib import Path

import made_layouts
import numpy as np
import pytest
from made_layouts import (
    CHEXPERT,
    draw,
    labels_of,
    lay_brax,
    lay_chestxray14,
    lay_chexpert,
    lay_mimic_cxr_jpg,
    lay_montgomery,
    lay_padchest,
    lay_rsna_pneumonia,
    lay_siim_acr,
    lay_vindr_cxr,
    write_csv,
)

from fewshot_cxr.cli.sources import Reading, read_sources
from fewshot_cxr.data import read_dataset, read_gray
from fewshot_cxr.data.readers import BoundingBox, read_rsna_boxes, read_vindr_boxes
from fewshot_cxr.data.readers.chexpert_labels import stated
from fewshot_cxr.data.readers.drawn_masks import mask_of_runs
from fewshot_cxr.data.readers.padchest import KNOWN_DAMAGED
from fewshot_cxr.data.readers.published_counts import PUBLISHED_FILMS
from fewshot_cxr.data.readers.published_table import published_rows
from fewshot_cxr.records import Records


def test_what_fourteen_cells_state():
    cells = labels_of(2, "-1.0")
    assert stated(tuple(cells), None) == ((), ("Pneumonia",), "")
    assert "every finding that they state is uncertain" in stated(tuple(cells), None).unasked
    assert stated(tuple(cells), True).findings == ("Pneumonia",)
    assert stated(tuple(cells), False).findings == ("No Finding",)
    assert stated(("",) * 14, None).findings == ("No Finding",)
    assert stated(("1", *[""] * 12, "1.0"), None).findings == ("No Finding", "Support Devices")
    assert stated(("2", *[""] * 13), None).fault == "its No Finding is '2'; 1, 0, -1 or blank was expected"


def test_chexpert_tells_views_splits_and_uncertain_findings(tmp_path):
    root = lay_chexpert(tmp_path)
    films = read_dataset("chexpert", root)
    assert films.count_by(lambda film: film.split) == {"train": 19, "val": 6}
    assert {(film.view, film.sex, film.age_years, film.source) for film in films} == {("AP", "F", 68.0, "Stanford")}
    assert films.findings == ("Edema", "No Finding", "Pneumonia")
    assert any(
        note.startswith("1 rows passed over: every finding that they state is uncertain") for note in films.notes
    )
    assert "1 rows passed over: view lateral" in films.notes
    # The film of the second study is another file, which is not there: asked for, it is a missing one.
    taken = read_dataset("chexpert", root, uncertain="positive", views=("all",))
    assert [problem.path for problem in taken.problems if problem.kind == "missing"][1:] == [
        "train/patient00002/study1/view2_lateral.jpg",
        "train/patient00002/study2/view1_frontal.jpg",
    ]
    with pytest.raises(ValueError, match="unknown uncertain 'zeros'"):
        read_dataset("chexpert", root, uncertain="zeros")


def test_chexpert_in_the_folders_of_its_four_archives(tmp_path):
    """The paths say CheXpert-v1.0/train/..., and no such folder comes with the archives."""
    first, second = (tmp_path / f"CheXpert-v1.0 batch {text}" for text in ("1 (validate & csv)", "2 (train 1)"))
    path = "patient00001/study1/view1_frontal.jpg"
    draw(second / path, 1)
    draw(first / "valid" / path.replace("1/study", "2/study"), 2)
    head = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT]
    for name, number in (("train", 1), ("valid", 2)):
        cells = [f"CheXpert-v1.0/{name}/{path.replace('00001', f'{number:05d}')}", "Male", 0, "Frontal", "PA"]
        write_csv(first / f"{name}.csv", head, [[*cells, *labels_of(0)]])
    films = read_dataset("chexpert", tmp_path)
    assert [film.path for film in films] == [
        f"CheXpert-v1.0 batch 2 (train 1)/{path}",
        "CheXpert-v1.0 batch 1 (validate & csv)/valid/patient00002/study1/view1_frontal.jpg",
    ]
    assert [(film.split, film.sex, film.age_years) for film in films] == [("train", "M", None), ("val", "M", None)]
    # The labels of the test part come later, alone, and without what is known of the patients.
    draw(tmp_path / "test" / "patient64741/study1/view1_frontal.jpg", 3)
    row = ["test/patient64741/study1/view1_frontal.jpg", *labels_of(1)]
    write_csv(tmp_path / "test_labels.csv", ["Path", *CHEXPERT], [row])
    (film,) = read_dataset("chexpert", tmp_path).of_split("test")
    assert (film.path, film.view, film.findings) == (row[0], "frontal", ("Edema",))


def test_mimic_joins_three_tables(tmp_path):
    films = read_dataset("mimic_cxr_jpg", lay_mimic_cxr_jpg(tmp_path))
    assert films.count_by(lambda film: film.split) == {"val": 6, "train": 19}
    assert films[0].path == "files/p10/p10000000/s50000000/00000000-film.jpg"
    assert (films[0].patient_id, films[0].view, films[0].findings) == ("10000000", "PA", ("No Finding",))
    assert {"1 rows passed over: view LATERAL", "1 rows passed over: their study has no labels"} <= {*films.notes}
    table = tmp_path / "mimic-cxr-2.0.0-chexpert.csv.gz"
    (tmp_path / "mimic-cxr-2.1.0-negbio.csv").write_bytes(gzip.decompress(table.read_bytes()))
    again = read_dataset("mimic_cxr_jpg", tmp_path, labels="negbio")
    assert again.films == films.films
    assert again.notes[0] == "findings are those of mimic-cxr-2.1.0-negbio.csv, by NegBio"
    table.write_bytes(table.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"chexpert.csv.gz is no whole CSV .*; fetch it again"):
        read_dataset("mimic_cxr_jpg", tmp_path)
    table.unlink()
    with pytest.raises(FileNotFoundError, match=r"expected mimic-cxr-2.0.0-chexpert.csv.gz; found files/"):
        read_dataset("mimic_cxr_jpg", tmp_path)


def test_padchest_reads_lists_and_names_what_is_damaged(tmp_path):
    root = lay_padchest(tmp_path)
    table = next(root.glob("*.csv"))
    rows = list(csv.reader(table.read_text(encoding="utf-8").splitlines()))
    bad = min(KNOWN_DAMAGED)
    draw(root / "1" / bad, 7)
    write_csv(table, rows[0], [*rows[1:], ["", bad, "1.0", *rows[1][3:7], "AP_horizontal", *rows[1][8:]]])
    films = read_dataset("padchest", root)
    assert films.findings == ("No Finding", "pleural effusion", "pneumonia")
    assert {film.age_years for film in films} == {84.0}
    assert films[0].attributes == {"MethodLabel": "RNN_model", "Pediatric": "No"}
    assert f"1 films that were damaged in the release are among these, such as {bad}" in films.notes
    why = ("no finding is stated", "they are labelled exclude", "view L")
    assert [note.partition(": ")[::2] for note in films.notes if "passed over" in note] == [
        (f"{count} rows passed over", text) for count, text in zip((2, 1, 1), why, strict=True)
    ]
    assert films[-1].path == f"1/{bad}"
    table.write_bytes(table.read_bytes() + b'9,x.png,0,\xe9,p,1930,F,PA,No,"Physi\xf3",nan\n')  # Latin-1 in free text
    assert len(read_dataset("padchest", root)) == len(films)


def test_vindr_asks_its_three_readers(tmp_path):
    root = lay_vindr_cxr(tmp_path)
    most = read_dataset("vindr_cxr", root)
    assert most.findings == ("Cardiomegaly", "No Finding", "Nodule/Mass")
    film = next(film for film in most if film.split == "train")
    assert (film.findings, film.attributes["agreement"]) == (("Cardiomegaly",), "Cardiomegaly 2/3|No Finding 1/3")
    everyone = read_dataset("vindr_cxr", root, readers="all")
    assert {film.findings for film in everyone if film.split == "train"} == {("No Finding",)}
    anyone = read_dataset("vindr_cxr", root, readers="any")
    assert len(anyone) == len(most)
    assert most.count_by(lambda film: film.split) == {"train": 19, "test": 6}
    assert not any(film.patient_id for film in most)
    assert any("patients are unknown" in note for note in most.notes)


def test_vindr_in_the_form_of_kaggle(tmp_path):
    draw(tmp_path / "train" / "a.png", 1)
    head = ["image_id", "class_name", "class_id", "rad_id", "x_min", "y_min", "x_max", "y_max"]
    rows = [["a", "Cardiomegaly", 3, f"R{n}", 10, 20, 30 + n, 60] for n in (1, 2, 2)]
    write_csv(tmp_path / "train.csv", head, [*rows, ["a", "No finding", 14, "R3", "", "", "", ""]])
    (film,) = read_dataset("vindr_cxr", tmp_path)
    assert (film.findings, film.attributes["agreement"]) == (("Cardiomegaly",), "Cardiomegaly 2/3|No Finding 1/3")
    boxes = read_vindr_boxes(tmp_path)
    assert boxes == {"a": tuple(BoundingBox("Cardiomegaly", 10, 20, 20 + n, 40) for n in (1, 2, 2))}
    write_csv(tmp_path / "train.csv", head, [["a", "Cardiomegaly", 3, "R1", 10, 20, 5, 60]])
    with pytest.raises(ValueError, match="row 2 is no box: 'Cardiomegaly'"):
        read_vindr_boxes(tmp_path)


def test_rsna_shares_its_patients_with_chestxray14(tmp_path):
    lay_rsna_pneumonia(tmp_path / "rsna").joinpath("stage_2_train_images").is_dir()
    lay_chestxray14(tmp_path / "nih")
    films = read_dataset("rsna_pneumonia", tmp_path / "rsna")
    assert films.findings == ("Lung Opacity", "No Lung Opacity / Not Normal", "Normal")
    assert films[9].attributes == {"chestxray14": "00000101_004.png"}
    both = read_sources([f"rsna_pneumonia:{tmp_path / 'rsna'}", f"chestxray14:{tmp_path / 'nih'}"], Reading())
    assert any(note.startswith("patient ids in several of rsna_pneumonia, chestxray14: 25") for note in both.notes)
    assert {film.patient_id for film in both if film.attributes["dataset"] == "rsna_pneumonia"} <= {
        film.patient_id for film in both if film.attributes["dataset"] == "chestxray14"
    }
    assert (
        read_rsna_boxes(tmp_path / "rsna")["00000100-cf54-4385"] == (BoundingBox("Lung Opacity", 10, 20, 30, 40),) * 2
    )
    names = tmp_path / "rsna" / "pneumonia-challenge-dataset-mappings_2018.json"
    names.write_text(json.dumps([{"img_id": "x.png"}]))
    with pytest.raises(ValueError, match="is not the map to ChestX-ray14"):
        read_dataset("rsna_pneumonia", tmp_path / "rsna")
    names.unlink()
    unknown = read_dataset("rsna_pneumonia", tmp_path / "rsna")
    assert {film.patient_id for film in unknown} == {None}
    assert unknown.notes[-1].startswith(
        "patients are unknown: each film counts as its own patient; pneumonia-challenge"
    )


def test_siim_masks_are_written_as_its_runs_say(tmp_path):
    films = read_dataset("siim_acr", lay_siim_acr(tmp_path))
    assert {film.mask_path for film in films} == {None}
    assert films.count_findings() == {"No Pneumothorax": 9, "Pneumothorax": 8}
    written = read_dataset("siim_acr", tmp_path, write_masks=True)
    assert read_dataset("siim_acr", tmp_path).films == films.films  # masks are no films
    mask = read_gray(written.root / next(film.mask_path for film in written if film.mask_path))
    slow = np.zeros((1024, 1024), np.uint8)
    for start, length in ((5, 3), (5 + 3 + 1021, 3), (9, 1)):
        for place in range(start, start + length):
            slow[place % 1024, place // 1024] = 255  # down the columns
    np.testing.assert_array_equal(mask, slow)


@pytest.mark.parametrize(
    ("text", "says"),
    [("1 2 3", "no pairs"), ("-4 2", "no pairs"), ("17 1", "leave the film of 4 x 4"), ("a b", "invalid")],
)
def test_runs_that_are_none(text, says):
    with pytest.raises(ValueError, match=says):
        mask_of_runs([text], 4)


def test_montgomery_joins_the_masks_of_both_lungs(tmp_path):
    films = read_dataset("montgomery", lay_montgomery(tmp_path), write_masks=True)
    film = films[0]
    assert (film.findings, film.age_years, film.sex, film.patient_id) == (("normal",), 27.0, "F", "0000")
    sides = [films.root / "ManualMask" / side / "MCUCXR_0000_0.png" for side in ("leftMask", "rightMask")]
    np.testing.assert_array_equal(read_gray(films.root / film.mask_path) > 0, sum(map(read_gray, sides)) > 0)
    draw(sides[0], 1)
    (sides[1]).write_bytes(b"none")
    again = read_dataset("montgomery", tmp_path, write_masks=True)
    assert (again[0].path, again[0].mask_path) == ("CXR_png/MCUCXR_0000_0.png", None)
    assert "1 films have masks that cannot be read, the first: MCUCXR_0000_0.png" in again.notes


def test_brax_takes_the_dicom_where_there_is_no_png(tmp_path):
    root = lay_brax(tmp_path)
    films = read_dataset("brax", root)
    assert {(film.age_years, film.sex) for film in films} == {(85.0, "M")}
    png, dicom = root / films[3].path, root / "Anonymized_DICOMs/id_3/image-3.dcm"
    dicom.parent.mkdir(parents=True)
    png.rename(dicom)
    assert read_dataset("brax", root)[3].path == "Anonymized_DICOMs/id_3/image-3.dcm"


def test_a_row_of_another_width_costs_itself(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("a,b,c\n1,2,3\n\n4,5\n,,\n6,7,8\n", encoding="utf-8")
    rows = list(published_rows(table, ("C", "a"), ("none",)))
    assert [cells for _, cells, fault in rows if not fault] == [("3", "1", ""), ("", "", ""), ("8", "6", "")]
    assert [(number, cells[0], fault) for number, cells, fault in rows if fault] == [
        (4, "4", "the row has 2 cells, 3 were expected")
    ]
    with pytest.raises(ValueError, match="t.csv has no column d; it has a, b, c"):
        list(published_rows(table, ("d",)))


def test_a_row_that_breaks_off_is_no_word_for_normal(tmp_path):
    """A row cut short, or a blank cell, would otherwise say that nothing was found."""
    root = lay_siim_acr(tmp_path / "siim")
    table = root / "train-rle.csv"
    draw(root / "x.png", 1), draw(root / "y.png", 2)
    table.write_text(table.read_text() + "x\ny,\n")
    told = [(one.path, one.reason) for one in read_dataset("siim_acr", root).problems if one.kind == "other"]
    assert told == [("x", "the row has 1 cells, 2 were expected"), ("y", "it has neither runs nor -1")]
    root = lay_vindr_cxr(tmp_path / "vindr")
    table = root / "annotations" / "image_labels_train.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, lines[1].rpartition(",")[0]]))
    (cut,) = (one for one in read_dataset("vindr_cxr", root).problems if one.kind == "other")
    assert cut.reason == "the row has 4 cells, 5 were expected"
    assert read_dataset("vindr_cxr", root)[0].attributes["agreement"] == "Cardiomegaly 2/3|No Finding 1/3"


def test_padchest_without_folders_in_its_table(tmp_path):
    root = lay_padchest(tmp_path)
    table = next(root.glob("*.csv"))
    header, first, *_ = csv.reader(table.read_text(encoding="utf-8").splitlines())
    draw(root / "flat.png", 1)
    write_csv(table, header, [["", "flat.png", "", *first[3:]]])
    assert [film.path for film in read_dataset("padchest", root)] == ["flat.png"]


def test_each_set_is_a_plain_list_of_films(tmp_path):
    assert isinstance(read_dataset("shenzhen", lay_shenzhen_with_masks(tmp_path)), Records)


def lay_shenzhen_with_masks(root):
    draw(root / "ChinaSet_AllFiles/CXR_png/CHNCXR_0001_1.png", 1)
    draw(root / "ChinaSet_AllFiles/mask/CHNCXR_0001_1_mask.png", 2)
    return root


@pytest.mark.parametrize("name", sorted(PUBLISHED_FILMS))
def test_a_part_of_a_set_is_told_from_the_whole(name, tmp_path):
    films = read_dataset(name, getattr(made_layouts, f"lay_{name}")(tmp_path))
    count = f"{PUBLISHED_FILMS[name]:,}"
    assert f"{films.n_rows:,} films are listed here; the publication counts {count}" in films.notes
    pages = (Path(__file__).parents[2] / "docs").glob("datasets-*.md")
    assert any(f"{count} " in page.read_text("utf-8") for page in pages)

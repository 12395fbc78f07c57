import hashlib
import hmac
import os
from dataclasses import replace

import numpy as np
import pytest
from made_dicom import content_of, dataset

from fewshot_cxr.data import READERS, cache_films, find_films, read_dataset, verify_films, write_manifest
from fewshot_cxr.data.dicom_header import AGE_TEXT
from fewshot_cxr.data.film import LATERAL
from fewshot_cxr.image_spec import ImageSpec


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


def test_a_folder_without_films_is_named(root):
    for name in ("tuberculosis", "effusion", ".hidden"):
        (root / name).mkdir()
    assert "no film lies in the folder effusion, tuberculosis" in read_dataset("image_folder", root).notes


@pytest.mark.parametrize("pattern", [r"(p\d+)_", r"p\d+"])
def test_patients_by_pattern(root, pattern):
    records = read_dataset("image_folder", root, patient_pattern=pattern)
    assert [film.patient_id for film in records] == [None, "p2", "p1", "p1"]
    assert records.notes == ("1 of 4 paths do not match the patient pattern: each counts as its own patient",)


def test_a_pattern_that_is_none(root):
    with pytest.raises(ValueError, match=r"--patient-pattern '\(' is no regular expression"):
        read_dataset("image_folder", root, patient_pattern="(")


def test_loose_and_empty_pictures_are_problems(root):
    (root / "loose.png").write_bytes(b"film")
    (root / "normal" / "zero.png").touch()
    records = read_dataset("image_folder", root)
    assert [(p.path, p.reason, p.kind) for p in records.problems] == [
        ("loose.png", "lies in no finding's folder", "other"),
        ("normal/zero.png", "is empty", "unreadable"),
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
    with pytest.raises(
        FileNotFoundError, match=r"1 left out, the first: a\.png lies in no finding's folder; .*--finding"
    ):
        read_dataset("image_folder", tmp_path)
    assert [film.finding for film in read_dataset("image_folder", tmp_path, finding="covid19")] == ["covid19"]


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


def test_loose_films_get_the_finding_that_is_named(root):
    (root / "loose.png").write_bytes(b"film")
    records = read_dataset("image_folder", root, finding="viral")
    assert not records.problems
    assert [film.finding for film in records] == ["covid19", "covid19", "viral", "normal", "normal"]
    with pytest.raises(ValueError, match="--finding is blank"):
        read_dataset("image_folder", root, finding=" ")


def make(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"film")


@pytest.mark.parametrize("above", ["", "chest_xray/", "chest_xray/chest_xray/"])
def test_kermanys_form(tmp_path, above):
    films = [
        "test/NORMAL/IM-1.jpeg",
        "train/NORMAL/IM-2.jpeg",
        "train/PNEUMONIA/person1_virus_6.jpeg",
        "val/NORMAL/3.jpeg",
    ]
    beside = [
        "__MACOSX/chest_xray/._train",
        ".DS_Store",
        "train/.DS_Store",
        "train/NORMAL/.DS_Store",
        "__MACOSX/a.jpeg",
    ]
    make(tmp_path, *(above + path for path in films), *beside[:2], *(above + path for path in beside))
    records = read_dataset("image_folder", tmp_path)
    assert [film.path for film in records] == films
    assert records.root == tmp_path / above
    assert [(film.split, film.finding) for film in records] == [
        ("test", "NORMAL"),
        ("train", "NORMAL"),
        ("train", "PNEUMONIA"),
        ("val", "NORMAL"),
    ]
    assert not records.problems
    assert any("are read from" in note for note in records.notes) == bool(above)


def test_a_second_copy_beside_the_splits_is_left_out(tmp_path):
    make(tmp_path, "train/a/1.png", "test/b/2.png", "chest_xray/train/a/1.png")
    records = read_dataset("image_folder", tmp_path)
    assert [film.path for film in records] == ["test/b/2.png", "train/a/1.png"]
    assert [problem.path for problem in records.problems] == ["chest_xray"]


def test_folders_inside_a_finding_are_no_splits(tmp_path):
    make(tmp_path, "covid19/train/1.png", "covid19/test/2.png")
    assert read_dataset("image_folder", tmp_path).findings == ("covid19",)


NOTE_OF_OTHERS = "passed over, no films by their names: "


@pytest.mark.parametrize("images", ["images", "Images", "png", "CXR_png", "."])
@pytest.mark.parametrize("masks", ["masks", "Mask", "lung masks", "lung_mask", "ManualMask", "png_masks"])
def test_masks_beside_films_are_no_films_but_their_masks(tmp_path, images, masks):
    make(tmp_path, *(f"Train/{name}/{folder}/{name}_1.png" for name in "ab" for folder in (images, masks)))
    make(tmp_path, "Train/a/infection masks/a_1.png", f"Train/a/{masks}/a_9.png")
    records = read_dataset("image_folder", tmp_path)
    assert [(film.finding, film.split) for film in records] == [("a", "train"), ("b", "train")]
    assert [film.mask_path for film in records] == [f"Train/{name}/{masks}/{name}_1.png" for name in "ab"]
    told = ": 4, of which 2 as the lung mask of the film of that name (mask_path), 2 left out"
    assert any(note.startswith("masks and no films in ") and note.endswith(told) for note in records.notes)


@pytest.mark.parametrize("drawn", ["segmentations", "Annotations", "Ground-truths", "labels", "GT"])
def test_names_that_mean_masks_only_beside_images(tmp_path, drawn):
    make(tmp_path, "images/a/1.png", f"{drawn}/a/1.png")
    records = read_dataset("image_folder", tmp_path)
    assert [(film.path, film.mask_path) for film in records] == [("images/a/1.png", f"{drawn}/a/1.png")]
    make(tmp_path / "other", "a/1.png", f"{drawn}/1.png")
    assert len(read_dataset("image_folder", tmp_path / "other")) == 2


def test_a_mask_by_the_name_of_its_film(tmp_path):
    make(tmp_path, "a/1.png", "a/1_mask.png", "a/2.jpg", "a/2-lung-mask.png", "a/no_mask.png", "a/unmasked.png")
    make(tmp_path, "with_mask/3.png")
    records = read_dataset("image_folder", tmp_path)
    assert {film.path: film.mask_path for film in records} == {
        "a/1.png": "a/1_mask.png",
        "a/2.jpg": "a/2-lung-mask.png",
        "a/no_mask.png": None,
        "a/unmasked.png": None,
        "with_mask/3.png": None,
    }


def test_nothing_but_masks(tmp_path):
    make(tmp_path, "a/masks/1.png")
    with pytest.raises(FileNotFoundError, match="masks and no films in masks: 1, of which 0"):
        read_dataset("image_folder", tmp_path)


def test_every_other_file_is_counted_by_suffix(tmp_path):
    make(
        tmp_path,
        "a/1.png",
        "a/1.TXT",
        "a/2.txt",
        "a/x.nii",
        "a/none",
        ".hidden",
        "Thumbs.db",
        "a/.DS_Store",
        "DICOMDIR",
    )
    (tmp_path / "a" / "film").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "a" / "1.2.840.113").write_bytes(bytes(128) + b"DICM")
    for records in (read_dataset("image_folder", tmp_path), read_dataset("image_folder", tmp_path / "a", finding="a")):
        (note,) = (note for note in records.notes if NOTE_OF_OTHERS in note)
        for told in ("2 .txt", "1 .nii", "1 without suffix (a picture", "1 without suffix (DICOM, which --any-name"):
            assert told in note
    files, notes, problems = find_films(tmp_path)
    assert [file.name for file in files] == ["1.2.840.113", "1.png"]
    assert notes[0].startswith("passed over, no films by their names: 2 .txt")
    assert not problems


def test_every_suffix_is_read(tmp_path):
    names = "1.png 2.PNG 3.jpg 4.jpeg 5.jpe 6.jfif 7.jif 8.tif 9.tiff 10.bmp 11.BMP 12.gif 13.webp 14.jp2 15.pgm 16.ppm"
    make(tmp_path, *(f"a/{name}" for name in names.split(" ")))
    assert len(read_dataset("image_folder", tmp_path)) == 16


@pytest.mark.parametrize("inner", ["png", "images", "CXR_png", "JPG", "."])
def test_a_folder_of_the_form_is_no_finding(tmp_path, inner):
    make(tmp_path, f"{inner}/1.png", f"{inner}/2.png")
    with pytest.raises(FileNotFoundError, match="name their finding with --finding"):
        read_dataset("image_folder", tmp_path)
    assert read_dataset("image_folder", tmp_path, finding="covid19").count_findings() == {"covid19": 2}


def test_folders_of_the_form_above_and_below_findings(tmp_path):
    make(tmp_path, "images/train/a/1.png", "images/test/b/png/2.png")
    films = read_dataset("image_folder", tmp_path)
    assert {(film.split, film.finding) for film in films} == {("train", "a"), ("test", "b")}


def test_a_finding_that_no_film_takes_is_an_error(root):
    with pytest.raises(ValueError, match=r"^--finding x has no effect: every .* \(covid19, normal\); .*--map OLD=NEW"):
        read_dataset("image_folder", root, finding="x")
    (root / "empty.png").touch()
    assert [p.path for p in read_dataset("image_folder", root, finding="x").problems] == ["empty.png"]


def test_flags_for_dicom_without_one_are_said(root, tmp_path_factory):
    salt = tmp_path_factory.mktemp("salt") / "salt"
    salt.write_bytes(bytes(16))
    for options, flag in (({"salt_file": salt}, "--salt-file"), ({"keep_patient_ids": True}, "--keep-patient-ids")):
        notes = read_dataset("image_folder", root, **options).notes
        assert any(note.startswith(f"{flag} has no effect: of 4 films none") for note in notes)


def test_a_folder_beside_splits_that_is_none_is_said(tmp_path):
    make(tmp_path, "train/a/1.png", "validate/a/2.png", "extra/a/3.png", "extra/b/4.png", "Test/b/5.png")
    films = read_dataset("image_folder", tmp_path)
    assert [(film.split, film.finding) for film in films] == [
        *[("test", "b"), (None, "a"), (None, "b")],
        *[("train", "a"), ("val", "a")],
    ]
    assert films.notes[0].startswith("the folder extra lies beside those of splits")


def test_one_finding_that_may_be_the_sets_name_is_said(tmp_path):
    make(tmp_path, "My_Dataset/covid/1.png", "My_Dataset/normal/2.png")
    notes = read_dataset("image_folder", tmp_path).notes
    assert any("all films are called My_Dataset" in note and "covid, normal" in note for note in notes)


@pytest.mark.parametrize(
    ("table", "reader"),
    [
        ("COVID.metadata.xlsx", "covid19_radiography"),
        ("Data_Entry_2017.csv", "chestxray14"),
        ("Chest_xray_Corona_Metadata.csv", "coronahack"),
        ("train_COVIDx9A.txt", "covidx"),
    ],
)
def test_a_known_set_names_its_reader(tmp_path, table, reader):
    make(tmp_path, "a/1.png", table)
    assert reader in READERS
    notes = read_dataset("image_folder", tmp_path).notes
    assert any(f"{reader}:{tmp_path} reads it by that table" in note for note in notes)
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match=f"{reader}:"):
        read_dataset("image_folder", tmp_path)


def test_a_folder_without_findings_names_the_table_beside_its_films(tmp_path):
    make(tmp_path, "images/1.png", "films.csv")
    with pytest.raises(FileNotFoundError, match=r"a table lies there: .* take it as the source: .*films\.csv"):
        read_dataset("image_folder", tmp_path)


def test_real_masks(fscxr_data):
    root = fscxr_data / "layouts" / "covid19_radiography" / "COVID-19_Radiography_Dataset"
    records, known = read_dataset("image_folder", root), read_dataset("covid19_radiography", root)
    assert {film.path: film.mask_path for film in records} == {film.path: film.mask_path for film in known}


def write_dicom(path, **elements):
    whose = {"InstitutionName": "General Hospital", "Manufacturer": "ACME"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content_of(dataset(np.arange(20, dtype=np.uint8).reshape(4, 5), **whose | elements)))


@pytest.fixture
def dicoms(tmp_path):
    root = tmp_path / "films"
    write_dicom(root / "covid19/a.dcm", ViewPosition="PA", PatientSex="F", PatientAge="058Y", Laterality="L")
    write_dicom(root / "covid19/b.IMA")
    write_dicom(root / "normal/c.dicom", PatientID="MRN-5")
    make(root, "normal/d.png")
    return root


def test_a_dicoms_header_goes_into_its_record(dicoms, tmp_path):
    (tmp_path / "salt").write_bytes(bytes(range(16)))
    records = read_dataset("image_folder", dicoms, salt_file=tmp_path / "salt")
    hidden = hmac.new(bytes(range(16)), b"MRN-4711", hashlib.sha256).hexdigest()[:16]
    first = records[0]
    assert (first.patient_id, first.view, first.source, first.sex) == (hidden, "PA", "ACME", "F")
    assert (first.age_years, first.attributes) == (58.0, {"laterality": "L"})
    assert records[1].patient_id == hidden
    assert records[2].patient_id not in (hidden, None)
    assert (records[3].path, records[3].patient_id, records[3].source) == ("normal/d.png", None, None)
    assert records.notes[0].endswith("the same --salt-file gives the same ids")
    assert records.notes[1].startswith("the patients of 1 of 4 films are unknown")
    write_manifest(records, tmp_path / "m.csv")
    written = (tmp_path / "m.csv").read_text(encoding="utf-8")
    for secret in ("DOE", "JANE", "MRN", "General"):
        assert secret not in repr(records) + written


def test_ids_without_a_salt_hold_for_one_run(dicoms):
    one, other = (read_dataset("image_folder", dicoms) for _ in range(2))
    assert one[0].patient_id == one[1].patient_id != other[0].patient_id
    assert "this run only; --salt-file makes them lasting" in one.notes[0]


def test_ids_in_clear_only_when_asked(dicoms):
    records = read_dataset("image_folder", dicoms, keep_patient_ids=True)
    assert [film.patient_id for film in records] == ["MRN-4711", "MRN-4711", "MRN-5", None]
    assert "in clear" in records.notes[0]


def test_a_pattern_that_matches_wins_over_the_header(dicoms):
    records = read_dataset("image_folder", dicoms, patient_pattern=r"([ad])\.", keep_patient_ids=True)
    assert [film.patient_id for film in records] == ["a", "MRN-4711", "MRN-5", "d"]


def test_a_salt_that_is_too_short_or_absent(dicoms, tmp_path):
    (tmp_path / "salt").write_bytes(b"secret")
    with pytest.raises(ValueError, match=r"--salt-file .*salt holds 6 bytes, fewer than 16; make one with `python -c"):
        read_dataset("image_folder", dicoms, salt_file=tmp_path / "salt")
    with pytest.raises(FileNotFoundError, match=r"--salt-file .*gone cannot be opened"):
        read_dataset("image_folder", dicoms, salt_file=tmp_path / "gone")


def test_dicoms_without_a_film_are_unreadable(dicoms):
    write_dicom(dicoms / "covid19/two.dcm", NumberOfFrames=2)
    make(dicoms, "covid19/page.dcm")
    (dicoms / "covid19/zero.dcm").touch()
    records = read_dataset("image_folder", dicoms)
    assert len(records) == 4
    assert [(p.row, p.path, p.reason, p.kind) for p in records.problems] == [
        (None, "covid19/page.dcm", "not a DICOM", "unreadable"),
        (None, "covid19/two.dcm", "holds 2 frames; a film is one: save each frame as its own file", "unreadable"),
        (None, "covid19/zero.dcm", "is empty", "unreadable"),
    ]


def test_any_name(dicoms):
    write_dicom(dicoms / "covid19/1.2.840.113")
    write_dicom(dicoms / "covid19/IM0001", ViewPosition="AP")
    write_dicom(dicoms / "DICOMDIR")
    write_dicom(dicoms / "covid19/.hidden")
    make(dicoms, "README.txt", "covid19/notes")
    assert len(read_dataset("image_folder", dicoms)) == 4
    records = read_dataset("image_folder", dicoms, any_name=True)
    assert [film.path for film in records][:2] == ["covid19/1.2.840.113", "covid19/IM0001"]
    assert records[1].view == "AP"
    assert len(records) == 6
    assert not records.problems


def test_pictures_are_not_opened(root):
    assert len(read_dataset("image_folder", root)) == 4  # of which not one is a real picture


def test_real_dicom_folder(fscxr_data):
    folder = fscxr_data / "layouts" / "dicom"
    records = read_dataset("image_folder", folder, finding="films", any_name=True)
    paths = {film.path for film in records}
    assert "no_extension" in paths
    assert "DICOMDIR" not in paths
    assert {(p.path, p.kind) for p in records.problems} == {
        ("multiframe_2.dcm", "unreadable"),
        ("not_a_dicom.dcm", "unreadable"),
    }
    views = {film.path: film.view for film in records}
    assert views["mono2_implicit_le.dcm"] == "AP"


def test_a_circle_of_links_costs_one_film(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "good.png").write_bytes(b"film")
    (tmp_path / "a" / "loop.png").symlink_to("loop.png")
    records = read_dataset("image_folder", tmp_path)
    assert [film.path for film in records] == ["a/good.png"]
    assert [(problem.path, problem.kind) for problem in records.problems] == [("a/loop.png", "unreadable")]


def test_what_is_no_chest_film_is_left_out_unless_asked_for(dicoms, tmp_path):
    write_dicom(dicoms / "covid19/ct.dcm", Modality="CT")
    write_dicom(dicoms / "covid19/side.dcm", ViewPosition="LL", PatientAge="058X")
    records = read_dataset("image_folder", dicoms)
    reason = "no chest X-ray: its modality is CT, computed tomography; --any-modality takes it"
    assert [(p.path, p.reason) for p in records.problems] == [("covid19/ct.dcm", reason)]
    assert f"1 film: {LATERAL}" in records.notes
    assert f"1 film: {AGE_TEXT}" in records.notes
    every = read_dataset("image_folder", dicoms, any_modality=True)
    write_manifest(every, dicoms / "m.csv")
    for films in (every, read_dataset("manifest", dicoms / "m.csv")):
        assert len(verify_films(films)) == len(films) - 1  # d.png is no picture
    plain = replace(every, films=tuple(replace(film, attributes={}) for film in every))
    assert {(p.path, p.reason) for p in verify_films(plain).problems} >= {("covid19/ct.dcm", reason)}
    cached = cache_films(plain, ImageSpec(size_px=8), folder=tmp_path / "cache")
    assert ("covid19/ct.dcm", reason) in {(p.path, p.reason) for p in cached.records.problems}
    assert len(cache_films(every, ImageSpec(size_px=8), folder=tmp_path / "cache")) == len(every) - 1

"""Columns are known by their usual names; tables that spreadsheets and people write; files that lie elsewhere."""

import pytest

from fewshot_cxr.data import read_dataset, write_manifest


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png", "films/0004cfab.dcm", "films/PA.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"film")
    return tmp_path


def read(folder, text, **options):
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return read_dataset("manifest", folder / "t.csv", **options)


@pytest.mark.parametrize(
    "column",
    [
        *("Patient ID", "PATIENT-ID", "patient.id", "patient_id ", "PatientID", "Patient", "subject_id", "Subject"),
        *("pid", "MRN", "pt_id", "person_id", "case_id", "Patient Number", "Anonymized Patient ID"),
    ],
)
def test_the_patient_is_found_under_its_usual_names(folder, column):
    records = read(folder, f"path,label,{column}\na.png,x,1\nb.png,y,1\n")
    assert [film.patient_id for film in records] == ["1", "1"]
    assert not any("unknown" in note for note in records.notes)


def test_a_patient_goes_before_a_study_and_a_study_is_said(folder):
    both = read(folder, "path,label,study_id,Subject ID\na.png,x,7,1\n")
    assert (both[0].patient_id, both[0].attributes) == ("1", {"study_id": "7"})
    study = read(folder, "path,label,StudyInstanceUID\na.png,x,7\n")
    assert study[0].patient_id == "7"
    assert any(note.startswith("no column names the patient: StudyInstanceUID is taken") for note in study.notes)


def test_an_unknown_patient_names_the_column_that_looks_like_one(folder):
    records = read(folder, "path,label,Patient Age,patient_hash_v2\na.png,x,4,p\n")
    assert records[0].patient_id is None
    assert any('--patient-column ("patient_hash_v2" looks like one)' in note for note in records.notes)


def test_a_pattern_finds_the_patient_in_the_path(folder):
    records = read(folder, "path,label,pid\na.png,x,\nb.png,y,9\n", patient_pattern=r"(\w)\.png")
    assert [film.patient_id for film in records] == ["a", "9"]
    with pytest.raises(ValueError, match="--patient-pattern '\\(' is no regular expression"):
        read(folder, "path,label\na.png,x\n", patient_pattern="(")


def test_the_header_of_chestxray14(folder):
    film = read(folder, "Image Index,Finding Labels,Patient ID\na.png,Mass|Edema,3\n")[0]
    assert (film.path, film.findings, film.patient_id) == ("a.png", ("Mass", "Edema"), "3")


@pytest.mark.parametrize(
    ("first", "mark"), [("sep=;", ";"), ('"sep=,"', ","), ("SEP=\t", "\t"), ("sep=|", "|"), ("sep=;\r", ";")]
)
def test_a_first_line_that_declares_the_delimiter(folder, first, mark):
    text = (
        f"{first}\npath,label,note\na.png,x,1\n,y,2\n".replace(",", mark)
        if mark != ","
        else (f"{first}\npath,label,note\na.png,x,1\n,y,2\n")
    )
    records = read(folder, text)
    assert [(film.path, film.finding) for film in records] == [("a.png", "x")]
    assert records.problems[0].row == 4  # as a text editor counts


def test_a_table_without_a_header_is_told(folder):
    with pytest.raises(ValueError, match=r"t\.csv has no header line, its first row names the film a\.png: put"):
        read(folder, "a.png,x\nb.png,y\n")


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("0004cfab", r"such as films/0004cfab\.dcm for 0004cfab: --path-suffix \.dcm --root .*films$"),
        ("PA.PNG", r"films/PA\.PNG for PA\.PNG: --root .*films$"),
        ("films/pa.png", r"films/PA\.PNG for films/pa\.png: correct the names in the table$"),
        ("A.jpg", r"a\.png for A\.jpg: correct the names"),
    ],
)
def test_a_missing_file_is_found_under_nearly_its_name(folder, name, way_out):
    with pytest.raises(FileNotFoundError, match=f"1 of 1 missing files lie there under another name, .*{way_out}"):
        read(folder, f"path,label\n{name},x\n")


def test_the_suffix_of_all_paths(folder):
    records = read(folder, "image_id,label\n0004cfab,x\n", path_suffix=".dcm", root=folder / "films")
    assert [film.path for film in records] == ["0004cfab.dcm"]
    assert len(read(folder, "path,label\na.png,x\n", path_suffix=".png")) == 1


def test_reasons_are_counted_and_the_commonest_is_first(folder):
    with pytest.raises(FileNotFoundError, match=r"; 2 rows, the first q\.png \(row 3\): the file is missing; r\.png"):
        read(folder, "path,label\nr.png,\nq.png,x\ns.png,x\n")


def test_a_column_of_ids_is_found_by_the_films_that_lie_there(folder):
    expected = r'; patient names files .*: --path-column "patient" --path-suffix \.dcm --root .*films$'
    with pytest.raises(ValueError, match=expected):
        read(folder, "patient,label\n0004cfab,x\n")


def test_columns_of_our_own_manifests_are_no_news(folder):
    write_manifest(read(folder, "file,class\na.png,x\n"), folder / "own.csv")
    assert not any("columns taken" in note for note in read_dataset("manifest", folder / "own.csv").notes)
    assert any("columns taken: path from file" in note for note in read(folder, "file,class\na.png,x\n").notes)


def test_a_line_end_in_the_name_of_a_column_ends_no_line_of_an_error(folder):
    for text in ('"a\nb",label\nx,y\n', 'path,"a\nb"\nx,y\n'):
        with pytest.raises(ValueError, match=r"t\.csv has no (path|label) column .*a\\nb") as error:
            read(folder, text)
        assert "\n" not in str(error.value)
    (folder / "Chest_xray_Corona_Metadata.csv").write_text('X_ray_image_name,"a\nb"\nx,y\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"has no column Label.*a\\nb$"):
        read_dataset("coronahack", folder)
    with pytest.raises(ValueError, match=r"such column.*a\\nb") as error:
        read(folder, 'path,label,"a\nb"\nx,y,z\n', patient_column="who")
    assert "\n" not in str(error.value)

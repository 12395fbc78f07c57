"""The COVID-19 Radiography Database: its folders however they are spelt, its sheets however they are broken."""

import json
import zipfile

import pytest
from openpyxl import Workbook

from fewshot_cxr.data.readers.covid19_radiography import read_covid19_radiography

RSNA = "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data"
KERMANY = "https://www.kaggle.com/paultimothymooney/chest-xray-pneumonia"
SIRM = "https://sirm.org/category/senza-categoria/covid-19/"
URLS = {"COVID": SIRM, "Normal": RSNA, "Lung_Opacity": RSNA, "Viral Pneumonia": KERMANY}


def write_sheet(path, rows, header=("FILE NAME", "FORMAT", "SIZE", "URL")):
    book = Workbook()
    for row in (header, *rows):
        book.active.append(row)
    book.save(path)


def lay(top, spellings=None, inside="images/", n_films=2, n_rows=2):
    """Write the four folders with films 1..n_films, and sheets that name films 1..n_rows."""
    for kind, url in URLS.items():
        folder = (spellings or {}).get(kind, kind)
        for part in [inside, "masks/"] if inside else [""]:
            (top / folder / part).mkdir(parents=True)
            for number in range(1, n_films + 1):
                (top / folder / part / f"{folder}-{number}.png").write_bytes(b"film")
        rows = [(f"{folder}-{number}", "PNG", "256*256", url) for number in range(1, n_rows + 1)]
        write_sheet(top / f"{folder}.metadata.xlsx", rows)
    return top


def test_films_have_finding_source_and_mask(tmp_path):
    records = read_covid19_radiography(lay(tmp_path))
    assert records.count_by(lambda film: film.finding) == dict.fromkeys(sorted(URLS), 2)
    assert records.count_by(lambda film: film.source) == {"kermany": 2, "rsna": 4, "sirm": 2}
    assert records.n_rows == len(records) == 8
    assert not records.problems
    film = records[-1]
    assert (film.path, film.mask_path) == (
        "Viral Pneumonia/images/Viral Pneumonia-2.png",
        "Viral Pneumonia/masks/Viral Pneumonia-2.png",
    )
    assert film.attributes == {"URL": KERMANY}
    assert film.patient_id is None
    assert "patients are unknown" in records.notes[0]


@pytest.mark.parametrize(
    "spellings",
    [
        {"COVID": "Covid", "Lung_Opacity": "Lung Opacity"},
        {"COVID": "covid", "Normal": "normal", "Lung_Opacity": "lung_opacity", "Viral Pneumonia": "viral_pneumonia"},
        {"COVID": "COVID-19", "Normal": "NORMAL", "Viral Pneumonia": "Viral_Pneumonia"},
    ],
)
@pytest.mark.parametrize("inside", ["images/", ""])
def test_public_copies_spell_the_folders_their_own_way(tmp_path, spellings, inside):
    records = read_covid19_radiography(lay(tmp_path, spellings, inside))
    assert records.count_by(lambda film: film.finding) == dict.fromkeys(sorted(URLS), 2)
    assert {film.path.split("/")[0] for film in records} == {spellings.get(kind, kind) for kind in URLS}
    assert all((film.mask_path is not None) == bool(inside) for film in records)
    assert {film.source for film in records} == {"kermany", "rsna", "sirm"}


@pytest.mark.parametrize("above", ["", "COVID-19_Radiography_Dataset", "archive/COVID-19_Radiography_Dataset"])
def test_root_may_lie_above_the_folders(tmp_path, above):
    lay(tmp_path / above)
    records = read_covid19_radiography(tmp_path)
    assert records.root == tmp_path / above
    assert records[0].path == "COVID/images/COVID-1.png"
    assert any(note == f"films lie in {above}" for note in records.notes) == bool(above)


def test_sheet_and_folder_are_joined_whatever_the_case(tmp_path):
    lay(tmp_path)
    write_sheet(
        tmp_path / "Normal.metadata.xlsx",
        [("NORMAL-2", "PNG", "", RSNA), (" normal-1.png ", "PNG", "", None), ("NORMAL-13", "PNG", "", RSNA)],
    )
    records = read_covid19_radiography(tmp_path)
    normal = [(film.path, film.source) for film in records if film.finding == "Normal"]
    assert normal == [("Normal/images/Normal-2.png", "rsna"), ("Normal/images/Normal-1.png", None)]
    assert [(problem.row, problem.path, problem.kind) for problem in records.problems] == [
        (4, "Normal/images/Normal-13.png", "missing")
    ]
    assert records.n_rows == 9


def test_films_without_a_row_are_taken_and_counted(tmp_path):
    records = read_covid19_radiography(lay(tmp_path, n_films=3, n_rows=2))
    assert len(records) == records.n_rows == 12
    assert records.count_by(lambda film: film.source) == {"kermany": 2, "not stated": 4, "rsna": 4, "sirm": 2}
    assert "1 films of COVID have no row in COVID.metadata.xlsx: taken, without a source" in records.notes


def test_every_row_is_counted_once(tmp_path):
    lay(tmp_path)
    rows = [("COVID-1",), ("covid-1",), (None, "PNG"), (), ("COVID-2",), ("COVID-3",)]
    write_sheet(tmp_path / "COVID.metadata.xlsx", rows)
    (tmp_path / "COVID/images/COVID-2.png").write_bytes(b"")
    (tmp_path / "COVID/masks/COVID-1.png").unlink()
    records = read_covid19_radiography(tmp_path)
    problems = [(problem.row, problem.path, problem.kind) for problem in records.problems]
    assert problems == [
        (3, "COVID/images/COVID-1.png", "duplicate"),
        (4, "", "other"),
        (6, "COVID/images/COVID-2.png", "unreadable"),
        (7, "COVID/images/COVID-3.png", "missing"),
    ]
    assert records.n_rows == len(records) + len(problems)
    assert records[0].mask_path is None
    assert "1 masks are missing or empty" in records.notes


@pytest.mark.parametrize(
    ("classes", "findings", "n_passed_over"),
    [
        ("four", {"COVID": 2, "Lung_Opacity": 2, "Normal": 2, "Viral Pneumonia": 2}, 0),
        ("without_lung_opacity", {"COVID": 2, "Normal": 2, "Viral Pneumonia": 2}, 3),
        ("binary", {"COVID": 2, "non-COVID": 6}, 0),
    ],
)
def test_classes_can_be_merged(tmp_path, classes, findings, n_passed_over):
    records = read_covid19_radiography(lay(tmp_path, n_rows=3), classes=classes)
    assert records.count_by(lambda film: film.finding) == findings
    assert records.n_rows == len(records) + len(records.problems) + n_passed_over == 12
    assert ("3 rows passed over: they are Lung_Opacity" in records.notes) == bool(n_passed_over)


@pytest.mark.parametrize("broken", ["absent", "no zip", "another zip", "empty", "no column", "no sheet", "huge"])
def test_a_broken_sheet_is_noted_and_the_listing_stands_in(tmp_path, broken):
    path = lay(tmp_path) / "COVID.metadata.xlsx"
    if broken == "absent":
        path.unlink()
    elif broken == "another zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hello.txt", "hello")
    elif broken == "no column":
        write_sheet(path, [("COVID-1", SIRM)], header=("NAME", "URL"))
    elif broken == "no sheet":
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, b"<cut" if "sheet1" in name else content)
    elif broken == "huge":
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/more.xml", b" " * 100_000_001)
    else:
        path.write_bytes(b"" if broken == "empty" else b"no zip")
    records = read_covid19_radiography(tmp_path)
    covid = [film for film in records if film.finding == "COVID"]
    assert [(film.path, film.source) for film in covid] == [(f"COVID/images/COVID-{n}.png", None) for n in (1, 2)]
    assert len(records) == records.n_rows == 8
    (note,) = [note for note in records.notes if note.startswith("COVID.metadata.xlsx")]
    assert note.endswith(": films come from the folder, without a source")


def test_a_sheet_with_a_wrong_dimension_is_read_whole(tmp_path):
    path = lay(tmp_path) / "COVID.metadata.xlsx"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert b"A1:D3" in parts["xl/worksheets/sheet1.xml"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content.replace(b"A1:D3", b"A1:A1"))
    assert read_covid19_radiography(tmp_path)[1].source == "sirm"


def test_a_formula_is_not_worked_out(tmp_path):
    write_sheet(lay(tmp_path) / "COVID.metadata.xlsx", [("COVID-1", "", "", '=HYPERLINK("https://sirm.org")')])
    assert read_covid19_radiography(tmp_path)[0].source is None


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://eurorad.org", "eurorad"),
        ("https://bimcv.cipf.es/bimcv-projects/bimcv-covid19/#1590858128006-9e640421-6711", "bimcv"),
        ("https://github.com/ieee8023/covid-chestxray-dataset", "cohen"),
        ("https://github.com/ml-workgroup/covid-19-image-repository/tree/master/png", "hannover"),
        ("https://github.com/armiro/COVID-CXNet", "covid-cxnet"),
        ("http://WWW.Example.org/x?y", "example.org"),
        ("https://[broken", "[broken"),
        ("", None),
    ],
)
def test_source_is_short_and_stable(tmp_path, url, source):
    write_sheet(lay(tmp_path) / "COVID.metadata.xlsx", [("COVID-1", "", "", url), ("COVID-2",)])
    assert [film.source for film in read_covid19_radiography(tmp_path)[:2]] == [source, None]


def test_a_sheet_cannot_name_a_file_outside(tmp_path):
    lay(tmp_path / "set")
    (tmp_path / "other.png").write_bytes(b"film")
    write_sheet(tmp_path / "set" / "COVID.metadata.xlsx", [("../../../other", "PNG")])
    with pytest.raises(ValueError, match=r"COVID\.metadata\.xlsx, row 2: .* leaves the data root"):
        read_covid19_radiography(tmp_path / "set")


def test_a_wrong_root_says_what_was_expected_and_found(tmp_path):
    (tmp_path / "cats").mkdir()
    expected = "expected one folder with the folders COVID, Normal, Lung_Opacity, Viral Pneumonia; found cats/"
    with pytest.raises(FileNotFoundError, match=expected):
        read_covid19_radiography(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_covid19_radiography(tmp_path / "absent")


def test_somebodys_own_split_is_not_read_in_part(tmp_path):
    for split in ("train", "test"):
        lay(tmp_path / split)
    with pytest.raises(FileNotFoundError, match="expected one folder .* found test/, train/"):
        read_covid19_radiography(tmp_path)


def test_two_folders_of_one_class_and_an_unknown_option_are_refused(tmp_path):
    lay(tmp_path)
    with pytest.raises(ValueError, match="choose from binary, four, without_lung_opacity"):
        read_covid19_radiography(tmp_path, classes="three")
    (tmp_path / "covid-19").mkdir()
    with pytest.raises(ValueError, match="two folders of COVID, COVID and covid-19; remove one"):
        read_covid19_radiography(tmp_path)


def test_the_real_layout(fscxr_data):
    layouts = fscxr_data / "layouts"
    expected = json.loads((layouts / "EXPECTED.json").read_text(encoding="utf-8"))["covid19_radiography"]
    records = read_covid19_radiography(layouts / "covid19_radiography")
    assert records.count_by(lambda film: film.finding) == dict.fromkeys(sorted(URLS), expected["images_per_class"])
    assert records.n_rows == 4 * expected["rows_per_xlsx"]
    assert {problem.kind for problem in records.problems} == {"missing"}
    assert sorted(problem.path.split("/")[-1] for problem in records.problems) == sorted(
        f"{name}.png" for name in expected["missing"]
    )
    assert all(film.mask_path and records.file(film).is_file() for film in records)
    assert {film.source for film in records} == {"sirm", "rsna", "kermany"}

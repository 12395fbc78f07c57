import csv
import json
from collections import Counter

import pytest

from fewshot_cxr.data.readers.covid_chestxray import FRONTAL, read_covid_chestxray, read_covid_list, split_findings
from fewshot_cxr.records import Problem

HEADER = "patientid,offset,sex,age,finding,survival,view,modality,location,folder,filename,url,license,clinical_notes,"
DEFAULTS = {"patientid": "1", "finding": "COVID-19", "view": "PA", "modality": "X-ray", "folder": "images"}
FIGURE1 = (
    "patientid,offset,sex,age,finding,survival,temperature,pO2 saturation,view,modality,artifacts/distortion,notes"
)
ACTUALMED = FIGURE1.replace("artifacts", "imagename,artifacts")


def make(folder, *rows, header=HEADER, encoding="utf-8", absent=(), name="metadata.csv"):
    """Write a table and, for each row, the picture that it names."""
    columns = header.split(",")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([row.get(column, "") for column in columns] for row in rows)
    for row in rows:
        picture = row.get("filename") or row.get("imagename")
        if picture and picture not in absent and row.get("folder") != "volumes":
            (folder / "images" / picture).write_bytes(b"film")
    return folder


def row(filename, **cells):
    return DEFAULTS | {"filename": filename} | cells


def outline(records):
    return [(film.path.removeprefix("images/"), "|".join(film.findings)) for film in records]


def test_what_a_film_knows(tmp_path):
    url = "https://www.eurorad.org/case/1"
    known = {"offset": "-5", "sex": "F", "age": "71", "survival": "N", "license": "CC BY-NC-SA 4.0", "url": url}
    notes = 'has, "quotes",\nlines and ünïcode'
    make(tmp_path, row("a.png", patientid="8", location="Somewhere, Far Away", clinical_notes=notes, **known))
    records = read_covid_chestxray(tmp_path)
    film = records[0]
    assert (film.path, film.findings, film.patient_id, film.view) == ("images/a.png", ("COVID-19",), "8", "PA")
    assert (film.source, film.age_years, film.sex) == ("eurorad.org", 71.0, "F")
    wanted = {
        "offset": "-5",
        "survival": "N",
        "license": "CC BY-NC-SA 4.0",
        "url": url,
        "location": "Somewhere, Far Away",
    }
    assert dict(film.attributes) == wanted | {"modality": "X-ray", "folder": "images"}
    assert "the free text of the notes is left out" in records.notes


def test_frontal_films_unless_asked(tmp_path):
    views = [*FRONTAL, "ap ERECT", "APS", "L", "Axial", ""]
    make(tmp_path, *(row(f"{i}.png", view=view) for i, view in enumerate(views)), row("ct.png", modality="CT"))
    records = read_covid_chestxray(tmp_path)
    assert [film.view for film in records] == [*FRONTAL, "AP erect", "AP Supine"]
    assert records.n_rows == len(views) + 1
    for note in ("modality CT", "view L", "view Axial", "view not stated"):
        assert f"1 rows passed over: {note}" in records.notes
    assert any("frontal means PA, AP, AP Supine" in note for note in records.notes)
    assert [film.view for film in read_covid_chestxray(tmp_path, views=("l", "PA"))] == ["PA", "L"]
    assert len(read_covid_chestxray(tmp_path, views=())) == len(read_covid_chestxray(tmp_path, views=("all",))) == 10
    assert len(read_covid_chestxray(tmp_path, views=("frontal", "L"))) == 8
    assert len(read_covid_chestxray(tmp_path, views=(), modality=("all",))) == 11
    assert outline(read_covid_chestxray(tmp_path, modality=("ct",))) == [("ct.png", "COVID-19")]


@pytest.mark.parametrize(
    ("cell", "rule", "findings"),
    [
        ("COVID-19", "leaf", ("COVID-19",)),
        ("COVID-19, ARDS", "leaf", ("COVID-19", "ARDS")),
        ("Pneumonia/Viral/COVID-19", "leaf", ("COVID-19",)),
        ("Pneumonia/Viral/COVID-19", "path", ("Pneumonia/Viral/COVID-19",)),
        ("Pneumonia/Viral/COVID-19", "level1", ("Pneumonia",)),
        ("Pneumonia/Viral/COVID-19", "level2", ("Viral",)),
        ("Pneumonia/Bacterial/Staphylococcus/MRSA", "level3", ("Staphylococcus",)),
        ("Pneumonia", "level3", ("Pneumonia",)),
        ("Pneumonia/Viral/COVID-19,Pneumonia/Viral/SARS", "level2", ("Viral",)),
        ("Pneumonia/Viral/COVID-19, ARDS", "leaf", ("COVID-19", "ARDS")),
        ("No finding", "leaf", ("No Finding",)),
        (" No Finding ", "path", ("No Finding",)),
        ("todo", "leaf", ()),
        ("Unknown", "path", ()),
        ("", "leaf", ()),
    ],
)
def test_findings(cell, rule, findings):
    assert split_findings(cell, rule) == findings


def test_rows_without_a_finding_are_counted(tmp_path):
    make(
        tmp_path, row("a.png"), row("b.png", finding="todo"), row("c.png", finding=""), row("d.png", finding="unknown")
    )
    records = read_covid_chestxray(tmp_path)
    assert outline(records) == [("a.png", "COVID-19")]
    assert "3 rows passed over: finding not stated (blank, todo or Unknown)" in records.notes
    assert (records.n_rows, records.problems) == (4, ())


def test_bad_rows_are_named(tmp_path):
    rows = [row("a.png"), row("gone.png"), row("lateral.png", view="L"), row("empty.png"), row("a.png")]
    make(tmp_path, *rows, row(""), row("s.nii.gz", modality="CT", folder="volumes"), absent=("gone.png", "lateral.png"))
    (tmp_path / "images" / "empty.png").write_bytes(b"")
    with (tmp_path / "metadata.csv").open("a") as stream:
        stream.write("\n2,,,,SARS,,PA,X-ray,,images,b.png,,,,,one too many\n")
    records = read_covid_chestxray(tmp_path)
    assert outline(records) == [("a.png", "COVID-19")]
    assert records.problems == (
        Problem(3, "images/gone.png", "the file is missing", "missing"),
        Problem(4, "images/lateral.png", "the file is missing", "missing"),
        Problem(5, "images/empty.png", "the file is empty", "unreadable"),
        Problem(6, "images/a.png", "the file is named in an earlier row", "duplicate"),
        Problem(7, "", "the row names no file"),
        Problem(10, "images/b.png", "the row has 16 cells, the header names 15 columns"),
    )
    assert records.n_rows == 8  # the blank line is no row


def test_volumes_are_no_films(tmp_path):
    make(tmp_path, row("a.png"), row("s.nii.gz", modality="CT", view="Axial", folder="volumes"))
    asked = {"views": ("all",), "modality": ("all",)}
    assert read_covid_chestxray(tmp_path, **asked).problems[0].kind == "missing"
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "s.nii.gz").write_bytes(b"volume")
    problem = Problem(3, "volumes/s.nii.gz", "is a volume, not a film")
    assert read_covid_chestxray(tmp_path, **asked).problems == (problem,)
    assert read_covid_chestxray(tmp_path).problems == ()


def test_header_of_march_2020_has_no_folder_and_other_case(tmp_path):
    header = "Patientid,offset,sex,age,Finding,survival,View,Modality,date,location,Filename,doi,url,license,notes"
    cells = {"Patientid": "3", "Finding": "SARS", "View": "PA", "Modality": "X-ray", "Filename": "a.jpeg"}
    make(tmp_path, cells, header=header)
    (tmp_path / "images" / "a.jpeg").write_bytes(b"film")
    film = read_covid_chestxray(tmp_path)[0]
    assert (film.path, film.finding, film.patient_id, film.source) == ("images/a.jpeg", "SARS", "3", None)


def figure1_row(patientid, **cells):
    return {"patientid": patientid, "finding": "COVID-19", "modality": "X-ray"} | cells


def test_figure1(tmp_path):
    rows = [
        figure1_row("COVID-90001", view="AP erect", age="20", notes="Fever 38°", **{"pO2 saturation": "95"}),
        figure1_row("COVID-90010", age="50+", finding="No finding", view="AP Erect"),
        figure1_row("COVID-90039a"),
        figure1_row("COVID-90039b"),
        figure1_row("COVID-90040", finding=""),
        figure1_row("COVID-90041"),
        figure1_row("COVID-90042", view="L"),
    ]
    make(tmp_path, *rows, header=FIGURE1, encoding="cp1252")
    for name in ("01.png", "10.jpg", "39a.jpg", "39b.png", "40.jpg", "42.png"):
        (tmp_path / "images" / f"COVID-900{name}").write_bytes(b"film")
    records = read_covid_chestxray(tmp_path)
    assert [film.path for film in records] == [
        f"images/COVID-900{name}" for name in ("01.png", "10.jpg", "39a.jpg", "39b.png")
    ]
    assert [film.patient_id for film in records] == ["COVID-90001", "COVID-90010", "COVID-90039", "COVID-90039"]
    assert [film.view for film in records] == ["AP erect", "AP erect", None, None]
    assert records[0].attributes["po2 saturation"] == "95"
    assert (records[1].age_years, records[1].attributes["age"], records[1].finding) == (None, "50+", "No Finding")
    assert {film.source for film in records} == {"figure1"}
    assert records.problems == (Problem(7, "images/COVID-90041.jpg", "the file is missing", "missing"),)
    assert any("Latin-1" in note for note in records.notes)
    assert any("form of Figure1" in note for note in records.notes)
    assert [film.view for film in read_covid_chestxray(tmp_path, views=("L",))] == ["L"]


def test_actualmed(tmp_path):
    name = "CR.1.2.3.4.png"
    rows = [
        {"patientid": "ANON3001", "finding": "No finding", "view": "PA", "modality": "X-ray", "imagename": name},
        {"patientid": "ANON3001", "finding": "COVID-19", "view": "AP", "modality": "X-ray", "imagename": "b.png"},
        {"patientid": "ANON3002", "view": "PA", "modality": "X-ray", "imagename": "c.png", "notes": "Inconclusive"},
    ]
    records = read_covid_chestxray(make(tmp_path, *rows, header=ACTUALMED))
    assert outline(records) == [(name, "No Finding"), ("b.png", "COVID-19")]
    assert [film.patient_id for film in records] == ["ANON3001", "ANON3001"]
    assert {film.source for film in records} == {"actualmed"}
    assert any("form of Actualmed" in note for note in records.notes)


def test_roots_that_users_name(tmp_path):
    top = make(tmp_path / "covid-chestxray-dataset-master", row("a.png"))
    for root in (tmp_path, top, top / "images", top / "metadata.csv", str(top)):
        records = read_covid_chestxray(root)
        assert (records.root, outline(records)) == (top, [("a.png", "COVID-19")])
    make(tmp_path / "other", row("a.png"))
    with pytest.raises(ValueError, match="holds 2 folders with a metadata.csv; name one of them"):
        read_covid_chestxray(tmp_path)


def test_wrong_roots(tmp_path):
    (tmp_path / "PA").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected metadata.csv and images/, .*; found PA/$"):
        read_covid_chestxray(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder; expected metadata.csv"):
        read_covid_chestxray(tmp_path / "nowhere")
    (tmp_path / "metadata.csv").write_text("file,label\na.png,normal\n")
    with pytest.raises(ValueError, match="has no column patientid, finding, view, modality; it has file, label"):
        read_covid_chestxray(tmp_path)


def test_paths_stay_below_the_root(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"film")
    root = make(tmp_path / "set", row("a.png"))
    text = (root / "metadata.csv").read_text()
    (root / "metadata.csv").write_text(text.replace("a.png", "../../secret.png"))
    with pytest.raises(ValueError, match=r"metadata.csv, row 2: .*leaves the data root"):
        read_covid_chestxray(root)


def test_wrong_options(tmp_path):
    make(tmp_path, row("a.png"), row("b.png", view="Oblique"))
    with pytest.raises(ValueError, match=r"unknown views 'frontl' \(did you mean 'frontal'\?\); choose from AP, "):
        read_covid_chestxray(tmp_path, views=("frontl",))
    with pytest.raises(ValueError, match="unknown modality 'MR'; choose from CT, X-ray, all"):
        read_covid_chestxray(tmp_path, modality=("MR",))
    with pytest.raises(ValueError, match="unknown rule for findings 'leef'"):
        read_covid_chestxray(tmp_path, finding_level="leef")
    with pytest.raises(TypeError, match=r"views must be a tuple of names, got the text 'PA'; write \('PA',\)"):
        read_covid_chestxray(tmp_path, views="PA")
    assert [film.view for film in read_covid_chestxray(tmp_path, views=("oblique",))] == ["Oblique"]


def test_real_layout(fscxr_data):
    root = fscxr_data / "layouts" / "ieee8023"
    wanted = json.loads((root.parent / "EXPECTED.json").read_text())["ieee8023"]
    records = read_covid_chestxray(root, views=("all",))
    assert (records.n_rows, len(records)) == (wanted["rows"], wanted["xray_with_image"])
    assert records.count_by(lambda film: film.view) == dict(sorted(wanted["views"].items()))
    assert Counter(", ".join(film.findings) for film in records) == wanted["findings"]
    missing = [problem.path.removeprefix("images/") for problem in records.problems if problem.kind == "missing"]
    assert missing == wanted["missing"]
    assert len(records.problems) == len(missing)
    assert f"{len(wanted['ct'])} rows passed over: modality CT" in records.notes
    frontal = read_covid_chestxray(root)
    assert len(frontal) == 57
    assert frontal.problems == records.problems


def test_real_list_of_mid_2020(fscxr_data):
    """The numbers of the KTH project "Transfer learning for COVID-19", which takes X-rays that are not lateral."""
    form, rows, _ = read_covid_list(fscxr_data / "cxr_ieee8023" / "metadata_source.csv")
    assert (form, len(rows)) == ("ieee8023", 360)
    films = [row.film for row in rows if row.film.attributes["modality"] == "X-ray" and row.film.view != "L"]
    assert (len(films), len({film.patient_id for film in films})) == (287, 180)
    assert {film.view for film in films} <= set(FRONTAL)
    covid = [film for film in films if "COVID-19" in film.findings]
    assert (len(covid), sum("ARDS" in film.findings for film in covid), len(films) - len(covid)) == (232, 12, 55)

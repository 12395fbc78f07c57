"""A data frame is read as a CSV is."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fewshot_cxr.data import read_dataset
from fewshot_cxr.records import Record, Records

pandas = pytest.importorskip("pandas")


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"film")
    return tmp_path


def test_a_frame_gives_the_films_of_its_csv(folder):
    text = (
        "Image Index,Finding Labels,Patient ID,View,Split,Age\n"
        "a.png,Effusion|Mass,7,PA,Training,61.5\nb.png,No Finding,nan,-,validate,\nsub/c.png,Mass,8,AP,test,70\n"
        "b.png,No Finding,,,validate,\ngone.png,Mass,9,,,\na.png,,7,,,\n"
    )
    (folder / "films.csv").write_text(text)
    from_csv = read_dataset("manifest", folder / "films.csv")
    for root in (folder, str(folder)):
        films = Records.from_dataframe(pandas.read_csv(folder / "films.csv"), root=root)
        assert films == Records(from_csv.films, folder, films.problems, films.notes, from_csv.n_rows)
        assert films.data_hash == from_csv.data_hash
    assert [film.patient_id for film in films] == ["7", None, "8"]
    assert [film.split for film in films] == ["train", "val", "test"]
    assert [(problem.path, problem.kind) for problem in films.problems] == [
        (problem.path, problem.kind) for problem in from_csv.problems
    ]
    assert [problem.row for problem in films.problems] == [problem.row - 1 for problem in from_csv.problems]
    assert "columns taken: path from Image Index" in films.notes[0]


def test_there_and_back(folder):
    films = (
        Record("a.png", ("x", "y"), patient_id="7", group_id="g", source="s", view="PA", split="train", age_years=58.0),
        Record("sub/c.png", ("z",), patient_id="08", sex="F", unstated=("x",), attributes={"note": "n"}),
    )
    again = Records.from_dataframe(Records(films, folder).to_dataframe(), root=folder)
    assert [(film.path, film.findings, film.patient_id, film.age_years) for film in again] == [
        ("a.png", ("x", "y"), "7", 58.0),
        ("sub/c.png", ("z",), "08", None),
    ]
    assert again.data_hash == Records(films, folder).data_hash
    assert again[1].attributes == {"note": "n"}


@pytest.mark.parametrize("missing", [None, float("nan"), pandas.NA, pandas.NaT, "nan", "", " "])
def test_missing_cells_are_unknown_patients(folder, missing):
    frame = pandas.DataFrame({"path": ["a.png", "b.png"], "label": ["x", "y"], "patient_id": [3, missing]})
    films = Records.from_dataframe(frame, root=folder)
    assert [film.patient_id for film in films] == ["3", None]


def test_whole_numbers_stay_whole_beside_a_missing_one(folder):
    frame = pandas.DataFrame({"path": ["a.png", "b.png"], "label": [0, 1], "subject_id": [10000032.0, None]})
    films = Records.from_dataframe(frame, root=folder)
    assert [(film.finding, film.patient_id) for film in films] == [("0", "10000032"), ("1", None)]
    assert any("unknown" in note and "1 of 2" in note for note in films.notes)


def test_paths_lists_and_a_named_index_are_understood(folder):
    frame = pandas.DataFrame({"label": [["x", "y"], ["x"]]}, index=pandas.Index([Path("a.png"), Path("b.png")]))
    frame.index.name = "path"
    films = Records.from_dataframe(frame, root=folder)
    assert [(film.path, film.findings) for film in films] == [("a.png", ("x", "y")), ("b.png", ("x",))]
    assert any("patients are unknown" in note for note in films.notes)


def test_bytes_are_text_and_arrays_are_lists(folder):
    frame = pandas.DataFrame({"path": [b"a.png", "b.png"], "label": [b"x", np.array(["x", "y"])]})
    films = Records.from_dataframe(frame, root=folder)
    assert [(film.path, film.findings) for film in films] == [("a.png", ("x",)), ("b.png", ("x", "y"))]


def test_the_frame_itself_is_not_changed(folder):
    frame = pandas.DataFrame({"path": ["a.png"], "label": ["x"]})
    before = frame.copy()
    Records.from_dataframe(frame, root=folder)
    pandas.testing.assert_frame_equal(frame, before)


def test_a_frame_of_polars_has_rows_by_another_name(folder):
    frame = SimpleNamespace(columns=["path", "label"], iter_rows=lambda: iter([("a.png", "x"), ("b.png", None)]))
    films = Records.from_dataframe(frame, root=folder)
    assert [film.path for film in films] == ["a.png"]
    assert films.problems[0].reason == "the row names no finding"


def test_options_are_those_of_a_manifest(folder):
    frame = pandas.DataFrame({"x": ["a", "b"], "y": ["1", "2"], "path": ["-", "-"]})
    films = Records.from_dataframe(
        frame, root=folder, path_column="x", label_column="y", path_suffix=".png", patient_pattern=r"(\w)\.png"
    )
    assert [(film.path, film.finding, film.patient_id) for film in films] == [("a.png", "1", "a"), ("b.png", "2", "b")]
    with pytest.raises(TypeError, match="labelcolumn"):
        Records.from_dataframe(frame, root=folder, labelcolumn="y")


def test_wrong_input_stops_at_the_door(folder):
    with pytest.raises(TypeError, match="a data frame of pandas or polars was expected, got list"):
        Records.from_dataframe([("a.png", "x")], root=folder)
    with pytest.raises(ValueError, match="the data frame has no label column .* it has path, age"):
        Records.from_dataframe(pandas.DataFrame({"path": ["a.png"], "age": [3]}), root=folder)
    many = pandas.DataFrame({"path": ["a.png"], "label": ["|".join(map(str, range(2_001)))]})
    with pytest.raises(ValueError, match="the data frame has 2,001 different findings, at most 2,000 are taken"):
        Records.from_dataframe(many, root=folder)
    with pytest.raises(FileNotFoundError, match=r"the data frame: .*gone\.png.*missing"):
        Records.from_dataframe(pandas.DataFrame({"path": ["gone.png"], "label": ["x"]}), root=folder)
    two = pandas.DataFrame({"path": ["a.png", "b.png"], "label": "x", "patient": 1, "split": ["train", "test"]})
    with pytest.raises(ValueError, match="split"):
        Records.from_dataframe(two, root=folder)
    assert len(Records.from_dataframe(two, root=folder, allow_leak=True)) == 2

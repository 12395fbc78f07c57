import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fewshot_cxr import _checks
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import TABLE_COLUMNS, Problem, Record, Records, count_reasons, resolve_below


def films(root, n=4):
    return Records(tuple(Record(f"{i}.png", ("a" if i % 2 else "b",), patient_id=f"p{i // 2}") for i in range(n)), root)


def test_records_are_a_sequence_that_carries_its_problems(tmp_path):
    records = films(tmp_path).with_problems([Problem(3, "1.png", "truncated")])
    assert [film.path for film in records] == ["0.png", "2.png", "3.png"]
    assert records[1:].problems == records.problems == (Problem(3, "1.png", "truncated"),)
    assert records.findings == ("a", "b")
    assert records.count_by(lambda film: film.source) == {"not stated": 3}


def test_data_hash_ignores_order_and_sees_every_decisive_column(tmp_path):
    records = films(tmp_path)
    assert records.data_hash == Records(records.films[::-1], tmp_path).data_hash
    moved = Records((*records.films[:3], Record("3.png", ("b",), patient_id="p1")), tmp_path)
    assert moved.data_hash != records.data_hash


def test_data_hash_sees_what_is_unstated_and_is_as_ever_where_nothing_is(tmp_path):
    records = films(tmp_path, n=2)
    rows = "0.png\0b\0p0\0\n1.png\0a\0p0\0"
    assert records.data_hash == hashlib.sha256(rows.encode()).hexdigest()
    marked = Records((replace(records[0], unstated=("a",)), records[1]), tmp_path)
    assert marked.data_hash != records.data_hash


def test_group_falls_back_to_patient_then_film():
    assert Record("x.png", ("a",), "p", "g").group == "g"
    assert Record("x.png", ("a",), "p").group == "p"
    assert Record("x.png", ("a",)).group == "x.png"


def test_several_findings_are_no_single_label():
    with pytest.raises(ValueError, match="single-label film was expected"):
        _ = Record("x.png", ("a", "b")).finding


def test_missing_split_names_those_there_are(tmp_path):
    with pytest.raises(ValueError, match="no split is set: run `fscxr data split`"):
        films(tmp_path).of_split("test")


@pytest.mark.parametrize("path", ["../x.png", "/etc/passwd", "link/x.png"])
def test_no_path_leaves_the_root(tmp_path, path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leaves the data root"):
        resolve_below(root, path)


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown rule 'protoype' \(did you mean 'prototype'\?\); choose from knn"):
        _checks.lookup({"prototype": 1, "knn": 2}, "protoype", what="rule")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size_px": 4}, "size_px must be at least 8, got 4"),
        ({"n_channels": 2}, "n_channels must be 1 or 3, got 2"),
        ({"crop": "round"}, "crop must be one of"),
        ({"mean": (0.5, 0.5)}, "mean must hold 1 or 1 numbers, got 2"),
        ({"std": (0.0,)}, "std must be above 0"),
        ({"std": (float("nan"),)}, "std must be above 0"),
        ({"mean": (float("nan"),)}, "mean must be finite"),
        ({"top_crop": 0.5}, "top_crop must be a share of the side, 0 or more and below 0.5, got 0.5"),
        ({"border_crop": -0.01}, "border_crop must be a share of the side, 0 or more and below 0.5, got -0.01"),
        ({"border_crop": float("nan")}, "border_crop must be a share"),
        ({"resize": "lanczos"}, r"resize must be one of \('bilinear', 'bicubic'\), got 'lanczos'"),
        ({"equalise": "histogram"}, r"equalise must be one of \('none', 'clahe'\), got 'histogram'"),
    ],
)
def test_image_spec_refuses(fields, message):
    with pytest.raises(ValueError, match=message):
        ImageSpec(**fields)


def test_image_spec_survives_json():
    spec = ImageSpec(96, 3, "none", (0.1, 0.2, 0.3), (1, 1, 1), 12, 0.08, 20 / 224, "clahe", True, "bicubic")
    assert ImageSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_the_card_of_an_older_encoder_still_reads():
    older = {"size_px": 96, "n_channels": 1, "crop": "square", "mean": [0.5], "std": [0.25], "bit_depth": None}
    assert ImageSpec.from_json(older) == ImageSpec(size_px=96)


def test_the_card_of_a_usual_spec_is_the_older_one():
    assert "resize" not in ImageSpec().to_json()
    assert ImageSpec(resize="bicubic").to_json()["resize"] == "bicubic"


def test_per_pixel_is_a_claim():
    with pytest.raises(TypeError, match="per_pixel must be True or False, got 1"):
        ImageSpec(per_pixel=1)


def test_a_film_of_two_findings_counts_under_both(tmp_path):
    records = Records((Record("a", ("y", "x")), Record("b", ("x",)), Record("c", ())), tmp_path)
    assert list(records.count_findings().items()) == [("x", 2), ("y", 1)]


def test_each_changes_every_film_and_keeps_what_travels_along(tmp_path):
    problems = (Problem(None, "c.png", "cut short", "unreadable"),)
    records = Records((Record("a.png", ("x",)), Record("b.png", ("y",))), tmp_path, problems, ("a note",))
    changed = records.each(lambda film: replace(film, split="test"))
    assert [(film.path, film.split) for film in changed] == [("a.png", "test"), ("b.png", "test")]
    assert (changed.root, changed.problems, changed.notes) == (tmp_path, problems, ("a note",))
    assert {film.split for film in records} == {None}


TWO = (
    Record("a.png", ("<b>", "x"), patient_id="1", split="train", source="s", age_years=58.0, attributes={"note": "n"}),
    Record("sub/b.png", ("x",), split="test", unstated=("y",)),
)


def test_records_show_themselves_in_a_line_and_in_a_table(tmp_path):
    films = Records(TWO, tmp_path, (Problem(4, "c.png", "the file is missing", "missing"),))
    facts = "films: 2; findings: x 2, <b> 1; patients: 1 (unknown for 1 of 2 films); sources: not stated 1, s 1; "
    facts += f"splits: test 1, train 1; left out: 1; root: {tmp_path}"
    assert repr(films) == f"Records({facts})"
    assert "<b>" not in films._repr_html_()
    assert "&lt;b&gt; 1" in films._repr_html_()
    assert repr(Records((), tmp_path)) == f"Records(films: 0; findings: none; patients: unknown; root: {tmp_path})"


def test_records_of_many_films_stay_short(tmp_path):
    films = tuple(Record(f"{n}.png", (f"finding {n % 40}",), patient_id=str(n)) for n in range(2_000))
    assert len(repr(Records(films, tmp_path))) < 400
    assert "films: 2,000;" in repr(Records(films, tmp_path))
    assert "patients: 2,000" in repr(Records(films, tmp_path))


def test_paths_may_be_texts_or_paths(tmp_path):
    (tmp_path / "sub").mkdir()
    films = Records((Record(Path("sub", "a.png"), ("x",), mask_path=Path("sub", "m.png")),), str(tmp_path))
    assert films == Records((Record("sub/a.png", ("x",), mask_path="sub/m.png"),), tmp_path)
    assert films.file(films[0]) == (tmp_path / "sub" / "a.png").resolve()


def test_records_as_a_data_frame(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = Records(TWO, tmp_path).to_dataframe()
    assert list(frame.columns) == [*TABLE_COLUMNS, "unstated", "note"]
    assert frame["label"].tolist() == ["<b>|x", "x"]
    assert frame["age_years"].tolist()[0] == 58.0
    assert frame["unstated"].tolist() == ["", "y"]
    assert frame.loc[1, ["patient_id", "source", "age_years", "note"]].isna().all()
    assert isinstance(Records((), tmp_path).to_dataframe(), pandas.DataFrame)


def test_an_attribute_called_like_a_column_has_another_name(tmp_path):
    pytest.importorskip("pandas")
    film = Record("a.png", ("x",), attributes={"label": "7"})
    frame = Records((film,), tmp_path).to_dataframe()
    assert (frame["label"].tolist(), frame["label (2)"].tolist()) == (["x"], ["7"])


def test_a_data_frame_needs_pandas_and_plain_findings(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=r"a\.png: a table cannot hold the finding 'x\|y'"):
        Records((Record("a.png", ("x|y",)),), tmp_path).to_dataframe()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pandas"):
        Records(TWO, tmp_path).to_dataframe()


def test_reasons_are_counted_and_no_more_than_five_are_told():
    rows = [Problem(row, f"{row}.png", f"reason {row // 2 if row < 6 else row}") for row in range(12)]
    told = count_reasons(rows)
    assert told[0] == "2 rows, the first 0.png (row 0): reason 0"
    assert told[3] == "6.png (row 6): reason 6"
    assert len(told) == 6
    assert told[-1] == "4 more, for other reasons"
    assert count_reasons(rows[:1]) == ["0.png (row 0): reason 0"]
    assert count_reasons(()) == []

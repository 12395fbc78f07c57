"""Every film is decoded once; the report counts what was read."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fewshot_cxr.data import check_whole, read_dataset, summarise, verify_films


@pytest.fixture
def records(tmp_path):
    for name in ("a.png", "b.png", "cut.png"):
        Image.fromarray(np.arange(900, dtype=np.uint8).reshape(30, 30) % 251).save(tmp_path / name)
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").touch()
    rows = "a.png,x|y,,PA\nb.png,x,train,\ncut.png,y,,\nempty.png,y,,\ngone.png,y,,\na.png,x|y,,\n,x,,\n"
    (tmp_path / "films.csv").write_text("path,label,split,view\n" + rows, encoding="utf-8")
    return read_dataset("manifest", tmp_path / "films.csv")


def test_a_damaged_film_is_left_out_and_named(records):
    calls = []
    verified = verify_films(records, n_workers=2, progress=lambda *counts: calls.append(counts))
    assert [film.path for film in verified] == ["a.png", "b.png"]
    assert (verified.problems[-1].path, verified.problems[-1].kind) == ("cut.png", "unreadable")
    assert calls == [(3, 3)]


def test_all_rows_are_accounted_for(records):
    report = summarise(verify_films(records))
    assert report == {
        "n_rows": 7,
        "n_records": 2,
        "n_films_without_patient": 2,
        "missing": ["gone.png"],
        "unreadable": ["empty.png", "cut.png"],
        "duplicates": ["a.png"],
        "other_problems": [{"row": 8, "path": "", "reason": "the row names no file"}],
        "by_finding": {"x": 2, "y": 1},
        "by_source": {"not stated": 2},
        "by_view": {"PA": 1, "not stated": 1},
        "by_split": {"not stated": 1, "train": 1},
    }
    n_left_out = sum(len(report[kind]) for kind in ("missing", "unreadable", "duplicates", "other_problems"))
    assert report["n_rows"] == report["n_records"] + n_left_out


def test_strict_counts_the_problems_and_names_the_first(records):
    expected = (
        r"^4 rows cannot be used \(1 duplicate, 1 missing, 1 other, 1 unreadable\), the first: "
        r"row 5, empty\.png: the file is empty; without --strict they are left out$"
    )
    with pytest.raises(OSError, match=expected):
        check_whole(records)
    check_whole(replace(records, problems=()))

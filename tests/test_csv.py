"""Tables that a spreadsheet opens: no name is a formula, numbers are numbers, and what is read again is what was."""

import csv
import io
import json
from itertools import product

import numpy as np
import pytest

from fewshot_cxr._csv import csv_table, csv_text, plain_cell, plain_lead, whole_rows
from fewshot_cxr.data import read_dataset, write_manifest
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.records import Record, Records
from fewshot_cxr.training.callbacks import history_csv
from fewshot_cxr.workflows.run_files import read_epochs

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", " =", "\uff1d", "\uff0b", "\uff0d", "\uff20")
BEFORE = ("", "'", "''")
CELLS = [f"{before}{start}{rest}" for before, start, rest in product(BEFORE, STARTS, ("", "cmd|'/C calc'!A0", "1+1"))]


def cells_of(text):
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("cell", CELLS)
def test_no_text_is_a_formula_and_each_comes_back(cell):
    ((written, _),) = cells_of(csv_text([(cell, "x")]))
    assert written == f"'{cell}"
    assert plain_cell(written) == cell


@pytest.mark.parametrize("cell", ["-1.5", "+3", "-1e-05", "-inf", "", "a=b", "p-1", "'quoted'", "'", "3", "'tis"])
def test_numbers_and_plain_texts_stay(cell):
    ((written, _),) = cells_of(csv_text([(cell, "x")]))
    assert written == plain_cell(written) == cell


def test_a_table_of_named_cells():
    text = csv_table([{"=a": -1.5, "b": None}, {"c": np.float64(-0.25), "=a": "-x"}])
    assert text == "'=a,b,c\n-1.5,,\n'-x,,-0.25\n"


def test_a_lead_line_says_the_same_and_holds_no_formula():
    told = {
        "read": ["films,=1+1.csv", "b;@x", "c, +1"],
        "low": [0, -1.5e-3, -2],
        "n": {",-1+cmd|x": -3},
        "x": "=1",
    }
    line = plain_lead(json.dumps(told, ensure_ascii=False))
    assert json.loads(line) == told
    for mark in ",;":
        starts = [part.strip() for part in line.split(mark)[1:]]
        assert not [part for part in starts if part[:1] in tuple("=+@") or part.startswith("-1+")]


def hostile(folder):
    names = [("=film.png", "+finding"), ("@b.png", "-finding"), ("c,=1.png", "x")]
    for name, _ in names:
        (folder / name).write_bytes(b"picture")
    return Records(
        tuple(
            Record(path, (finding,), patient_id=f"-{path}", source="@source", attributes={"=note": "\tx", "n": "-1.5"})
            for path, finding in names
        ),
        folder,
    )


def test_manifests_are_quoted_and_come_back(tmp_path):
    films = hostile(tmp_path)
    write_manifest(films, tmp_path / "films.csv", header={"read": ["a,=1+1"]})
    text = (tmp_path / "films.csv").read_text(encoding="utf-8")
    found = [cell for row in cells_of(text) for cell in row]
    assert [cell for cell in found if cell.strip()[:1] in tuple("=+-@\t\r") and cell] == ["-1.5"] * 3
    again = read_dataset("manifest", tmp_path / "films.csv")
    assert again.films == films.films
    assert again.data_hash == films.data_hash


def test_embeddings_and_histories_are_quoted_and_their_numbers_are_not(tmp_path):
    vectors = np.array([[-1.5, 2.0], [0.0, -3.0]], dtype=np.float32)
    made = Embeddings(vectors, ["=a", "@b"], sources=["+s", "-s"], paths=["-1.png", "\tx.png"])
    made.save(tmp_path / "x.csv")
    _, *rows = cells_of((tmp_path / "x.csv").read_text(encoding="utf-8"))
    assert [[row[0], row[1], row[3], *row[4:]] for row in rows] == [
        ["'-1.png", "'=a", "'+s", "-1.5", "2"],
        ["'\tx.png", "'@b", "'-s", "0", "-3"],
    ]
    (tmp_path / "history.csv").write_text(history_csv([{"epoch": 1.0, "=recall": -0.5}]), encoding="utf-8")
    assert "'=recall" in (tmp_path / "history.csv").read_text(encoding="utf-8")
    assert read_epochs(tmp_path / "history.csv") == ({"epoch": 1.0, "=recall": -0.5},)


def test_rows_that_break_off_are_counted_up_to_the_last_whole_one():
    text = csv_text([("path", "set"), ("a.png", "b; c"), ("d\ne.png", 'said "f"'), ("g\r.png", None)]).encode()
    ends = [len(csv_text(rows).encode()) for rows in (cells_of(text.decode())[:n] for n in range(5))]
    for n_bytes in range(len(text) + 1):
        n_rows = max(n for n, end in enumerate(ends) if end <= n_bytes)
        assert whole_rows(io.BytesIO(text[:n_bytes])) == (n_rows, ends[n_rows]), n_bytes

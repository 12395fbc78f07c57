import tracemalloc

import numpy as np
import pytest

from fewshot_cxr.evaluation import Answers
from fewshot_cxr.evaluation.films import evaluate_closed_set
from fewshot_cxr.evaluation.films.prediction_file import read_predictions

ROWS = """path,finding,patient_id,normal,effusion
a.png,normal,p1,0.9,0.1
b.png,effusion,p1,0.3,0.7
c.png,normal,p2,0.4,0.6
"""


def write(folder, text):
    (folder / "predictions.csv").write_text(text, encoding="utf-8")
    return folder / "predictions.csv"


def test_probabilities_are_read(tmp_path):
    decisions = read_predictions(write(tmp_path, ROWS))
    assert decisions.findings == ("effusion", "normal")
    assert decisions.paths == ("a.png", "b.png", "c.png")
    assert decisions.true_ids.tolist() == [1, 0, 1]
    assert decisions.patient_ids.tolist() == [0, 0, 1]
    assert np.allclose(decisions.probabilities, [[0.1, 0.9], [0.7, 0.3], [0.6, 0.4]])
    assert decisions.notes == ()
    assert evaluate_closed_set(decisions).confusion == ((1, 0), (1, 1))


def test_decisions_alone_are_read_and_ties_are_split(tmp_path):
    text = "Image;Label;Predicted\na.png;normal;normal\nb.png;effusion;effusion|normal\n\n"
    result = evaluate_closed_set(read_predictions(write(tmp_path, text)))
    assert result.findings == ("effusion", "normal")
    assert result.confusion == ((0.5, 0.5), (0, 1))
    assert result.scores.auroc.mean is None
    assert "no column patient_id or group_id: each film counts as a patient of its own" in result.notes


def test_decimal_commas_are_read(tmp_path):
    expected = read_predictions(write(tmp_path, ROWS)).probabilities
    for text in (ROWS.replace(",", ";").replace(".", ",").replace(",png", ".png"), ROWS.replace("0.9", '"0,9"')):
        assert np.array_equal(read_predictions(write(tmp_path, text)).probabilities, expected)


def test_row_numbers_are_no_findings(tmp_path):
    rows = ROWS.splitlines()
    for name in ("id", "Index", "Unnamed: 0", ""):
        text = "\n".join([f"{name},{rows[0]}", *(f"{number},{row}" for number, row in enumerate(rows[1:]))])
        assert read_predictions(write(tmp_path, text)).findings == ("effusion", "normal")


def test_groups_and_patients_join_in_a_chain(tmp_path):
    text = "path,label,patient_id,group_id,predicted\n1,a,p1,g1,a\n2,b,p2,g1,b\n3,a,p2,,a\n4,b,p3,,b\n"
    assert read_predictions(write(tmp_path, text)).patient_ids.tolist() == [0, 0, 0, 1]


def test_rounded_probabilities_and_a_column_too_many_are_noted(tmp_path):
    text = "path,finding,predicted,split,a,b,c\n1,a,a,test,0.33,0.33,0.33\n2,b,b,test,0,1,0\n"
    decisions = read_predictions(write(tmp_path, text))
    assert np.allclose(decisions.probabilities[0], 1 / 3)
    assert decisions.notes[:2] == (
        "the probabilities of 1 films add up to 1 but for rounding: divided by their sum",
        "the column predicted is not read: decisions follow from the probabilities",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ROWS.replace("0.9", "0.9x"), r"predictions.csv, row 2: normal is '0.9x', a probability 0..1 was expected"),
        (ROWS.replace("0.9", "nan"), "row 2: normal is 'nan'"),
        (ROWS.replace("0.7", "-0.7"), "row 3: effusion is '-0.7'"),
        (ROWS.replace("0.6", "0.9"), "row 4: the probabilities add up to 1.3, not 1: write a softmax"),
        (ROWS.replace("b.png,effusion", "b.png,"), "row 3: no finding; every film needs both"),
        (ROWS.replace("b.png,effusion", "b.png,effusion|normal"), r"row 3: several findings \(effusion\|normal\)"),
        (ROWS.replace("b.png,", ","), "row 3: no path"),
        (
            ROWS.replace("b.png", "a.png").replace("effusion,p1", "normal,p1"),
            "row 3: a.png is named in row 2; name each",
        ),
        (ROWS.replace("b.png,effusion", "b.png,efusion"), r"probabilities for efusion \(did you mean 'effusion'\?\)"),
        (ROWS.replace("finding", "truth"), r"has no column label \(or finding, class\); it has path, truth"),
        (ROWS.replace("0.1\n", "0.1,7\n"), "row 2: 6 cells under 5 columns"),
        (ROWS.replace(",effusion\n", ",normal\n"), "names a column twice"),
        ("path,finding\na.png,normal\n", "has neither a column predicted nor one of probabilities for each of normal"),
        ("path,finding,predicted\na.png,normal,\n", "row 2: predicted is ''; one finding was expected, or ties as A|B"),
        ("path,finding,a\n1,a,1\n", r"knows one finding only \(a\)"),
        ("path,finding,predicted\n1,a,a\n", r"knows one finding only \(a\)"),
        ("path,finding,predicted\n", "has a header and no row"),
    ],
)
def test_a_bad_row_is_named(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read_predictions(write(tmp_path, text))


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_predictions(tmp_path / "none.csv")


@pytest.mark.parametrize("again", ["a.png", "./a.png", ".\\a.png", "b/../a.png", " a.png "])
@pytest.mark.parametrize(("label", "told"), [("effusion", " as normal, and effusion here"), ("normal", "")])
def test_a_film_of_two_rows_is_refused_however_it_is_spelt(tmp_path, again, label, told):
    text = f"path,label,predicted\na.png,normal,normal\nb.png,effusion,normal\n{again},{label},normal\n"
    with pytest.raises(ValueError, match=f"row 4: .*a.png is named in row 2{told}; name each film once"):
        read_predictions(write(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "path,finding,predicted\na.png,a," + "|".join(f"t{n}" for n in range(5_000)) + "\nb.png,b,a\n",
        "path,finding,predicted\n" + "".join(f"{n}.png,f{n},f{n}\n" for n in range(5_002)),
        "path,finding," + ",".join(f"c{n}" for n in range(5_002)) + "\na.png,c0,1" + ",0" * 5_001 + "\n",
    ],
    ids=["ties", "true", "columns"],
)
def test_too_many_findings_are_refused_before_the_work(tmp_path, text):
    file = write(tmp_path, text)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"predictions.csv has 5,00\d different findings, at most 256 are taken"):
            read_predictions(file)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 50e6  # 5,000 findings by 5,000 are 100 MB of float32


def test_as_many_findings_as_there_may_be_are_read(tmp_path):
    names = [f"c{n:03d}" for n in range(256)]
    text = "path,finding,predicted\n" + "".join(f"{name}.png,{name},{name}\n" for name in names)
    assert list(read_predictions(write(tmp_path, text)).findings) == names
    with pytest.raises(ValueError, match="an evaluation has 257 different findings"):
        Answers(findings=[*names, "d"], truth=[0], probabilities=np.eye(257)[:1], paths=["x"])

"""`fscxr learning-curve` on one small trained run: its files, its splits, and what it refuses."""

import csv
import json

import pytest
from command_line import run
from made_splits import lay_split, train_small

from fewshot_cxr.evaluation import LearningCurve

KNOWN, NEW = ("normal", "effusion"), "lobar_consolidation"
SMALL = ("--n-query", 2, "--n-episodes", 40, "--shots", "1,2,4,50", "--device", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with films of three findings, a split, and a run that was trained on two of them."""
    folder = tmp_path_factory.mktemp("place")
    lay_split(folder, (*KNOWN, NEW), 16, "--fractions", "0.3,0.3,0.4")
    assert train_small(folder, "--findings", ",".join(KNOWN)) == 0
    return folder


@pytest.fixture
def measure(place, capsys):
    """Call the command; return its exit code and what it said."""

    def call(*more):
        data = ("--checkpoint", place / "run", "--data", place / "split.csv", "--split", "test")
        code = run("learning-curve", *data, *SMALL, *more)
        return code, capsys.readouterr()

    return call


def test_it_writes_what_was_asked_for_and_again_in_its_place(measure, tmp_path):
    files = {name: tmp_path / f"curve.{name}" for name in ("json", "csv", "png", "svg")}
    for picture in ("png", "svg"):
        flags = ("--json", files["json"], "--csv", files["csv"], "--plot", files[picture])
        code, said = measure("--novel", NEW, *flags)
        assert code == 0
        assert f"recall of {NEW} (new)" in " ".join(said.out.split())
        assert "50 shots left out: too few films" in said.err
    before = files["svg"].read_bytes()
    assert measure("--plot", files["svg"])[0] == 0
    assert files["svg"].read_bytes() == before
    plain = json.loads(files["json"].read_text())
    curve = LearningCurve.from_json(plain)
    assert [point.n_shot for point in curve.points] == [1, 2, 4]
    assert curve.novel == (NEW,)
    rows = list(csv.DictReader(files["csv"].read_text().splitlines()))
    assert {(row["number"], row["finding"], row["n_shot"]) for row in rows} >= {
        ("accuracy", "", "4"),
        ("recall", NEW, "1"),
    }
    assert float(rows[0]["mean"]) == curve.points[0].accuracy.mean


@pytest.mark.usefixtures("unpainted")
def test_a_report_shows_it(measure, place, tmp_path):
    assert measure("--novel", NEW, "--json", tmp_path / "curve.json")[0] == 0
    assert run("report", place / "run", tmp_path / "curve.json", "--out", tmp_path / "page.html") == 0
    page = (tmp_path / "page.html").read_text()
    assert "How many films are enough: curve" in page
    assert "50 shots left out" in page
    assert run("report", tmp_path / "curve.json", "--out", tmp_path / "alone.html") == 0


def test_support_of_other_splits_is_what_the_encoder_never_saw(measure):
    code, said = measure("--support-split", "train,val")
    assert code == 0
    told = " ".join(said.err.split())
    assert "were trained on, and are no support" in told
    assert NEW not in told.partition("were trained on")[0].rpartition("note:")[2]
    code, said = measure("--support-split", "train")
    assert code == 2
    assert "no number of shots can be measured" in said.err


def test_trained_films_that_are_asked_are_refused(place, capsys):
    data = ("--checkpoint", place / "run", "--data", place / "split.csv", "--split", "train")
    assert run("learning-curve", *data, *SMALL) == 2
    assert "films were trained on" in capsys.readouterr().err
    assert run("learning-curve", *data, *SMALL, "--allow-training-films") == 0
    assert "TRAINING FILMS ALLOWED" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--shots", "1,x"), "--shots 1,x: distinct numbers from 1 up were expected"),
        (("--shots", "2,2"), "--shots 2,2: distinct numbers"),
        (("--support-split", "training"), "no film has the split 'training'"),
        (("--plot", "curve.pdf"), "no .pdf is written here, but .png or .svg"),
        (("--novel", "covid"), "names an unknown finding 'covid'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(measure, flags, words):
    code, said = measure(*flags)
    assert code == 2
    (line,) = [line for line in said.err.splitlines() if "error: " in line]
    assert words in line

"""`fscxr report`, and what write_result tells of how a result was made."""

import json
import re

import pytest
from command_line import failure, run
from made_splits import lay_split, train_small

from fewshot_cxr.cli.console import write_result
from fewshot_cxr.evaluation import compare_results, result_from_json

FINDINGS = ("normal", "effusion", "cardiomegaly")
COUNTS = ("--n-shot", 2, "--n-query", 2, "--n-episodes", 60, "--no-patient-interval", "--no-baselines")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    lay_split(folder, FINDINGS, 14, "--fractions", "0.4,0.2,0.4")
    assert train_small(folder) == 0
    judged = ("--checkpoint", folder / "run", "--data", folder / "split.csv", "--split", "test", *COUNTS)
    assert run("episode-eval", *judged, "--json", folder / "episodes.json") == 0
    return folder


@pytest.mark.slow
def test_a_page_on_a_run_its_episodes_and_its_films(place, capsys):
    out = place / "report.html"
    films = ("--data", place / "split.csv", "--split", "test", "--support-split", "train")
    assert run("report", place / "run", place / "episodes.json", *films, "--out", out, "--title", "A <b> page") == 0
    html = out.read_text(encoding="utf-8")
    assert re.search(r"written: .*report\.html, \d+\.\d MB", capsys.readouterr().err)
    assert out.stat().st_size < 5_000_000
    assert "A &lt;b&gt; page" in html
    for words in ("films on a map", "best and the worst episode", "Where the network looks", "fscxr episode-eval"):
        assert words in html
    assert not re.search(r"(src|href)=.https?:", html)
    assert "<script" not in html


@pytest.mark.usefixtures("unpainted")
def test_results_alone_make_a_page_that_says_what_it_leaves_out(place, capsys):
    assert run("report", place / "episodes.json", "--out", place / "numbers.html") == 0
    said = capsys.readouterr().err
    assert "note: There is no run folder" in said
    assert "note: The audit of the films: name its file" in said


def test_a_result_says_how_it_was_made(place):
    plain = json.loads((place / "episodes.json").read_text())
    made_by = plain["made_by"]
    assert made_by["command"].startswith("fscxr episode-eval --checkpoint ")
    assert "--n-episodes 60" in made_by["command"]
    assert {"python", "fewshot_cxr", "torch"} <= made_by["versions"].keys()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", made_by["date"])
    assert made_by["machine"]


def test_how_it_was_made_changes_no_result(place):
    plain = json.loads((place / "episodes.json").read_text())
    bare = {name: value for name, value in plain.items() if name != "made_by"}
    assert result_from_json(plain) == result_from_json(bare)
    assert json.loads(json.dumps(result_from_json(plain).to_json())) == bare
    assert compare_results(result_from_json(plain), result_from_json(bare)).rows[0].difference == 0


def test_values_that_say_no_kind_are_written_as_they_are(tmp_path, capsys):
    for value in ({"a": 1}, [1, 2]):
        write_result(value, str(tmp_path / "x.json"))
        assert json.loads((tmp_path / "x.json").read_text()) == value
    write_result({"kind": "episodes"}, "-")
    assert json.loads(capsys.readouterr().out).keys() == {"kind", "made_by"}


def test_wrong_use_is_one_line(place, capsys, tmp_path):
    def refused(code, words, *arguments):
        return failure(capsys, code, ("report", *arguments), [words])

    run_folder, out = place / "run", ("--out", tmp_path / "x.html")
    flags = "--split, --support-split and the reading flags go with --data: name the films"
    assert refused(2, flags, run_folder, *out, "--split", "test") == f"fscxr: error: {flags}"
    refused(2, "--out takes a file", run_folder, "--out", "-")
    refused(4, "", place / "nowhere", *out)
    refused(2, "card.json is nothing that a report shows", run_folder / "card.json", *out)
    films = ("--data", place / "split.csv")
    refused(2, "no run folder whose encoder could embed them", place / "episodes.json", *films, *out)
    assert not (tmp_path / "x.html").exists()

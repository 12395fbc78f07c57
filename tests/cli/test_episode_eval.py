"""`fscxr episode-eval` on one small trained run: protocols, files of episodes, calibration, what it writes."""

import csv
import json
import shutil

import pytest
from command_line import failure, run
from made_splits import lay_split, train_small

from fewshot_cxr.cli.results import show_warnings
from fewshot_cxr.evaluation import Result
from fewshot_cxr.report import is_alarm

KNOWN, NEW = ("normal", "effusion", "cardiomegaly"), "lobar_consolidation"
SMALL = ("--n-shot", 2, "--n-query", 2, "--n-episodes", 40, "--no-patient-interval", "--no-baselines")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with films of four findings, a split, and a run that was trained on three of them."""
    folder = tmp_path_factory.mktemp("place")
    lay_split(folder, (*KNOWN, NEW), 14, "--fractions", "0.4,0.2,0.4")
    assert train_small(folder, "--findings", ",".join(KNOWN)) == 0
    return folder


@pytest.fixture
def evaluate(place, tmp_path, capsys):
    """Call the command; return its result and what it said."""

    def call(*more, data="split.csv", split="test"):
        arguments = ("--checkpoint", place / "run", "--data", place / data, "--split", split)
        assert run("episode-eval", *arguments, *more, "--json", tmp_path / "result.json") == 0
        said = capsys.readouterr()
        return json.loads((tmp_path / "result.json").read_text()), said

    return call


@pytest.fixture
def fail(place, capsys):
    """Call the command, and insist on one line of error with these words and on the exit code."""

    def call(*more, words, code=2, data="split.csv"):
        arguments = ("--checkpoint", place / "run", "--data", place / data, "--split", "test")
        failure(capsys, code, ("episode-eval", *arguments, *more), words)

    return call


def test_the_json_keeps_its_fields_and_gains_what_was_promised(evaluate):
    result, said = evaluate("--n-shot", 2, "--n-query", 2, "--n-episodes", 40)
    assert set(result["accuracy"]) >= {"mean", "ci95", "ci95_episodes", "ci95_patients"}
    assert result["accuracy"]["ci95"] == result["accuracy"]["ci95_patients"]
    kept = {
        "per_class_recall",
        "confusion",
        "findings",
        "floor",
        "episodes_hash",
        "episodes_per_second",
        "rule",
        "seed",
    }
    kept |= {"n_way", "n_shot", "n_query", "n_episodes", "n_films", "n_patients", "distance"}
    gained = {"balanced_accuracy", "macro_f1", "auroc", "calibration", "open_set", "seconds", "warnings"}
    assert kept | gained <= set(result)
    assert set(result["floor"]) >= {"pixels", "border"}
    assert result["calibration"]["after"] is None
    assert "--calibrate-split" in result["calibration"]["reason"]
    assert result["open_set"] is None
    assert "--unknown" in result["open_set_reason"]
    assert result.pop("made_by")["command"].startswith("fscxr episode-eval --checkpoint")
    assert json.loads(json.dumps(Result.from_json(result).to_json())) == result
    assert said.out.index("95 % over patients") < said.out.index("95 % over episodes")
    for text in ("baseline: nearest centroid on border", "accuracy above it", "macro F1", "AUPRC", "queries of"):
        assert text in said.out
    assert "left out in turn, in 5,000 episodes" in said.err
    assert "this is the one to quote" in said.err


def test_the_protocol_follows_from_what_the_encoder_was_trained_on(evaluate):
    result, said = evaluate(*SMALL)
    assert result["protocol"]["name"] == "generalized"
    assert set(result["seen_and_novel"]) == {"seen", "novel", "harmonic_mean"}
    assert "accuracy on novel findings" in said.out
    assert f"was not trained on {NEW}" in said.err
    result, _ = evaluate(*SMALL, "--findings", ",".join(KNOWN))
    assert result["protocol"]["name"] == "closed"
    result, _ = evaluate(*SMALL, "--protocol", "novel", "--novel", NEW, "--n-way", 2)
    assert result["protocol"]["name"] == "novel"
    assert result["protocol"]["novel"] == [NEW]


def test_episodes_are_written_and_replayed(evaluate, fail, tmp_path):
    file = ("--episodes-file", tmp_path / "episodes.safetensors")
    quick = ("--no-patient-interval", "--no-baselines")
    drawn, _ = evaluate(*SMALL, "--protocol", "novel", "--seed", 3, *file)
    replayed, said = evaluate(*quick, *file)
    assert "replayed from episodes.safetensors" in said.err
    for name in ("accuracy", "confusion", "episodes_hash", "n_shot", "n_query", "n_episodes", "seed"):
        assert replayed[name] == drawn[name], name
    for name in ("name", "seen", "novel"):
        assert replayed["protocol"][name] == drawn["protocol"][name], name
    other, _ = evaluate(*quick, *file, "--rule", "prototype")
    assert other["episodes_hash"] == drawn["episodes_hash"]
    fail(*file, "--n-shot", 3, "--seed", 0, words=["--episodes-file", "exists", "--n-shot, --seed", "leave them out"])
    (tmp_path / "foreign.safetensors").write_bytes(b"nothing")
    fail("--episodes-file", tmp_path / "foreign.safetensors", words=["foreign.safetensors"], code=1)


def test_a_temperature_is_fitted_on_another_split(evaluate, fail):
    known = ("--findings", ",".join(KNOWN))
    result, said = evaluate(*SMALL, *known, "--calibrate-split", "train")
    assert result["calibration"]["after"]["temperature"] > 0
    assert "fitted on other films" in said.out
    fail(*SMALL, "--calibrate-split", "test", words=["--calibrate-split test needs another --split"])
    fail(*SMALL, "--calibrate-split", "none", words=["no film has the split 'none'"])
    fail(
        *SMALL, "--calibrate-split", "val", "--multi-label", words=["--calibrate-split does not go with --multi-label"]
    )


def test_a_patient_in_the_test_and_the_calibration_is_refused(place, fail):
    head, *rows = (place / "split.csv").read_text().splitlines()
    lines = [line for line in rows if line.endswith(",test") or ",test," in line]
    moved = lines[0].replace(",test", ",val")
    (place / "leak.csv").write_text("\n".join([head, *(moved if row == lines[0] else row for row in rows)]) + "\n")
    fail(*SMALL, "--calibrate-split", "val", data="leak.csv", words=["is in val and in test", "split by patient"])


def test_unknown_findings_open_the_set(evaluate):
    result, said = evaluate(*SMALL, "--protocol", "closed", "--unknown", NEW)
    assert result["open_set"]["findings"] == [NEW]
    assert "none of these, by maximum probability: AUROC" in said.out


def test_shots_by_name(evaluate, fail):
    shots = "normal=1,effusion=2,cardiomegaly=3"
    more = (
        "--n-query",
        2,
        "--n-episodes",
        20,
        "--no-patient-interval",
        "--no-baselines",
        "--findings",
        ",".join(KNOWN),
    )
    result, said = evaluate("--n-shot", shots, *more)
    assert result["n_shot"] == {"normal": 1, "effusion": 2, "cardiomegaly": 3}
    assert "shots normal 1, effusion 2, cardiomegaly 3" in " ".join(said.out.split())
    for wrong in ("1,2", "normal=", "normal=0", "x", "0", "normal=1,normal=2"):
        fail("--n-shot", wrong, words=[f"--n-shot {wrong}: a number, or finding=number,... was expected"])


def test_overlap_is_measured_aloud(evaluate):
    result, said = evaluate(*SMALL, "--allow-patient-overlap")
    assert any(warning.startswith("PATIENT OVERLAP ALLOWED") for warning in result["warnings"])
    assert "warning: PATIENT OVERLAP ALLOWED" in said.err


def test_warnings_are_coloured_and_never_markup(capsys, monkeypatch):
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)
    monkeypatch.setattr("fewshot_cxr.cli.results.is_alarm", lambda warning: warning == "[bold]overlap")
    show_warnings(["[bold]overlap", "[red]mild"])
    alarm, mild = capsys.readouterr().err.splitlines()
    assert alarm == "\x1b[31m\x1b[1mwarning: [bold]overlap\x1b[0m"
    assert mild == "\x1b[33m\x1b[1mwarning: [red]mild\x1b[0m"


def test_a_transductive_rule_says_so(evaluate):
    result, said = evaluate(*SMALL, "--rule", "bd_cspn")
    assert result["is_transductive"]
    tables = said.out.split("┏")[:-1]
    assert len(tables) == 5
    for lead in tables:
        assert "transductive" in lead.split("┘")[-1]


def test_an_encoder_that_says_its_rule_is_asked_by_it(place, evaluate, tmp_path, capsys):
    assert evaluate(*SMALL)[0]["rule"] == "mean_distance"
    kept = ("train", "siamese", "--data", place / "split.csv", "--findings", ",".join(KNOWN), "--keep", "auto")
    kept += ("--image-size", 32, "--encoder-option", "width=4", "--out", tmp_path / "kept")
    assert run(*kept) == 2
    assert "random weights of resnet9 know nothing: say --pretrained, or --weights FILE" in capsys.readouterr().err
    assert run(*kept, "--weights", place / "run" / "encoder.safetensors") == 0
    assert run("plot", "learning", tmp_path / "kept", "--out", tmp_path / "l.png") == 4
    assert "was fitted without a step of training (--keep), and has no epochs to show" in capsys.readouterr().err
    asked = (
        "episode-eval",
        "--checkpoint",
        tmp_path / "kept",
        "--data",
        place / "split.csv",
        "--split",
        "test",
        *SMALL,
    )
    for flags, rule in (((), "prototype"), (("--rule", "nearest"), "nearest")):
        out = tmp_path / f"{rule}.json"
        assert run(*asked, *flags, "--json", out) == 0
        assert json.loads(out.read_text())["rule"] == rule


def test_the_penalty_of_a_rule_is_a_number_or_chosen_inside_each_support(evaluate, fail):
    few = (*SMALL, "--rule", "ridge")
    usual, large, auto = (
        evaluate(*few, *flag)[0]["auroc"]["mean"] for flag in ((), ("--penalty", "1e6"), ("--penalty", "auto"))
    )
    assert usual != large
    assert usual != auto
    assert evaluate(*few, "--penalty", "1")[0]["auroc"]["mean"] == usual
    for wrong in ("often", "0", "nan", "inf", "-1"):
        fail(*few, "--penalty", wrong, words=["--penalty", f"{wrong!r} is neither a number above 0 nor 'auto'"])
    fail(*SMALL, "--penalty", "auto", words=["--penalty is of the rules linear_probe, ridge, not of mean_distance"])


@pytest.mark.usefixtures("unpainted")
def test_a_page_and_a_table_are_written(evaluate, tmp_path):
    result, said = evaluate(*SMALL, "--html", tmp_path / "page.html", "--csv", tmp_path / "numbers.csv")
    assert "written: " in said.err
    assert result["episodes_hash"] in (tmp_path / "page.html").read_text()
    rows = list(csv.DictReader((tmp_path / "numbers.csv").read_text().splitlines()))
    accuracy = next(row for row in rows if row["number"] == "accuracy")
    assert float(accuracy["mean"]) == result["accuracy"]["mean"]
    assert accuracy["low"] == ""
    assert [float(accuracy[end]) for end in ("low_episodes", "high_episodes")] == result["accuracy"]["ci95_episodes"]


def test_films_of_several_findings(place, evaluate, fail):
    lines = (place / "split.csv").read_text().splitlines()
    both = [line.replace(",effusion,", ",effusion|cardiomegaly,") for line in lines]
    (place / "several.csv").write_text("\n".join(both) + "\n")
    counts = ("--n-shot", 2, "--n-query", 2, "--n-episodes", 20, "--no-patient-interval")
    result, said = evaluate("--multi-label", *counts, data="several.csv")
    assert result["accuracy"]["mean"] is None
    assert result["calibration"] is None
    assert 0 <= result["auroc"]["mean"] <= 1
    assert set(result["per_class"]) == {*KNOWN, NEW}
    assert "accuracy: films may show several findings" in said.err


def test_the_folds_of_a_support_set(evaluate, fail):
    result, said = evaluate("--protocol", "fixed_support", "--n-folds", 3, "--n-repeats", 2, "--no-baselines")
    assert (result["n_shot"], result["n_episodes"]) == (None, 6)
    assert "cross-validation in 3 folds, 2 times" in " ".join(said.out.split())
    fail("--protocol", "fixed_support", "--n-shot", 2, words=["fixed_support takes no --n-shot"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--protocol", "novl"), ["unknown protocol 'novl'", "did you mean 'novel'?"]),
        (("--rule", "prototyp"), ["unknown rule 'prototyp'", "did you mean 'prototype'?"]),
        (("--distance", "cosin"), ["unknown distance 'cosin'"]),
        (("--prevalence", "even"), ["unknown prevalence 'even'"]),
        (("--if-too-small", "shrink"), ["unknown --if-too-small 'shrink'"]),
        (("--novel", "normal"), ["the encoder was trained on normal: not novel to it"]),
        (("--novel", ","), ["--novel ',' names nothing"]),
        (("--protocol", "cross_source"), ["cross_source needs"]),
        (("--support-source", "x"), ["takes no --support-source"]),
    ],
)
def test_wrong_use_is_one_line(fail, more, words):
    fail(*more, words=words)


def test_without_a_split_the_test_films_are_judged_and_it_is_said(evaluate, place, tmp_path, capsys):
    result, said = evaluate(*SMALL)
    arguments = ("episode-eval", "--checkpoint", place / "run", "--data", place / "split.csv", *SMALL)
    assert run(*arguments, "--json", tmp_path / "usual.json") == 0
    assert "note: films of the split test (--split)" in capsys.readouterr().err
    usual = json.loads((tmp_path / "usual.json").read_text())
    assert (usual["data_hash"], usual["accuracy"]) == (result["data_hash"], result["accuracy"])
    assert usual["n_training_films"] == 0
    assert "TRAINING FILMS" not in said.err


def test_training_films_are_refused_or_marked(place, tmp_path, capsys):
    known = ("--findings", ",".join(KNOWN))
    (tmp_path / "copies").mkdir()
    for number, film in enumerate(sorted((place / "films").glob("*/*.png"))):
        (tmp_path / "copies" / film.parent.name).mkdir(exist_ok=True)
        shutil.copy(film, tmp_path / "copies" / film.parent.name / f"p{number}_0.png")
    copies = ("--data", tmp_path / "copies", "--patient-pattern", r"(p\d+)_")
    n_train = json.loads((place / "run" / "card.json").read_text())["n_films"]["train"]
    for films in (("--data", place / "split.csv", "--split", "train"), copies):
        arguments = ("episode-eval", "--checkpoint", place / "run", *films, *known, *SMALL)
        assert run(*arguments) == 2
        assert f"fscxr: error: {n_train} of " in (said := capsys.readouterr().err)
        assert "--allow-training-films" in said
        assert run(*arguments, "--allow-training-films", "--json", tmp_path / "result.json", "--overwrite") == 0
        assert f"warning: TRAINING FILMS ALLOWED: the encoder was trained on {n_train} of" in capsys.readouterr().err
        result = json.loads((tmp_path / "result.json").read_text())
        assert result["n_training_films"] == n_train
        assert is_alarm(result["warnings"][0])
        assert Result.from_json(result).to_json() == {name: one for name, one in result.items() if name != "made_by"}
    every = ("--data", place / "split.csv", "--split", "all", *SMALL)
    assert run("episode-eval", "--checkpoint", place / "run", *every, "--allow-training-films") == 0
    assert "note: films of the split" not in capsys.readouterr().err


def test_a_run_without_digests_knows_its_films_by_their_split(place, tmp_path, capsys):
    (tmp_path / "old").mkdir()
    shutil.copy(place / "run" / "encoder.safetensors", tmp_path / "old")
    arguments = ("--checkpoint", tmp_path / "old", "--data", place / "split.csv", *SMALL)
    assert run("episode-eval", *arguments, "--split", "train") == 2
    assert "films were trained on, such as " in capsys.readouterr().err
    assert run("episode-eval", *arguments, "--split", "test") == 0


def test_evaluate_refuses_or_marks_training_films_too(place, capsys):
    arguments = ("--checkpoint", place / "run", "--data", place / "split.csv", "--split", "train")
    arguments = ("evaluate", *arguments, "--support-split", "test")
    assert run(*arguments) == 2
    assert "--allow-training-films" in capsys.readouterr().err
    assert run(*arguments, "--allow-training-films") == 0
    assert "warning: TRAINING FILMS ALLOWED" in capsys.readouterr().err

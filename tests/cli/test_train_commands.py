"""`fscxr train` in all its kinds, and what later commands make of the run."""

import csv
import json
import os
import shutil
import threading

import click
import numpy as np
import pytest
from command_line import failure, run
from made_splits import lay_split

from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.cli.train import command as train_command
from fewshot_cxr.encoders import load_encoder, load_head, save_encoder

FINDINGS = ("normal", "effusion", "cardiomegaly")
SMALL = ("--encoder", "resnet9", "--encoder-option", "width=4", "--image-size", 32, "--epochs", 1, "--batch-size", 12)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    lay_split(folder, FINDINGS, 12)
    return folder


def train(kind, place, out, *more, data="split.csv"):
    return run("train", kind, "--data", place / data, "--out", out, *SMALL, *more)


def rows_of(manifest):
    return [line for line in manifest.read_text().splitlines(keepends=True) if not line.startswith("#")]


@pytest.mark.parametrize(
    "flags",
    [
        ("--loss", "triplet", "--distance", "l1", "--memory", 12, "--clip-value", 0.1, "--restart-every", 1),
        ("--loss", "prototypical", "--distance", "squared_euclidean", "--n-shot", 2, "--optimizer", "adam"),
        ("--aux", "vicreg", "--aux-weight", 0.5, "--standardisation", "per_pixel"),
        ("--freeze", "2", "--layer-decay", 0.7, "--top-crop", 0.08, "--border-crop", 0.09, "--batches", 2),
    ],
)
@pytest.mark.slow
def test_siamese_trains_by_every_kind_of_batch(place, tmp_path, flags):
    assert train("siamese", place, tmp_path / "run", *flags) == 0
    settings = json.loads((tmp_path / "run" / "card.json").read_text())["training"]
    values = {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(flags[::2], flags[1::2], strict=True)
    }
    for name in settings.keys() & values.keys():
        assert str(settings[name]) == str(values[name])


@pytest.mark.parametrize(
    "flags",
    [
        ("--loss", "focal", "--class-weights", "effective", "--balance", "oversample", "--monitor", "val_auroc"),
        ("--loss", "bce", "--no-head-bias", "--freeze", "backbone", "--optimizer", "adam"),
    ],
)
def test_a_classifier_is_trained_judged_and_taken_for_an_encoder(place, capsys, tmp_path, flags):
    assert train("classifier", place, tmp_path / "run", *flags) == 0
    assert "next: fscxr evaluate --classifier" in capsys.readouterr().err
    judged = ("--data", place / "split.csv", "--split", "test")
    assert run("evaluate", "--classifier", tmp_path / "run", *judged, "--json", tmp_path / "result.json") == 0
    assert json.loads((tmp_path / "result.json").read_text())["kind"] == "closed_set"
    counts = ("--n-shot", 1, "--n-query", 1, "--n-episodes", 20)
    assert run("episode-eval", "--checkpoint", tmp_path / "run", *judged, *counts) == 0
    next_stage = ("--weights", tmp_path / "run" / "encoder.safetensors")
    assert train("siamese", place, tmp_path / "next", *next_stage) == 0


def test_films_of_several_findings_train_a_classifier_finding_by_finding(place, capsys, tmp_path):
    rows = list(csv.DictReader(rows_of(place / "split.csv")))
    for number, row in enumerate(rows):
        row["label"] = {0: "No Finding", 1: "effusion|cardiomegaly"}.get(number % 4, row["label"])
    with (tmp_path / "several.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    films = ("--root", place / "films")
    assert (
        train("classifier", tmp_path, tmp_path / "run", *films, "--multi-label", "--loss", "bce", data="several.csv")
        == 0
    )
    assert load_encoder(tmp_path / "run").card["head"]["findings"] == sorted(FINDINGS)
    capsys.readouterr()
    judged = ("--data", tmp_path / "several.csv", "--split", "test", *films)
    assert run("evaluate", "--classifier", tmp_path / "run", *judged, "--json", tmp_path / "result.json") == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["kind"], result["findings"]) == ("multi_label", sorted(FINDINGS))
    assert "are not among those of --data" not in capsys.readouterr().err


def test_the_learned_distance_decides_wherever_the_rule_is_template(place, tmp_path):
    pairs = ("--loss", "pair_bce", "--distance", "l1", "--epochs", 3)
    assert train("siamese", place, tmp_path / "run", *pairs) == 0
    tensors, _ = load_head(tmp_path / "run")
    encoder = load_encoder(tmp_path / "run")
    turned = {"alpha": -tensors["alpha"], "bias": tensors["bias"]}
    save_encoder(encoder, tmp_path / "turned.safetensors", card=encoder.card, head=turned)
    split, film = place / "split.csv", next((place / "films" / "effusion").glob("*.png"))
    commands = {
        "predict": (film, "--support", split, "--support-split", "train"),
        "evaluate": ("--data", split, "--split", "test"),
        "episode-eval": ("--data", split, "--split", "test", "--n-shot", 1, "--n-query", 1, "--n-episodes", 50),
    }
    for name, arguments in commands.items():
        results = []
        for checkpoint in ("run", "turned.safetensors"):
            out = tmp_path / f"{name}.json"
            more = ("--checkpoint", tmp_path / checkpoint, "--rule", "template", "--json", out)
            assert run(name, *arguments, *more) == 0
            results.append(json.loads(out.read_text()))
        if name == "predict":
            one, two = ([film["distances"][finding] for finding in FINDINGS] for (film,) in results)
            bias = tensors["bias"].item()
            np.testing.assert_allclose(np.array(one) - bias, bias - np.array(two), rtol=1e-4, atol=1e-5)
        else:
            assert results[0]["confusion"] != results[1]["confusion"]


def test_an_unreadable_film_does_not_hide_what_was_trained_on(place, capsys, tmp_path):
    shutil.copytree(place / "films", tmp_path / "films")
    (tmp_path / "split.csv").write_text("".join(rows_of(place / "split.csv")))
    rows = list(csv.DictReader(rows_of(tmp_path / "split.csv")))
    broken = tmp_path / "films" / next(row["path"] for row in rows if row["split"] == "train")
    broken.write_bytes(broken.read_bytes()[:300])
    root = ("--root", tmp_path / "films")
    assert train("classifier", tmp_path, tmp_path / "run", *root) == 0
    capsys.readouterr()
    arguments = ("evaluate", "--classifier", tmp_path / "run", "--data", tmp_path / "split.csv", *root)
    assert run(*arguments, "--split", "train") == 2
    assert "these are the very films that the classifier was trained on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "flags", "words"),
    [
        ("siamese", ("--encoder-option", "dropout=yes"), "dropout"),
        ("siamese", ("--encoder-option", "width=4.5"), "width must be a whole number, got 4.5"),
        ("siamese", ("--encoder-option", "seed=3"), "seed has a flag of its own, --seed"),
        ("siamese", ("--loss", "prototypical", "--n-shot", 9, "--distance", "cosine"), "(--batch-size)"),
        ("siamese", ("--n-way", 2), "--n-way and --n-shot are of episodic batches"),
        ("siamese", ("--freeze", 99), "groups of layers to freeze, got 99"),
        ("classifier", ("--multi-label",), "(--loss bce)"),
        ("classifier", ("--monitor", "val_f1"), "unknown monitor 'val_f1'"),
        ("classifier", ("--weights", "missing.safetensors"), "missing.safetensors"),
    ],
)
def test_wrong_use_of_train_is_one_line(place, capsys, tmp_path, kind, flags, words):
    data = ("--data", place / "split.csv", "--out", tmp_path / "run")
    failure(capsys, 2, ("train", kind, *data, *SMALL, *flags), [words])
    assert not (tmp_path / "run" / "encoder.safetensors").exists()


@pytest.mark.parametrize("kind", ["siamese", "classifier"])
def test_every_number_that_cannot_be_is_refused_by_its_flag_before_any_film_is_read(kind, capsys):
    command = train_command.commands[kind]
    floats = [flag.opts[0] for flag in command.params if isinstance(flag.type, click.types.FloatParamType)]
    assert {"--lr", "--weight-decay", "--max-minutes", "--clip-value", "--layer-decay", "--top-crop"} < {*floats}
    for flag in floats:
        for value in ("nan", "inf", "-inf", "-1", "1e308"):
            assert run("train", kind, "--data", "absent.csv", "--out", "absent", flag, value) == 2
            said = capsys.readouterr().err
            assert said.startswith(f"fscxr: error: {flag} must be "), said
            assert said.count("\n") == 1


def test_a_folder_that_another_run_writes_is_refused_before_any_film_is_read(tmp_path, capsys):
    def train_there():
        codes.append(run("train", "siamese", "--data", "absent.csv", "--out", tmp_path / "run", *SMALL))

    codes = []
    with only_writer(tmp_path / "run"):
        thread = threading.Thread(target=train_there)
        thread.start()
        thread.join()
    assert codes == [1]
    assert f"{tmp_path / 'run'} is being written by process {os.getpid()} on" in capsys.readouterr().err


@pytest.mark.filterwarnings("default:.*which was killed:UserWarning")
def test_what_a_run_left_that_was_killed_before_its_first_checkpoint_is_no_run(place, tmp_path, capsys):
    out = tmp_path / "run"
    assert train("siamese", place, out) == 0
    (out / "last.ckpt").unlink()  # killed between the two: the best encoder is written first
    assert train("siamese", place, out) == 2
    assert "holds a run already" in capsys.readouterr().err
    (out / ".fscxr.lock").write_text('{"pid": 1, "host": "here", "since": "today"}')
    assert train("siamese", place, out) == 0
    assert "which was killed, or it is a copy: taken over" in capsys.readouterr().err
    assert (out / "last.ckpt").is_file()
    assert not (out / ".fscxr.lock").exists()

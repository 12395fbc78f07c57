"""Files that commands write: of the form that their name says, and no file of somebody else replaced."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from command_line import failure, run
from made_encoders import settled_encoder
from matplotlib.figure import Figure
from PIL import Image

from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.encoders import save_encoder
from fewshot_cxr.report import save_figure


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Films in a folder, their split, an encoder, and a result."""
    folder = tmp_path_factory.mktemp("outputs")
    make_synthetic(folder, n_patients=8, findings=("normal", "effusion"), size_px=48)
    assert run("data", "read", folder / "films", "--patient-pattern", r"(p\d+)_", "--out", folder / "films.csv") == 0
    shares = ("--fractions", "0.4,0.2,0.4")
    assert run("data", "split", folder / "films.csv", *shares, "--out", folder / "split.csv") == 0
    encoder = settled_encoder("resnet9", size_px=32, width=4)
    save_encoder(encoder, folder / "encoder.safetensors", card={"distance": "euclidean"})
    assert run("evaluate", *on_films(folder), "--json", folder / "result.json") == 0
    return folder


def on_films(place):
    return "--checkpoint", place / "encoder.safetensors", "--data", place / "split.csv", "--split", "test"


def refused(capsys, words, *arguments):
    failure(capsys, 2, arguments, words)


def commands(place):
    """Name each flag that takes a file to write -> the command before it."""
    films, result = on_films(place), place / "result.json"
    predict = ("predict", place / "films" / "normal", "--checkpoint", films[1], "--support", films[3])
    episodes = ("episode-eval", *films, "--n-shot", 1, "--n-query", 1, "--n-episodes", 4)
    return {
        "read --out": ("data", "read", place / "films", "--out"),
        "read --json": ("data", "read", place / "films", "--json"),
        "split --out": ("data", "split", place / "films.csv", "--out"),
        "audit --html": ("data", "audit", place / "films.csv", "--html"),
        "audit --json": ("data", "audit", place / "films.csv", "--json"),
        "evaluate --json": ("evaluate", *films, "--json"),
        "episode-eval --json": (*episodes, "--json"),
        "episode-eval --csv": (*episodes, "--csv"),
        "episode-eval --html": (*episodes, "--html"),
        "embed --out": ("embed", *films, "--out"),
        "compare --json": ("compare", result, result, "--json"),
        "plot --out": ("plot", "confusion", result, "--out"),
        "report --out": ("report", result, "--out"),
        "predict --json": (*predict, "--json"),
    }


KNOWN = {"--json": ".json", "--html": ".html", "--csv": ".csv"}
KNOWN_OUT = {"read": ".csv", "split": ".csv", "embed": ".safetensors", "plot": ".png", "report": ".html"}
FLAGS = list(commands(Path()))


def known(flag):
    command, option = flag.split()
    return KNOWN.get(option) or KNOWN_OUT[command]


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("suffix", [".pdf", ".xlsx", ".txt"])
def test_an_unknown_suffix_lists_the_known_ones(place, capsys, tmp_path, flag, suffix):
    out = tmp_path / f"x{suffix}"
    refused(capsys, [f"{out}: no {suffix} is written here", known(flag)], *commands(place)[flag], out)
    assert not out.exists()


FOREIGN = {
    ".json": (b"mine", b'{"mine": 1}', b'{"kind": "Pod"}', b"[" * 5000),
    ".html": (b"mine", b"<!doctype html><p>of fewshot_cxr</p>"),
    ".csv": (b"mine", b"path,label\na.png,normal\n", b"path,finding,patient,age\na.png,normal,1,40\n"),
    ".png": (b"mine",),
    ".safetensors": (b"mine", b"path,label\na.png,normal\n"),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_a_file_of_another_kind_is_never_replaced(place, capsys, tmp_path, flag):
    out = tmp_path / f"x{known(flag)}"
    for content in FOREIGN[out.suffix]:
        out.write_bytes(content)
        for more in ((), ("--overwrite",)):
            refused(capsys, [f"{out} is there, and of another kind"], *commands(place)[flag], out, *more)
        assert out.read_bytes() == content


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if not flag.startswith("audit")])
def test_what_a_command_has_written_it_writes_again(place, tmp_path, flag):
    out = tmp_path / f"x{known(flag)}"
    out.touch()  # an empty file is no hindrance
    for _ in range(2):
        assert run(*commands(place)[flag], out) == 0


def test_embeddings_replace_no_encoder_table_or_array_of_another_kind(place, capsys, tmp_path):
    films = ("embed", *on_films(place), "--out")
    (tmp_path / "e.safetensors").write_bytes((place / "encoder.safetensors").read_bytes())
    (tmp_path / "e.csv").write_bytes((place / "split.csv").read_bytes())
    np.save(tmp_path / "e.npy", np.arange(3))
    for name in ("e.safetensors", "e.csv", "e.npy"):
        before = (tmp_path / name).read_bytes()
        refused(capsys, [f"{name} is there, and of another kind"], *films, tmp_path / name, "--overwrite")
        with pytest.raises(FileExistsError, match="of another kind"):
            Embeddings(np.eye(2), [0, 1]).save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before


def test_a_figure_replaces_no_film(place, capsys, tmp_path):
    Image.fromarray(np.zeros((9, 9), "u1")).save(tmp_path / "film.png")
    plot = commands(place)["plot --out"]
    refused(capsys, ["film.png is there, and of another kind"], *plot, tmp_path / "film.png", "--overwrite")
    with pytest.raises(FileExistsError, match="of another kind"):
        save_figure(Figure(), tmp_path / "film.png")


def test_a_result_of_another_command_stays(place, capsys, tmp_path):
    result, compare = tmp_path / "result.json", commands(place)["compare --json"]
    result.write_bytes((place / "result.json").read_bytes())
    refused(capsys, ["not written by `fscxr compare`", "--overwrite"], *compare, result)
    assert run(*compare, result, "--overwrite") == 0
    assert json.loads(result.read_text())["kind"] == "comparison"


def test_a_manifest_is_replaced_by_its_like_alone(place, capsys, tmp_path):
    split = ("data", "split", place / "films.csv", "--out", tmp_path / "s.csv")
    assert run(*split, "--seed", 1) == 0
    refused(capsys, ["s.csv is there, of other sources or settings", "--overwrite"], *split, "--seed", 2)
    assert run(*split, "--seed", 1) == 0
    assert run(*split, "--seed", 2, "--overwrite") == 0
    assert json.loads((tmp_path / "s.csv").read_text().splitlines()[0][2:])["seed"] == 2
    again = ("data", "split", tmp_path / "s.csv", "--seed", 2, "--out", tmp_path / "s.csv")
    refused(capsys, ["s.csv is read by this very command"], *again)
    refused(capsys, ["read by this very command"], "data", "read", tmp_path / "s.csv", "--out", tmp_path / "s.csv")
    read = ("data", "read", place / "films", "--out", tmp_path / "r.csv", "--no-verify")
    assert run(*read, "--patient-pattern", r"(p\d+)_") == 0
    assert run(*read, "--patient-pattern", r"(p\d+)_") == 0
    for other in ((), ("--patient-pattern", r"(p\d)"), ("--patient-pattern", r"(p\d+)_", "--map", "normal=healthy")):
        refused(capsys, ["r.csv is there, of other sources or settings"], *read, *other)
    assert run(*read, "--overwrite") == 0


def test_no_fold_is_written_where_one_is_in_the_way(place, capsys, tmp_path):
    (tmp_path / "f-2.csv").write_text("path,label\n")
    folds = ("data", "split", place / "films.csv", "--folds", 3, "--out", tmp_path / "f.csv")
    refused(capsys, ["f-2.csv is there, and of another kind"], *folds, "--overwrite")
    assert [file.name for file in tmp_path.iterdir()] == ["f-2.csv"]


def test_embeddings_are_written_as_their_name_says(place, tmp_path):
    for form in ("safetensors", "npy", "csv"):
        assert run("embed", *on_films(place), "--out", tmp_path / f"e.{form}") == 0
    films = Embeddings.load(tmp_path / "e.safetensors")
    assert np.array_equal(np.load(tmp_path / "e.npy"), films.vectors)
    with (tmp_path / "e.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == list(films.paths)
    assert [row["finding"] for row in rows] == [films.class_names[at] for at in films.class_ids]
    assert [int(row["patient"]) for row in rows] == films.patient_ids.tolist()
    values = [[np.float32(row[f"e{at}"]) for at in range(films.vectors.shape[1])] for row in rows]
    assert np.array_equal(np.array(values), films.vectors)


def test_embeddings_of_several_findings_are_a_table_too(tmp_path):
    labels, patients = [[1, 1], [0, 1], [0, 0]], ["p", None, "q"]
    Embeddings(np.eye(3), labels, patients, class_names=["a", "b"]).save(tmp_path / "e.csv")
    rows = (tmp_path / "e.csv").read_text().splitlines()
    assert rows == ["path,finding,patient,source,e0,e1,e2", "row 0,a|b,0,,1,0,0", "row 1,b,,,0,1,0", "row 2,,2,,0,0,1"]
    with pytest.raises(ValueError, match="saved as .safetensors, .csv or .npy"):
        Embeddings(np.eye(2), [0, 1]).save(tmp_path / "e.pkl")


def test_a_training_that_fails_leaves_nothing(place, capsys, tmp_path):
    train = ("train", "siamese", "--data", place / "split.csv", "--epochs", 1, "--image-size", 32)
    refused(capsys, ["unknown miner"], *train, "--miner", "hardest", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    refused(capsys, ["unknown miner"], *train, "--miner", "hardest", "--out", tmp_path / "mine")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["card.json", "history.csv", "made_by.json", "logs/mine.txt"])
def test_a_training_replaces_nothing_of_somebody_else(place, capsys, tmp_path, name):
    (tmp_path / "logs").mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    train = ("train", "siamese", "--data", place / "split.csv", "--out", tmp_path)
    refused(capsys, [f"--out {tmp_path} holds", "which this command has not written: name a new folder"], *train)
    assert (tmp_path / name).read_text() == "mine"


def test_a_recipe_replaces_no_split_and_an_explanation_no_table(place, capsys, tmp_path):
    (tmp_path / "split.csv").write_bytes(before := (place / "split.csv").read_bytes())
    recipe = ("recipes", "run", "resnet9-triplet", "--data", place / "split.csv", "--out", tmp_path)
    refused(capsys, ["holds split.csv, which this command has not written"], *recipe)
    (tmp_path / "focus.csv").write_text("mine")
    refused(capsys, ["holds focus.csv, which this command"], "explain", *on_films(place)[:4], "--out", tmp_path)
    assert (tmp_path / "split.csv").read_bytes() == before
    assert (tmp_path / "focus.csv").read_text() == "mine"


def test_an_encoder_is_never_trained_over(place, capsys, tmp_path):
    (tmp_path / "encoder.safetensors").write_bytes(b"mine")
    train = ("train", "siamese", "--data", place / "split.csv", "--out", tmp_path)
    refused(capsys, ["holds a run already"], *train)
    assert (tmp_path / "encoder.safetensors").read_bytes() == b"mine"


@pytest.mark.skipif(os.name != "posix", reason="devices and links of POSIX")
def test_what_is_no_regular_file_is_written_through(place, tmp_path, capfd):
    (tmp_path / "link.json").symlink_to("there.json")
    compare = commands(place)["compare --json"]
    for target in ("/dev/null", "/dev/stdout", tmp_path / "link.json"):
        assert run(*compare, target) == 0
    assert not Path("/dev/null").is_file()
    assert json.loads((tmp_path / "there.json").read_text())["kind"] == "comparison"
    assert (tmp_path / "link.json").is_symlink()
    assert '"kind": "comparison"' in capfd.readouterr().out

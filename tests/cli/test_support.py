"""Labelled films to compare with: of which split, of several sources, and what is said of those left out."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import run
from made_encoders import settled_encoder

from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import save_encoder

NEW = "peripheral_ground_glass"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A split of three findings, a folder with films of a new one, both in one manifest, and an encoder."""
    folder = tmp_path_factory.mktemp("support")
    make_synthetic(folder, n_patients=6, findings=("normal", "effusion", "cardiomegaly"), size_px=48)
    make_synthetic(folder / "five", n_patients=2, findings=(NEW,), size_px=48)
    pattern = ("--patient-pattern", r"(p\d+)_")
    split = ("--fractions", "0.5,0.2,0.3", "--out", folder / "split.csv")
    assert run("data", "split", folder / "films", *pattern, *split) == 0
    sources = (folder / "split.csv", f"image_folder:{folder / 'five' / 'films'}")
    assert run("data", "read", *sources, *pattern, "--out", folder / "all.csv") == 0
    save_encoder(
        settled_encoder("resnet9", size_px=32, width=4), folder / "encoder.safetensors", card={"distance": "euclidean"}
    )
    return folder


def predicted(place, tmp_path, *flags):
    film = next((place / "films" / "effusion").glob("*.png"))
    shutil.copy(film, tmp_path / "film.png")
    out = ("--json", tmp_path / "p.json")
    assert run("predict", tmp_path / "film.png", "--checkpoint", place / "encoder.safetensors", *flags, *out) == 0
    return set(json.loads((tmp_path / "p.json").read_text())[0]["distances"])


def test_a_new_finding_without_a_split_is_offered(place, capsys, tmp_path):
    assert NEW in predicted(place, tmp_path, "--support", place / "all.csv")
    printed = capsys.readouterr().err
    assert "that state no split (--support-split)" in printed
    assert "no exemplars: " in printed
    assert f"{NEW} " in printed.partition(" exemplars: ")[2]


@pytest.mark.parametrize("split", ["train", "val", "all"])
def test_support_is_repeated_and_its_sources_are_one_list(place, tmp_path, split):
    both = ("--support", place / "split.csv", "--support", place / "five" / "films", "--support-split", split)
    assert predicted(place, tmp_path, *both) == {"normal", "effusion", "cardiomegaly", NEW}
    chosen = (*both, "--findings", f"effusion,{NEW}")
    assert predicted(place, tmp_path, *chosen) == {"effusion", NEW}


@pytest.mark.parametrize("here", ["films", "."])
def test_exemplars_are_named_by_paths_that_open(place, tmp_path, monkeypatch, here):
    monkeypatch.chdir(place / here)
    both = ("--support", place / "split.csv", "--support", place / "five" / "films", "--n-nearest", 50)
    both += ("--keep-paths",) if here == "films" else ()  # some lie outside, and would be told by their names
    predicted(place, tmp_path, *both)
    shown = json.loads((tmp_path / "p.json").read_text())[0]["exemplars"]
    assert {one["finding"] for one in shown} >= {"normal", NEW}
    assert all(Path(one["path"]).is_file() for one in shown)


def test_a_finding_that_is_left_out_is_named(place, capsys, tmp_path):
    text = (place / "all.csv").read_text()
    rows = text.splitlines()
    head = next(row for row in rows if not row.startswith("#")).split(",")
    at = head.index("split")
    kept = [
        ",".join((*(cells := row.split(","))[:at], "test", *cells[at + 1 :])) if NEW in row else row for row in rows
    ]
    (place / "unused.csv").write_text("\n".join(kept) + "\n")
    assert NEW not in predicted(place, tmp_path, "--support", place / "unused.csv")
    assert f"note: no exemplar at all of {NEW}" in capsys.readouterr().err
    assert NEW in predicted(place, tmp_path, "--support", place / "unused.csv", "--support-split", "all")


def test_evaluate_compares_with_films_that_state_no_split(place, capsys, tmp_path):
    common = ("evaluate", "--checkpoint", place / "encoder.safetensors", "--json", tmp_path / "r.json")
    several = ("--support", place / "split.csv", "--support", place / "five" / "films")
    for flags in (("--data", place / "all.csv"), ("--data", place / "split.csv", *several)):
        assert run(*common, *flags) == 0
        assert NEW in json.loads((tmp_path / "r.json").read_text())["findings"]
    capsys.readouterr()
    assert run(*common, "--data", place / "split.csv", *several, "--support-split", "all") == 2
    assert "are of one patient" in capsys.readouterr().err


def test_films_that_training_passes_over_are_counted(place, capsys, tmp_path):
    tiny = ("--image-size", 32, "--epochs", 1, "--batches", 1, "--encoder-option", "width=4")
    assert run("train", "siamese", "--data", place / "all.csv", *tiny, "--out", tmp_path / "run") == 0
    assert "note: not trained on: " in (printed := capsys.readouterr().err)
    assert f"films that state no split ({NEW} " in printed

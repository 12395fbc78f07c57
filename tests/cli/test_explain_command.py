import csv
import json
import shutil
from dataclasses import replace

import pytest
from command_line import failure, run

from fewshot_cxr.data import split_by_patient, write_manifest
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import build_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import Classifier, classifier_head_card
from fewshot_cxr.objectives import LinearHead
from fewshot_cxr.records import Records
from fewshot_cxr.torch_seeding import seeded_torch

pytestmark = pytest.mark.usefixtures("unpainted")
FINDINGS = ("effusion", "normal")
QUICK = ("--overlays", 1, "--deletion", 0, "--device", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with films, their masks, a split of them, two encoders and a classifier that nobody trained."""
    folder = tmp_path_factory.mktemp("explained")
    drawn = make_synthetic(folder, n_patients=8, findings=FINDINGS, size_px=40)
    parts = split_by_patient(drawn, (0.5, 0.1, 0.4), seed=0)
    films = tuple(film for part in parts for film in part)
    write_manifest(Records(films, folder), folder / "split.csv", header={"seed": 0})
    bare = tuple(replace(film, mask_path=None) for film in films)
    write_manifest(Records(bare, folder), folder / "bare.csv", header={"seed": 0})
    for name, crop in (("run", 0.0), ("cropped", 0.1)):
        with seeded_torch(0, "weights"):
            spec = ImageSpec(size_px=32, border_crop=crop)
            encoder = build_encoder("resnet9", image_spec=spec, width=4, embedding_dim=8)
            head = LinearHead(8, len(FINDINGS))
        save_encoder(encoder, folder / name / "encoder.safetensors", card={"distance": "cosine"})
        classifier = Classifier(encoder, head, FINDINGS)
        card = {"head": classifier_head_card(classifier)}
        save_encoder(encoder, folder / f"{name}.safetensors", card=card, head=head.state_dict())
    return folder


def refused(capsys, code, arguments, *words):
    failure(capsys, code, ("explain", *arguments), words)


@pytest.mark.slow
def test_an_encoder_is_explained_with_masks_and_beside_another_run(place, capsys, tmp_path):
    out = tmp_path / "heat"
    asked = ("--checkpoint", place / "run", "--versus", place / "cropped", "--data", place / "split.csv", "--out", out)
    assert run("explain", *asked, *QUICK, "--json", tmp_path / "result.json") == 0
    printed = capsys.readouterr()
    assert "lungs, all films" in printed.out
    assert "cropped less run" in printed.out
    assert "films of the split test" in printed.err
    rows = list(csv.DictReader((out / "focus.csv").read_text().splitlines()))
    assert [row["lungs"] for row in rows if row["lungs"]] == sorted(row["lungs"] for row in rows if row["lungs"])
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["distance"] == "cosine"
    assert result["versus"]["runs"] == ["run", "cropped"]
    border = next(row for row in result["versus"]["focus"] if row["measure"] == "border")
    assert border["mean_second"] < border["mean_first"]
    assert result == json.loads((out / "focus_summary.json").read_text())
    assert (out / "versus.png").exists()
    refused(capsys, 2, (*asked, *QUICK), "holds an explanation already: name another folder (--out)")


@pytest.mark.slow
def test_a_classifier_is_explained_without_exemplars(place, capsys, tmp_path):
    data = ("--data", place / "bare.csv", "--out", tmp_path / "heat")
    asked = ("--classifier", place / "run.safetensors", *data, "--overlays", 1, "--deletion", 2, "--device", "cpu")
    assert run("explain", *asked, "--question", "why", "--masks", place / "masks") == 0
    captured = capsys.readouterr()
    assert "lungs, all films" in captured.out
    assert "mean of 2 films" in captured.err
    assert "the score: logit less the next one's" in captured.err
    head = (tmp_path / "heat" / "focus.csv").read_text().splitlines()[0]
    assert head == "path,finding,source,patient,decided,logit,lungs,border,corners"


@pytest.mark.slow
def test_runs_of_one_name_are_told_apart_without_the_paths_of_this_machine(place, capsys, tmp_path):
    for name in ("first", "second"):
        shutil.copytree(place / "run", tmp_path / name / "run")
    runs = ("--checkpoint", tmp_path / "first" / "run", "--versus", tmp_path / "second" / "run")
    out = tmp_path / "heat"
    assert run("explain", *runs, "--data", place / "split.csv", "--out", out, *QUICK) == 0
    text = (out / "focus_summary.json").read_text()
    assert json.loads(text)["versus"]["runs"] == ["first/run", "second/run"]
    assert json.loads(text)["run"] == "first/run"
    for written in (text, (out / "explain.html").read_text(), (out / "focus.csv").read_text()):
        assert str(tmp_path) not in written
        assert str(place) not in written


@pytest.mark.slow
def test_a_stopped_run_is_repeated_into_the_same_folder(place, capsys, tmp_path):
    out = tmp_path / "heat"
    asked = ("--checkpoint", place / "run", "--data", place / "split.csv", "--out", out, *QUICK)
    assert run("explain", *asked) == 0
    (out / "explain.html").unlink()
    assert run("explain", *asked) == 0
    assert (out / "explain.html").exists()


def test_what_cannot_be_explained_is_refused_in_one_line(place, capsys, tmp_path):
    data = ("--data", place / "split.csv", "--out", tmp_path / "heat", *QUICK)
    run_folder, classifier = place / "run", place / "run.safetensors"
    by_run = ("--checkpoint", run_folder, *data)
    refused(capsys, 2, data, "(--checkpoint) or a classifier (--classifier)")
    refused(capsys, 2, (*by_run, "--classifier", classifier), "one of them")
    both = ("--classifier", classifier, "--rule", "prototype", *data)
    refused(capsys, 2, both, "--rule does not go with --classifier")
    refused(capsys, 2, (*by_run, "--split", "holdout"), "no film has the split 'holdout'")
    refused(capsys, 2, (*by_run, "--split", "train"), "of one patient")
    refused(capsys, 2, (*by_run, "--rule", "knn"), "--rule knn: fscxr explain takes mean_distance")
    refused(capsys, 2, (*by_run, "--layer", "backbone.nowhere"), "no layer 'backbone.nowhere'", "features")
    refused(capsys, 2, (*by_run, "--question", "finding:flu"), "no finding is called 'flu'", "(--question)")
    refused(capsys, 2, (*by_run, "--overlays", "some"), "neither a number of 1 or more nor 'all'")
    (tmp_path / "empty").mkdir()
    refused(capsys, 4, (*by_run, "--masks", tmp_path / "empty"), "holds the mask of none", "(--masks)")
    assert not (tmp_path / "heat").exists()


def test_masks_that_are_all_damaged_are_an_error(place, capsys, tmp_path):
    for name in ("films", "masks"):
        shutil.copytree(place / name, tmp_path / name)
    shutil.copy(place / "split.csv", tmp_path / "split.csv")
    for mask in (tmp_path / "masks").rglob("*.png"):
        mask.write_bytes(b"no picture")
    data = ("--data", tmp_path / "split.csv", "--root", tmp_path, "--out", tmp_path / "heat")
    refused(capsys, 4, ("--checkpoint", place / "run", *data, *QUICK), "none of the lung masks", "(--masks)")

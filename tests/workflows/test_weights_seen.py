"""Results, predictions and pages warn once where the weights have seen films of what is called new."""

import json
from dataclasses import replace

import pytest
from command_line import run

from fewshot_cxr.data import read_dataset, write_manifest
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import build_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import Records

pytestmark = pytest.mark.usefixtures("unpainted")
WARNING = "no new finding to the weights made, which were trained on such films: effusion (films of CheXpert)"
ON_TEST = ("--n-way", 2, "--n-shot", 1, "--n-query", 1, "--n-episodes", 4, "--device", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    make_synthetic(folder, n_patients=12, findings=("normal", "effusion"), size_px=48)
    films = read_dataset("image_folder", folder / "films", patient_pattern=r"(p\d+)_")
    marked = [replace(film, source={"effusion": "chexpert"}.get(film.findings[0], "here")) for film in films]
    write_manifest(Records(tuple(marked), films.root), folder / "films.csv")
    encoder = build_encoder("resnet9", image_spec=ImageSpec(32), width=4)
    encoder.origin = {"name": "made", "licence": "MIT", "access": "open", "trained_on": ["CheXpert"]}
    (folder / "run").mkdir()
    save_encoder(encoder, folder / "run" / "encoder.safetensors", card={"findings": ["normal"]})
    return folder


def test_episodes_and_the_page_of_them_warn(place, tmp_path):
    given = ("--checkpoint", place / "run", "--data", place / "films.csv", *ON_TEST)
    files = ("--json", tmp_path / "r.json", "--html", tmp_path / "r.html")
    assert run("episode-eval", *given, *files) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["warnings"].count(WARNING) == 1
    assert "the encoder started from the weights made; licence MIT; access open" in result["notes"]
    assert WARNING in (tmp_path / "r.html").read_text()


def test_learning_curves_warn(place, tmp_path):
    given = ("--checkpoint", place / "run", "--data", place / "films.csv", *ON_TEST[:2], *ON_TEST[4:], "--shots", 1)
    assert run("learning-curve", *given, "--json", tmp_path / "c.json") == 0
    curve = json.loads((tmp_path / "c.json").read_text())
    assert curve["warnings"].count(WARNING) == 1
    assert "the encoder started from the weights made; licence MIT; access open" in curve["notes"]


def test_predictions_warn(place, tmp_path, capsys):
    make_synthetic(tmp_path / "others", n_patients=2, findings=("normal",), size_px=48, seed=7)
    given = ("--checkpoint", place / "run", "--support", place / "films.csv", "--n-exemplars", 2)
    assert run("predict", tmp_path / "others", *given) == 0
    assert capsys.readouterr().err.count(f"warning: {WARNING}") == 1


def test_the_page_of_a_run_says_where_it_started(place, tmp_path):
    (place / "run" / "card.json").write_text("{}")
    assert run("report", place / "run", "--out", tmp_path / "page.html") == 0
    assert "made; licence MIT; access open; chest films it has seen: CheXpert" in (tmp_path / "page.html").read_text()

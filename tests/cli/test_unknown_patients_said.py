"""A table that names no patient: every command says so, and none speaks of patients as if it knew them."""

import json
from dataclasses import replace

import pytest
from command_line import run

from fewshot_cxr.data import read_dataset, write_manifest
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.encoders import build_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.torch_seeding import seeded_torch

pytestmark = pytest.mark.usefixtures("unpainted")
UNKNOWN = "patients are unknown: each film counts as its own patient"
TINY = ("--encoder", "resnet9", "--image-size", 32, "--epochs", 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Films of six patients whom no column names, and the same in parts."""
    folder = tmp_path_factory.mktemp("unknown")
    films = make_synthetic(folder, n_patients=12, findings=("normal", "effusion"), size_px=48)
    write_manifest(films.each(lambda film: replace(film, patient_id=None)), folder / "films.csv")
    assert run("data", "split", folder / "films.csv", "--fractions", "0.4,0.2,0.4", "--out", folder / "split.csv") == 0
    return folder


def test_read_and_split_say_it_once_and_write_it_down(place, tmp_path, capsys):
    assert run("data", "read", place / "films.csv", "--no-verify", "--out", tmp_path / "read.csv") == 0
    said = capsys.readouterr()
    assert said.err.count(UNKNOWN) == 1
    assert " films (patients unknown), from " in said.err
    assert "unknown" in next(line for line in said.out.splitlines() if "effusion" in line)
    ways = (("--folds", 3), ("--per-class", "3,3"), ("--novel", "effusion"), ())
    for number, way in enumerate(ways):
        asked = ("--out", tmp_path / f"split{number}.csv", "--json", tmp_path / f"{number}.json")
        assert run("data", "split", tmp_path / "read.csv", *way, *asked) == 0
        for part in json.loads((tmp_path / f"{number}.json").read_text())["manifests"]:
            assert part["n_films_without_patient"] == part["n_films"]
        said = capsys.readouterr()
        assert said.err.count(UNKNOWN) == 1
        assert "films (patients unknown): " in said.err
    for name in ("read", "split3"):
        lead = (tmp_path / f"{name}.csv").read_text().partition("\n")[0]
        assert json.loads(lead.removeprefix("# "))["patients"] == UNKNOWN
        assert UNKNOWN in " ".join(read_dataset("manifest", tmp_path / f"{name}.csv").notes)


def test_some_unknown_patients_are_counted(place, tmp_path, capsys):
    films = read_dataset("manifest", place / "films.csv")
    rows = [replace(film, patient_id=None if row < 3 else f"p{row // 2}") for row, film in enumerate(films)]
    write_manifest(replace(films, films=tuple(rows)), place / "some.csv")
    assert run("data", "read", place / "some.csv", "--no-verify") == 0
    said = capsys.readouterr()
    n = len(films)
    assert f"the patients of 3 of {n} films are unknown: each of these counts as its own patient" in said.err
    assert f"(unknown for 3 of {n} films), from {n} rows" in said.err
    assert "and 3 unknown" in said.out


@pytest.mark.slow
def test_training_says_it_and_that_validation_may_hold_the_same_patients(place, tmp_path, capsys):
    assert run("train", "siamese", "--data", place / "split.csv", *TINY, "--out", tmp_path / "run") == 0
    said = capsys.readouterr().err
    assert said.count(UNKNOWN) == 1
    assert "one patient may be in training and in validation (patients unknown)" in said
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["n_films_without_patient"] == card["n_films"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A network that is not trained, which serves as well."""
    folder = tmp_path_factory.mktemp("network") / "run"
    with seeded_torch(0, "weights"):
        network = build_encoder("resnet9", image_spec=ImageSpec(size_px=32), width=4, embedding_dim=8)
    save_encoder(network, folder / "encoder.safetensors", card={"encoder": network.recipe, "distance": "cosine"})
    return folder


def check_words(*texts):
    """Every text says that patients are unknown, and none speaks of an interval over patients."""
    for text in texts:
        assert "patients unknown" in text or UNKNOWN in text
        assert "over patients" not in text


@pytest.mark.slow
def test_numbers_are_over_films(place, encoder, tmp_path, capsys):
    data = ("--checkpoint", encoder, "--data", place / "split.csv")
    episodes = ("--split", "test", "--n-shot", 1, "--n-query", 1, "--n-episodes", 50, "--csv", tmp_path / "r.csv")
    for command, more in {"evaluate": (), "episode-eval": episodes}.items():
        file, page = tmp_path / f"{command}.json", tmp_path / f"{command}.html"
        assert run(command, *data, *more, "--json", file) == 0
        said = capsys.readouterr()
        value = json.loads(file.read_text())
        assert value["interval_over"] == "over films (patients unknown)"
        assert value["n_films_without_patient"] == value["n_films"]
        assert said.err.count(f"warning: {UNKNOWN}") == 1
        assert run("report", file, "--out", page) == 0
        check_words(said.out, said.err, page.read_text())
    check_words((tmp_path / "r.csv").read_text())
    out = tmp_path / "e.safetensors"
    assert run("embed", "--checkpoint", encoder, "--data", place / "split.csv", "--out", out) == 0
    assert "patients: unknown" in repr(Embeddings.load(out))


def test_two_sets_keep_their_patients_apart_unless_told(tmp_path, capsys):
    for name in ("north", "south"):
        films = make_synthetic(tmp_path / name, n_patients=2, findings=("normal", "effusion"), size_px=32)
        write_manifest(films.each(lambda film: replace(film, source=None)), tmp_path / f"{name}.csv")
    both = (tmp_path / "north.csv", tmp_path / "south.csv", "--no-verify", "--out", tmp_path / "all.csv")
    n_films, n_patients = len(films), len({film.patient_id for film in films})
    for more, n_found, told in (
        ((), 2 * n_patients, "different patients; --same-patients takes them for one"),
        (("--same-patients", "--overwrite"), n_patients, "one patient"),
    ):
        assert run("data", "read", *both, *more) == 0
        told = f"patient ids in several of north, south: {n_patients}, such as p0000; each is taken for {told}"
        assert told in capsys.readouterr().err
        merged = read_dataset("manifest", tmp_path / "all.csv")
        assert len({film.patient_id for film in merged}) == n_found
        assert merged.count_by(lambda film: film.source) == {"north": n_films, "south": n_films}


def test_an_unknown_set_beside_a_known_one_stays_known_as_such(place, tmp_path, capsys):
    films = make_synthetic(tmp_path / "known", n_patients=2, findings=("normal", "effusion"), size_px=32)
    write_manifest(films, tmp_path / "known.csv")
    assert (
        run("data", "read", tmp_path / "known.csv", place / "films.csv", "--no-verify", "--out", tmp_path / "m.csv")
        == 0
    )
    n_unknown = len(read_dataset("manifest", place / "films.csv"))
    said = capsys.readouterr().err
    assert f"note: films: {UNKNOWN}" in said
    assert f"(unknown for {n_unknown} of {n_unknown + len(films)} films)" in said
    assert f"the patients of {n_unknown} of {n_unknown + len(films)} films are unknown" in " ".join(
        read_dataset("manifest", tmp_path / "m.csv").notes
    )


@pytest.mark.slow
def test_exemplars_and_explanations_say_it(place, encoder, tmp_path, capsys):
    data = ("--checkpoint", encoder, "--data", place / "split.csv")
    film = next(place.rglob("*.png"))
    assert run("predict", "--checkpoint", encoder, "--support", place / "split.csv", film) == 0
    assert UNKNOWN in capsys.readouterr().err
    assert run("explain", *data, "--out", tmp_path / "heat", "--json", tmp_path / "e.json") == 0
    check_words(capsys.readouterr().err)
    (page,) = (tmp_path / "heat").glob("*.html")
    assert " films (patients unknown). Asked" in page.read_text()
    value = json.loads((tmp_path / "e.json").read_text())
    assert value["n_films_without_patient"] == value["n_films"] == value["focus"][0]["n_films_without_patient"]

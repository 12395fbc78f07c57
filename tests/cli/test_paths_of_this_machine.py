"""Whatever a command writes may be mailed: it says neither where things lie on this machine nor what it is called."""

import shutil
from types import SimpleNamespace

import pytest
from command_line import run
from made_goldens import save_networks

from fewshot_cxr.data import split_by_patient, write_manifest
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.records import Records

MARK = "quokka"
FINDINGS = ("normal", "effusion", "cardiomegaly")
TINY = ("--image-size", 32, "--epochs", 1, "--batch-size", 8, "--batches", 2)
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unpainted")]


@pytest.fixture(scope="module")
def laid(tmp_path_factory):
    """Films, a list of them in another folder, networks: all below a folder of an odd name, in a home."""
    base = tmp_path_factory.mktemp("place") / f"o'hara & {MARK}"
    place = SimpleNamespace(base=base, **{name: base / name for name in ("data", "lists", "nets", "out", "work")})
    for folder in vars(place).values():
        folder.mkdir()
    drawn = make_synthetic(place.data, n_patients=8, findings=FINDINGS, size_px=40)
    parts = split_by_patient(drawn, (0.4, 0.2, 0.4), seed=0)
    films = Records(tuple(film for part in parts for film in part), place.data)
    place.split = place.lists / "split.csv"
    write_manifest(films, place.split, header={"seed": 0})
    save_networks(place.nets)
    return place


@pytest.fixture
def place(laid, monkeypatch):
    monkeypatch.setenv("HOME", str(laid.base))
    monkeypatch.setattr("socket.gethostname", lambda: f"{MARK}-host")
    monkeypatch.setattr("platform.node", lambda: f"{MARK}-host")
    monkeypatch.chdir(laid.work)
    shutil.rmtree(laid.out)
    laid.out.mkdir()
    return laid


def told(folder):
    """Which files name the folder or the machine, in what they hold or in their own names."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return {
        str(file.relative_to(folder)): content[max(0, content.find(MARK.encode()) - 60) :][:160]
        for file in files
        if MARK.encode() in (content := file.read_bytes()) or MARK in str(file.relative_to(folder))
    }


def test_manifests_audits_and_predictions(place):
    out, cache = place.out, ("--cache-dir", place.base / "cache")
    assert run("data", "read", place.split, "--out", out / "films.csv", "--json", out / "read.json") == 0
    assert run("data", "split", out / "films.csv", "--out", out / "s.csv", "--json", out / "split.json") == 0
    audited = ("--json", out / "audit.json", "--html", out / "audit.html")
    assert run("data", "audit", f"manifest:{place.split}", *audited) == 0
    film = next((place.data / "films").rglob("*.png"))
    support = ("--support", place.split, "--support-split", "train")
    by_run = ("--checkpoint", place.nets / "run", *cache)
    assert run("predict", film, film.parent, *by_run, *support, "--json", out / "predict.json") == 0
    data = ("--data", place.split, "--split", "test")
    for name in ("films.safetensors", "embedded.csv"):
        assert run("embed", *by_run, *data, "--out", out / name) == 0
    drawn = ("plot", "projection", out / "films.safetensors", "--data", place.split, "--method", "pca")
    for name in ("map.html", "map.png"):
        assert run(*drawn, "--out", out / name) == 0
    assert not told(out)
    assert run("data", "audit", place.split, "--json", out / "kept.json", "--keep-paths") == 0
    assert run("predict", film, *by_run, *support, "--json", out / "kept.json", "--keep-paths", "--overwrite") == 0
    assert str(film) in (out / "kept.json").read_text(encoding="utf-8")


def test_results_and_pages(place):
    out = place.out
    on_test = ("--data", place.split, "--split", "test", "--cache-dir", place.base / "cache")
    episodes = ("episode-eval", "--n-shot", 2, "--n-query", 2, "--n-episodes", 20, "--no-patient-interval", *on_test)
    for name in ("run", "other"):
        (out / name).mkdir()
        result = (out / name).with_suffix(".json") if name == "run" else out / name / "run.json"
        more = ("--json", result, "--html", out / f"{name}.html", "--csv", out / f"{name}.csv")
        assert run(*episodes, "--checkpoint", place.nets / name, *more) == 0
    assert run("compare", out / "run.json", out / "other" / "run.json", "--json", out / "both.json") == 0
    closed = ("evaluate", *on_test, "--json", out / "closed.json")
    assert run(*closed, "--checkpoint", place.nets / "run", "--calibrate-split", "val") == 0
    moved = place.out / "moved"
    shutil.copytree(place.nets / "run", moved)
    (moved / "split.csv").write_text('# {"root_key": "of another machine"}\npath,label,split\na.png,x,test\n')
    assert run("report", moved, out / "both.json", out / "run.json", "--out", out / "report.html") == 0
    assert "are not found" in (out / "report.html").read_text(encoding="utf-8")
    heat = ("--checkpoint", place.nets / "run", "--versus", place.nets / "other", "--out", out / "heat")
    heat += ("--overlays", 1, "--deletion", 2, "--json", out / "heat.json", "--masks", place.data / "masks")
    assert run("explain", *on_test, *heat) == 0
    assert not told(out)


def test_run_folders(place):
    out = place.out
    data = ("--data", place.split, "--cache-dir", place.base / "cache")
    weights = ("--weights", place.nets / "run" / "encoder.safetensors")
    weights += ("--encoder-option", "width=4", "--embedding-dim", 8)
    assert run("train", "siamese", *data, *TINY, *weights, "--out", out / "one", "--json", out / "one.json") == 0
    assert run("train", "classifier", *data, *TINY, "--out", out / "two", "--json", out / "two.json") == 0
    tiny = ("training.n_epochs=1", "n_batches=1", "batch_size=8", "size_px=32", "width=4", "n_episodes=10")
    sets = tuple(word for one in (*tiny, "judge.rank_tables=1", "judge.n_shot=1") for word in ("--set", one))
    assert run("recipes", "run", "resnet9-triplet", *data, *sets, "--out", out / "run", "--json", out / "run.json") == 0
    follow = ("recipes", "run", "resnet9-triplet", *data, *sets, "--start-from", out / "run")
    assert run(*follow, "--out", out / "next", "--json", out / "next.json") == 0
    assert run("report", out / "run", "--out", out / "report.html") == 0
    assert list((out / "run" / "logs").glob("events.out.tfevents.*"))
    assert not told(out)

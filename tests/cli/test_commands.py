import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from command_line import failure, run
from made_splits import lay_split, train_small
from PIL import Image
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from fewshot_cxr.cli import app
from fewshot_cxr.embeddings import Embeddings

FINDINGS = ("normal", "effusion", "cardiomegaly")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with films, a split of them and a trained run."""
    folder = tmp_path_factory.mktemp("place")
    lay_split(folder, FINDINGS, 12)
    assert train_small(folder) == 0
    return folder


def evaluate(folder, *more, data="split.csv"):
    counts = ("--n-shot", 1, "--n-query", 1, "--n-episodes", 20)
    return run("episode-eval", "--checkpoint", folder / "run", "--data", folder / data, *counts, *more)


def test_split_writes_a_manifest_that_is_read_back(place, capsys, tmp_path):
    assert run("data", "split", place / "split.csv", "--seed", 1, "--out", tmp_path / "again.csv", "--json", "-") == 0
    captured = capsys.readouterr()
    counts = json.loads(captured.out)
    assert sum(counts["by_split"].values()) == counts["n_films"]
    assert "paths start from" in captured.err
    lead = json.loads((tmp_path / "again.csv").read_text().splitlines()[0][2:])
    assert lead["seed"] == 1
    assert "root" not in lead
    assert str(place) not in json.dumps(lead)


def test_episode_eval_prints_a_table_and_writes_json(place, capsys, tmp_path):
    assert evaluate(place, "--split", "test", "--n-way", 2, "--json", tmp_path / "result.json") == 0
    assert "baseline: nearest centroid on pixels" in capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    assert 0 <= result["accuracy"]["mean"] <= 1
    assert len(result["accuracy"]["ci95_episodes"]) == 2
    assert set(result["per_class_recall"]) == set(FINDINGS)
    assert 0 <= result["floor"]["pixels"]["mean"] <= 1
    wanted = {"n_way": 2, "n_shot": 1, "n_query": 1, "n_episodes": 20, "rule": "mean_distance", "seed": 0}
    assert wanted.items() <= result.items()
    assert result["episodes_per_second"] > 0


def test_embed_writes_what_embeddings_load(place, tmp_path):
    run_folder, out = place / "run", tmp_path / "e.safetensors"
    assert run("embed", "--checkpoint", run_folder, "--data", place / "split.csv", "--split", "test", "--out", out) == 0
    films = Embeddings.load(out)
    assert films.class_names == tuple(sorted(FINDINGS))
    assert all(path.endswith(".png") for path in films.paths)


def test_a_film_and_its_16_bit_copy_are_predicted_alike(place, capsys, tmp_path):
    film = next((place / "films" / "effusion").glob("*.png"))
    pixels = np.asarray(Image.open(film)).astype(np.uint16)
    Image.fromarray(pixels * 257).save(tmp_path / "deep.png")
    Image.fromarray(pixels << 8).save(tmp_path / "shifted.png")
    films = (film, tmp_path / "deep.png", tmp_path / "shifted.png")
    support = ("--checkpoint", place / "run", "--support", place / "split.csv", "--n-exemplars", 3)
    assert run("predict", *films, *support, "--json", tmp_path / "p.json") == 0
    assert "nearest exemplars" in capsys.readouterr().out
    first, *others = json.loads((tmp_path / "p.json").read_text())
    for other in others:
        assert other["findings"] == first["findings"]
        assert other["distances"] == pytest.approx(first["distances"], abs=1e-3)
        assert [exemplar["path"] for exemplar in other["exemplars"]] == [e["path"] for e in first["exemplars"]]


@pytest.mark.skipif(os.name != "posix", reason="a working folder can be removed on POSIX alone")
def test_predict_works_from_a_folder_that_is_gone(place, tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    film = next((place / "films").glob("*/*.png"))
    support = ("--checkpoint", place / "run", "--support", place / "split.csv")
    assert run("predict", film, *support, "--json", tmp_path / "p.json") == 0
    assert f"  {place / 'films'}" in capsys.readouterr().out
    assert json.loads((tmp_path / "p.json").read_text())


def test_predict_takes_folders_and_leaves_out_what_it_cannot_read(place, capsys, tmp_path):
    shutil.copy(next((place / "films" / "normal").glob("*.png")), tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    support = ("--checkpoint", place / "run", "--support", place / "split.csv")
    assert run("predict", tmp_path, *support, "--json", tmp_path / "p.json") == 0
    assert "left out: " in (err := capsys.readouterr().err)
    assert "bad.png" in err
    assert len(json.loads((tmp_path / "p.json").read_text())) == 1
    (tmp_path / "good.png").unlink()
    failure(capsys, 4, ("predict", tmp_path / "bad.png", *support), ["no film is readable", "bad.png"])


def test_predict_says_what_else_a_folder_holds(place, capsys, tmp_path):
    film = next((place / "films" / "normal").glob("*.png"))
    for path in ("images/a.png", "masks/a.png", "b.webp", "notes.txt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.open(film).save(tmp_path / path) if path != "notes.txt" else (tmp_path / path).write_text("x")
    support = ("--checkpoint", place / "run", "--support", place / "split.csv")
    assert run("predict", tmp_path, tmp_path / "b.webp", *support, "--json", tmp_path / "p.json") == 0
    told = capsys.readouterr().err
    assert "masks and no films in masks: 1, of which 1" in told
    assert "passed over, no films by their names: 1 .txt" in told
    paths = [answer["path"] for answer in json.loads((tmp_path / "p.json").read_text())]
    assert sorted(path.rpartition("/")[2] for path in paths) == ["a.png", "b.webp"]


@pytest.mark.filterwarnings("default:1 film. a lateral view")
def test_predict_names_what_is_no_chest_film(place, capsys, tmp_path):
    for name, view in (("ct.dcm", {"Modality": "CT"}), ("side.dcm", {"Modality": "DX", "ViewPosition": "LL"})):
        write_dicom(tmp_path / name, np.arange(4096, dtype=np.uint8).reshape(64, 64), **view)
    support = ("--checkpoint", place / "run", "--support", place / "split.csv", "--json", tmp_path / "p.json")
    assert run("predict", tmp_path, *support) == 0
    told = capsys.readouterr().err
    assert "ct.dcm: no chest X-ray: its modality is CT, computed tomography; --any-modality takes it" in told
    assert "warning: 1 film: a lateral view" in told
    assert len(json.loads((tmp_path / "p.json").read_text())) == 1
    assert run("predict", tmp_path, *support, "--any-modality") == 0
    assert len(json.loads((tmp_path / "p.json").read_text())) == 2


def write_dicom(path, pixels, **elements):
    header = Dataset()
    header.file_meta, header.preamble = FileMetaDataset(), b"\0" * 128
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    header.Rows, header.Columns, header.SamplesPerPixel, header.PixelRepresentation = *pixels.shape, 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 8, 8, 7
    header.PhotometricInterpretation, header.PixelData = "MONOCHROME2", pixels.tobytes()
    for name, value in elements.items():
        setattr(header, name, value)
    header["PixelData"].VR = "OB"
    header.save_as(path, enforce_file_format=True)


def test_a_run_is_resumed_and_never_overwritten_by_accident(place, capsys, tmp_path):
    shutil.copytree(place / "run", tmp_path / "run")
    shutil.copy(place / "split.csv", tmp_path / "split.csv")
    failure(capsys, 2, ("train", "siamese", "--data", tmp_path / "split.csv", "--out", tmp_path / "run"), ["--resume"])
    assert train_small(tmp_path, "--resume") == 0
    arguments = ("train", "siamese", "--data", tmp_path / "split.csv", "--out", tmp_path / "run", "--resume")
    failure(
        capsys,
        2,
        (*arguments, "--encoder", "covidnet"),
        ["another encoder (resnet9 there, covidnet now)", "card.json"],
    )
    words = ["--epochs (1 there, 5 now)"]
    small = ("--image-size", 32, "--batch-size", 12, "--encoder-option", "width=4")
    failure(capsys, 2, (*arguments, *small, "--epochs", 5), words)


def test_an_empty_folder_is_nothing_readable(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    arguments = ("data", "split", tmp_path / "empty", "--out", tmp_path / "out.csv")
    failure(capsys, 4, arguments, ["empty", "expected", "found nothing"])
    assert not (tmp_path / "out.csv").exists()


def test_a_csv_without_a_label_column_names_the_flag(place, capsys, tmp_path):
    (tmp_path / "films.csv").write_text("file,opinion\nx.png,normal\n")
    arguments = ("data", "split", tmp_path / "films.csv", "--out", tmp_path / "out.csv")
    failure(capsys, 2, arguments, ["films.csv has no label column", "opinion", "--label-column"])
    assert not (tmp_path / "out.csv").exists()


def test_a_finding_with_one_film_names_the_choices(place, capsys):
    text = (place / "split.csv").read_text().splitlines()
    kept = [line for line in text if ",effusion," not in line]
    kept.append(next(line for line in text if ",effusion," in line))
    (place / "one.csv").write_text("\n".join(kept) + "\n")
    capsys.readouterr()
    films = ("--data", place / "one.csv", "--split", "all", "--allow-training-films")
    arguments = ("episode-eval", "--checkpoint", place / "run", *films, "--n-shot", 5)
    failure(capsys, 2, arguments, ["effusion has 1 film of 1 patient", "fewer shots", "drop the class"])


def test_a_truncated_film_is_named_and_the_run_goes_on(place, capsys, tmp_path):
    shutil.copytree(place / "films", tmp_path / "films")
    victim = next((tmp_path / "films" / "normal").glob("*.png"))
    victim.write_bytes(victim.read_bytes()[:300])
    split = ("data", "split", tmp_path / "films", "--patient-pattern", r"(p\d+)_", "--out", tmp_path / "split.csv")
    assert run(*split) == 0
    shutil.copytree(place / "run", tmp_path / "run")
    assert evaluate(tmp_path) == 0
    assert f"left out: normal/{victim.name}: " in capsys.readouterr().err


def test_a_damaged_or_foreign_checkpoint_is_refused_by_name(place, capsys, tmp_path):
    content = bytearray((place / "run" / "encoder.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "encoder.safetensors").write_bytes(content)
    data = ("--data", place / "split.csv")
    failure(capsys, 1, ("episode-eval", "--checkpoint", tmp_path, *data), ["encoder.safetensors is damaged"])
    Embeddings(np.eye(2), [0, 1]).save(tmp_path / "e.safetensors")
    words = ["e.safetensors holds embeddings, encoder was expected"]
    failure(capsys, 2, ("episode-eval", "--checkpoint", tmp_path / "e.safetensors", *data), words)
    failure(capsys, 2, ("episode-eval", "--checkpoint", tmp_path / "none", *data), ["--checkpoint", "does not exist"])
    words = ["--checkpoint", "holds no encoder.safetensors", "run holds one"]
    for command in (("episode-eval", *data), ("predict", place / "films", "--support", data[1]), ("evaluate", *data)):
        failure(capsys, 2, (*command, "--checkpoint", place), words)
    (tmp_path / "page.pt").write_text("<html>")
    failure(capsys, 2, ("episode-eval", "--checkpoint", tmp_path / "page.pt", *data), ["page.pt is a web page"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--encoder", "resnet99"), ["unknown encoder 'resnet99'", "did you mean 'resnet9'?"]),
        (("--device", "cuda:7"), ["device 'cuda:7' is absent", "--device cpu"]),
        (("--miner", "hardest"), ["unknown miner 'hardest'"]),
        (("--encoder-option", "widht=4"), ["widht"]),
        (("--encoder-option", "width"), ["NAME=VALUE was expected"]),
        (("--loss", "supcon", "--distance", "l1"), ["compares by cosine, not l1"]),
        (("--label-column", "diagnosis"), ["--label-column diagnosis", "has no such column"]),
        (("--patient-key", "x"), ["--patient-key does not fit manifest data"]),
        (("--epoch", "3"), ["No such option", "--epochs"]),
    ],
)
def test_wrong_use_of_train_is_one_line(place, capsys, tmp_path, more, words):
    arguments = ("train", "siamese", "--data", place / "split.csv", "--image-size", 32, "--out", tmp_path / "r", *more)
    failure(capsys, 2, arguments, words)
    assert not (tmp_path / "r" / "encoder.safetensors").exists()


def test_more_ways_than_findings(place, capsys):
    arguments = ("episode-eval", "--checkpoint", place / "run", "--data", place / "split.csv", "--n-way", 9)
    failure(capsys, 2, arguments, ["--n-way is 9, but only 3 findings have films", "normal"])


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "link.png"])
def test_a_path_that_leaves_the_root_is_refused(capsys, tmp_path, path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "films.csv").write_text(f"path,label\n{path},normal\n")
    arguments = ("data", "split", root / "films.csv", "--out", tmp_path / "out.csv")
    failure(capsys, 2, arguments, ["films.csv, row 2", "leaves the data root", "--root"])
    assert not (tmp_path / "out.csv").exists()


def test_unknown_commands_and_fractions(capsys, tmp_path):
    failure(capsys, 2, ("episode-evl",), ["no command 'episode-evl' (did you mean 'episode-eval'?)"])
    failure(capsys, 2, ("data", "split", "x", "--out", "y"), ["no such file or folder"])
    arguments = ("data", "split", tmp_path, "--out", tmp_path / "y.csv", "--fractions", "0.5;0.5")
    failure(capsys, 2, arguments, ["--fractions 0.5;0.5", "such as 0.7,0.1,0.2"])


@pytest.mark.parametrize("command", [(), *[(name,) for name in app.COMMANDS], ("data", "split"), ("train", "siamese")])
def test_help_has_an_example(capsys, command):
    assert run(*command, "--help") == 0
    text = capsys.readouterr().out
    if command not in {("data",), ("train",)}:
        assert "Example: fscxr" in text
    for line in text.splitlines():
        assert len(line) <= 120


@pytest.mark.parametrize("group", [(), ("data",), ("train",), ("recipes",)])
def test_a_bare_group_prints_its_help(capsys, group):
    assert run(*group) == 0
    bare = capsys.readouterr()
    assert run(*group, "--help") == 0
    assert bare.out == capsys.readouterr().out
    assert (bare.out.count("\n") > 5, bare.err) == (True, "")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("train", "siames"), "siamese"),
        (("recipes", "lst"), "list"),
        (("data", "splt"), "split"),
        (("traim",), "train"),
    ],
)
def test_a_misspelt_command_names_the_nearest(capsys, words, meant):
    failure(capsys, 2, words, [f"no command {words[-1]!r} (did you mean {meant!r}?)", "--help` lists them"])


def test_predict_lists_and_takes_the_rules_of_one_film_alone(place, capsys):
    assert run("predict", "--help") == 0
    assert "tim" not in capsys.readouterr().out.partition("--rule")[2].partition("--distance")[0]
    arguments = ("predict", place / "films", "--checkpoint", place / "run", "--support", place / "split.csv")
    failure(capsys, 2, (*arguments, "--rule", "tim"), ["--rule tim: ", "takes mean_distance"])


@pytest.mark.parametrize(("source", "code"), [("split.csv", 0), ("absent", 2)])
def test_a_reader_may_leave_before_the_end(place, source, code):
    command = ("data", "read", str(place / source))
    reader, writer = os.pipe()
    os.close(reader)
    program = f"import sys; sys.argv = {['fscxr', *command]}; from fewshot_cxr.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=writer, check=False)
    os.close(writer)
    assert ended.returncode == code


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("explain",), "interrupted\n"),
        (("episode-eval", "--split", "train"), "interrupted\n"),
        (("recipes", "run"), "interrupted; once it has written last.ckpt, it goes on with --resume\n"),
        (("train", "siamese"), "interrupted; once it has written last.ckpt, it goes on with --resume\n"),
        (("predict", "film.png"), "interrupted; with --csv it goes on with --resume\n"),
    ],
)
def test_ctrl_c_is_130(monkeypatch, capsys, words, told):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(app.fscxr, "main", interrupt)
    assert run(*words) == 130
    assert capsys.readouterr().err == f"fscxr: error: {told}"

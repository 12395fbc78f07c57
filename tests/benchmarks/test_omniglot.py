"""benchmarks/reproduce/omniglot.py on drawings that are made up, laid out as Omniglot is."""

import importlib.util
import json
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "benchmarks/reproduce/omniglot.py"


def drawing(character, drawer):
    numbers = np.random.default_rng([character, drawer])
    strokes = np.kron(np.random.default_rng(character).random((7, 7)) > 0.6, np.ones((15, 15), dtype=bool))
    return Image.fromarray(np.where(np.roll(strokes, numbers.integers(-4, 5, 2), axis=(0, 1)), 0, 255).astype(np.uint8))


@pytest.fixture
def omniglot():
    spec = importlib.util.spec_from_file_location("reproduce_omniglot", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path):
    """Background: characters 0 to 3; evaluation: 4 to 8, which are the test."""
    root = tmp_path / "omniglot"
    (root / "splits/vinyals").mkdir(parents=True)
    names = {
        "train": [("Known", c) for c in range(3)],
        "val": [("Known", 3)],
        "test": [("Other", c) for c in range(4, 9)],
    }
    for part, characters in names.items():
        lines = [f"{name}/character{c:02d}/rot{90 * turn:03d}" for name, c in characters for turn in range(4)]
        (root / f"splits/vinyals/{part}.txt").write_text("\n".join(lines))
    for archive, parts in (("images_background", ("train", "val")), ("images_evaluation", ("test",))):
        with zipfile.ZipFile(root / f"{archive}.rezipped.zip", "w") as file:
            for name, c in [character for part in parts for character in names[part]]:
                for drawer in range(11):
                    stream = BytesIO()
                    drawing(c, drawer).save(stream, "PNG")
                    file.writestr(f"{archive}/{name}/character{c:02d}/{c:04d}_{drawer:02d}.png", stream.getvalue())
    run = root / "one-shot-classification/run01"
    for side in ("training", "test"):
        (run / side).mkdir(parents=True)
    lines = []
    for row, c in enumerate((4, 5, 0)):  # the last was trained on
        drawing(c, 1).save(run / f"training/class{row:02d}.png")
        drawing(c, 2).save(run / f"test/item{row:02d}.png")
        lines.append(f"run01/test/item{row:02d}.png run01/training/class{row:02d}.png")
    (run / "class_labels.txt").write_text("\n".join(lines))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--steps", "10"], ["--steps", "10", "--network", "resnet9"], ["--plain", "0.005"]])
def test_it_writes_what_it_found(omniglot, data, tmp_path, monkeypatch, capsys, how):
    monkeypatch.setenv("FSCXR_DATA", str(data))
    out = tmp_path / "omniglot.json"
    assert omniglot.main([*how, "--ways", "4", "--episodes", "20", "--threads", "1", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    for ways, shots in ((5, 1), (5, 5), (20, 1), (20, 5)):
        row = found[f"{ways}way{shots}shot"]
        assert row["n_episodes"] == 20
        assert 1 / ways < row["accuracy"] <= 1
        assert row["ci95_episodes"][0] <= row["accuracy"] <= row["ci95_episodes"][1]
    assert found["lake20"]["n_asked"] == 3
    assert found["lake20"]["n_characters_trained_on"] == 1
    assert json.loads(capsys.readouterr().out) == found


@pytest.mark.slow
def test_a_plain_loop_ends_once_it_is_accurate_enough(omniglot, data, tmp_path, monkeypatch):
    monkeypatch.setenv("FSCXR_DATA", str(data))
    out, few = tmp_path / "plain.json", ["--ways", "4", "--episodes", "20", "--threads", "1"]
    assert omniglot.main([*few, "--plain", "9", "--until", "0.01", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["steps"] == 100
    assert found["5way1shot"]["minutes"] < 9


def test_without_data_it_says_so(omniglot, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("FSCXR_DATA", str(tmp_path))
    assert omniglot.main([]) == 1
    assert "set FSCXR_DATA" in capsys.readouterr().err

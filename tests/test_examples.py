"""Every example runs, small, as a user would start it."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def start(monkeypatch, capsys):
    def start(name, *arguments):
        monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return start


@pytest.mark.slow
def test_new_finding(start):
    assert "recall of effusion" in start("new_finding.py", "--patients", 20, "--image-size", 64)


def test_compare_rules(start, tmp_path):
    draw = np.random.default_rng(0)
    Embeddings(draw.normal(size=(60, 4)), draw.integers(0, 3, 60)).save(tmp_path / "e.safetensors")
    assert len(start("compare_rules.py", tmp_path / "e.safetensors").splitlines()) == 10


def test_every_example_is_tested():
    source = Path(__file__).read_text()
    assert all(f'"{example.name}"' in source for example in EXAMPLES.glob("*.py"))

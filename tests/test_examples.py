"""Every example runs, small, as a user would start it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings

EXAMPLES = Path(__file__).parents[1] / "examples"


def start(name, *arguments):
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_new_finding():
    assert "recall of effusion" in start("new_finding.py", "--patients", 36, "--epochs", 1)


def test_compare_rules(tmp_path):
    draw = np.random.default_rng(0)
    Embeddings(draw.normal(size=(60, 4)), draw.integers(0, 3, 60)).save(tmp_path / "e.safetensors")
    assert len(start("compare_rules.py", tmp_path / "e.safetensors").splitlines()) == 10


def test_every_example_is_tested():
    source = Path(__file__).read_text()
    assert all(f'"{example.name}"' in source for example in EXAMPLES.glob("*.py"))

"""Every example runs, small, as a user would start it."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference import RULES

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


@pytest.mark.slow
def test_own_loss(start):
    told = start("own_loss.py", "--patients", 8, "--epochs", 1)
    assert [line.split(":")[0] for line in told.splitlines()] == ["supcon", "circle", "spread"]


def test_own_rule(start):
    assert "unit_prototype: 0." in start("own_rule.py", "--patients", 20)
    RULES.pop("unit_prototype", None)


@pytest.mark.slow
def test_data_frame(start):
    assert "accuracy: 0." in start("data_frame.py", "--patients", 8, "--epochs", 1)


# Written in cells: a notebook is made of each, and what it says at the end is looked for.
CELLS = {
    "new_disease.py": "effusion, no reason to abstain",
    "own_encoder.py": "",
    "evaluate_honestly.py": "by patient, ",
    "explain_films.py": "lungs ",
    "audit_films.py": "failed: leak confounding",
}


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize("name", CELLS)
def test_a_script_in_cells_runs_by_itself(start, name):
    assert CELLS[name] in start(name)


@pytest.mark.parametrize("name", CELLS)
def test_the_notebook_is_that_of_the_script(name, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES.parent / "docs")
    made = __import__("make_notebooks").unrun(EXAMPLES / name)
    text = (EXAMPLES / "notebooks" / name.replace(".py", ".ipynb")).read_text("utf-8")
    kept = json.loads(text)
    assert ["".join(cell["source"]) for cell in kept["cells"]] == [cell.source for cell in made.cells]
    code = [cell for cell in kept["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert '"image/png"' in text
    assert '"text/html"' in text
    assert "/work" not in text
    assert sys.prefix not in text


@pytest.mark.slow
def test_a_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES.parent / "docs")
    notebooks = __import__("make_notebooks")
    book = notebooks.run(notebooks.unrun(EXAMPLES / "audit_films.py"), tmp_path)
    assert "failed: leak confounding" in json.dumps(book)


def test_every_example_is_short_and_tested():
    source = Path(__file__).read_text()
    examples = sorted(EXAMPLES.glob("*.py"))
    assert len(examples) == 10
    for example in examples:
        assert f'"{example.name}"' in source
        assert len(example.read_text().splitlines()) < 80

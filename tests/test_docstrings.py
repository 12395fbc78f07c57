"""Each public function and class has an example, and each example says what comes out."""

import doctest
import importlib
import inspect
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import fewshot_cxr

ROOT = Path(__file__).parents[1]
# What rooms are made of, and nobody writes at a prompt: pages of a report, the parts of a command, an engine's own.
INNER = ("fewshot_cxr.engines", "fewshot_cxr.listen", "fewshot_cxr.report", "fewshot_cxr.workflows")
WITHOUT = {
    "Decisions": "deprecated, it warns",
    "EpisodeFacts": "`Result.asked` of any evaluation",
    "ExportedBank": "exporting takes seconds",
    "FindingScores": "`Result.per_finding` of any evaluation",
    "RunningMean": "deprecated, it warns",
    "bank_json": "a bank takes more than a few lines: docs/bank.md builds one",
    "bank_warnings": "as bank_json",
    "build_on_disk": "a process of its own takes a second",
    "embed_floors": "deprecated, it warns",
    "export_bank": "exporting takes seconds",
    "export_encoder": "exporting takes seconds",
    "read_mimic_cxr_jpg": "its three tables take more than a few lines: docs/datasets-large.md shows them",
}


@cache
def public():
    """Name every public function and class of ours -> (what it is, the names that its module lists)."""
    found = {}
    for stub in sorted((ROOT / "fewshot_cxr").glob("**/__init__.pyi")):
        room = ".".join(stub.parent.relative_to(ROOT).parts)
        if not room.startswith(INNER):
            module = importlib.import_module(room)
            names = {name: getattr(module, name) for name in module.__all__}
            here = {name: (inspect.unwrap(value), names) for name, value in names.items() if callable(value)}
            found = here | found  # the page that shows a name is the first that has it
    return {
        name: (value, names)
        for name, (value, names) in found.items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.startswith("fewshot_cxr")
    }


def example_of(name):
    """What a reader of the reference can paste: docs/site/reference.py says what is imported."""
    value, names = public()[name]
    whole = {each: getattr(fewshot_cxr, each) for each in fewshot_cxr.__all__}
    known = {"np": np, "torch": torch, "nn": torch.nn, "Path": Path, **whole, **names}
    return doctest.DocTestParser().get_doctest(inspect.getdoc(value) or "", known, name, None, 0)


@cache
def shown():
    """All that the examples of docstrings and of pages do and print."""
    own = [f"{one.source}{one.want}" for name in public() for one in example_of(name).examples]
    pages = [page.read_text("utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]]
    return "\n".join(own + re.findall(r"```python\n(.*?)```", "\n".join(pages), re.DOTALL))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name in public() if example_of(name).examples))
def test_an_example_does_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = []
    assert doctest.DocTestRunner().run(example_of(name), out=said.append).failed == 0, "".join(said)
    assert list(tmp_path.iterdir()) == []


def test_every_public_name_has_an_example():
    without = [name for name in public() if not example_of(name).examples and not re.search(rf"\b{name}\b", shown())]
    assert sorted(set(without) - set(WITHOUT)) == []

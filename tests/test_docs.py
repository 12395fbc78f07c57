"""Every Python and console block of README.md and docs/ runs, in order, in an empty folder."""

import re
import shlex
from pathlib import Path

import pytest
from command_line import run

from fewshot_cxr.data import READERS
from fewshot_cxr.encoders import ENCODERS
from fewshot_cxr.inference import RULES
from fewshot_cxr.metrics import NUMBERS
from fewshot_cxr.objectives import LOSSES

ROOT = Path(__file__).parents[1]
PAGES = sorted(["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))])
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!http)([^)#]+)")


@pytest.fixture
def tables():
    """Take out again what a page puts into the tables."""
    before = [(table, dict(table)) for table in (ENCODERS, LOSSES, NUMBERS, READERS, RULES)]
    yield
    for table, kept in before:
        table.clear()
        table.update(kept)


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted", "tables")
@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search((ROOT / page).read_text())])
def test_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for kind, block in BLOCK.findall((ROOT / page).read_text()):
        if kind == "python":
            exec(compile(block, page, "exec"), names)
        else:
            for line in block.splitlines():
                assert line.startswith("$ fscxr "), line
                assert run(*shlex.split(line)[2:]) == 0, line


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in LINK.findall((ROOT / page).read_text()):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_the_readme_and_its_python_are_short():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    for kind, block in BLOCK.findall(text):
        assert kind == "console" or len([line for line in block.splitlines() if line.strip()]) <= 12


def test_every_part_is_shown_in_under_fifteen_lines():
    blocks = [block for _, block in BLOCK.findall((ROOT / "docs/parts.md").read_text())]
    assert max(len([line for line in block.splitlines() if line.strip()]) for block in blocks) < 15


MEASURED = ("benchmarks", "performance", "systems", "new-disease-measured", "bank-measured", "reliability-measured")


@pytest.mark.parametrize("page", [page for page in PAGES if Path(page).stem not in MEASURED])
def test_a_guide_is_read_in_one_sitting(page):
    prose = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(prose.split()) <= 1500


@pytest.mark.parametrize("page", PAGES)
def test_no_paragraph_is_too_long(page):
    prose = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    items = re.split(r"\n\s*\n|\n(?=- |\d+\. |\|)", prose)
    assert [item for item in items if len(item.split()) > 90 and not item.startswith("|")] == []


def test_troubleshooting_quotes_what_the_package_says():
    source = "".join(file.read_text("utf-8") for file in (ROOT / "fewshot_cxr").rglob("*.py"))
    rows = [
        line for line in (ROOT / "docs/troubleshooting.md").read_text("utf-8").splitlines() if line.startswith("| `")
    ]
    assert len(rows) > 15
    for row in rows:
        quoted = row.split("`")[1]
        assert quoted in source, quoted

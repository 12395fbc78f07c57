"""The documentation as a site: each page is in it, and no link leads nowhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fewshot_cxr.cli.app import COMMANDS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_in_the_navigation_and_leads_to_the_words(site):
    home = (site / "index.html").read_text("utf-8")
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages <= set(re.findall(r'href="([\w-]+)/"', home))
    for page in pages - {"glossary"}:
        assert "../glossary/" in (site / page / "index.html").read_text("utf-8"), page


@pytest.mark.slow
def test_the_reference_shows_every_command_and_every_public_name(site):
    commands = (site / "reference/commands/index.html").read_text("utf-8")
    assert [name for name in COMMANDS if f'id="fscxr-{name}"' not in commands] == []
    for stub in (ROOT / "fewshot_cxr").glob("**/__init__.pyi"):
        page = "-".join(stub.parent.relative_to(ROOT).parts)
        text = (site / "reference" / page / "index.html").read_text("utf-8")
        names = re.findall(r" as (\w+)$", stub.read_text("utf-8"), re.MULTILINE)
        assert names
        assert [name for name in names if name not in text] == [], page

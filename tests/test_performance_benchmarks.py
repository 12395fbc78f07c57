"""Every script of `make bench` runs to its table, on sizes that measure nothing."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "benchmarks" / "performance"


def questions():
    """Return the names of the scripts, as `make bench` asks them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        return runpy.run_path(str(SCRIPTS / "run.py"))["QUESTIONS"]


@pytest.mark.slow
@pytest.mark.parametrize("name", questions())
def test_a_benchmark_comes_to_its_table(name, tmp_path):
    script = [sys.executable, str(SCRIPTS / f"{name}.py"), "--smoke", "--json", str(tmp_path / "found.json")]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert found["rows"]
    assert all(len(row) == len(found["heads"]) for row in found["rows"])

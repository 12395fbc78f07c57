"""Dockerfile and compose.yaml agree with the package: what is copied, what is installed, which flags are given."""

import configparser
import importlib.util
from pathlib import Path

import pytest

from fewshot_cxr.cli import app

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("container_commands", ROOT / ".ci" / "container_commands.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_runs_what_the_image_runs_on_what_the_image_copies(script):
    wheel, bare, install = script.commands(DOCKERFILE)
    assert "pip wheel" in wheel
    assert "venv" in bare
    assert "pip install" in install
    kept = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    assert kept == set(script.COPIED)


def test_the_extras_of_the_image_are_there():
    facts = configparser.ConfigParser()
    facts.read(ROOT / "setup.cfg", encoding="utf-8")
    named = DOCKERFILE.partition("${wheel}[")[2].partition("]")[0].split(",")
    assert {"serve", "listen"} <= set(named) <= set(facts["options.extras_require"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_gives_flags_that_its_command_has(name):
    verb, _, *words = SERVICES[name]["command"]
    known = {flag for one in app.fscxr.get_command(None, verb).params for flag in one.opts}
    given = {word for word in words if word.startswith("--")}
    assert given
    assert given <= known


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_little(name):
    service = SERVICES[name]
    assert service["read_only"]
    assert service["user"] == "10001:10001"
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert "USER 10001:10001" in DOCKERFILE

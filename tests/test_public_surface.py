"""What may be imported, what it loads, and that the house says each thing once."""

import ast
import configparser
import importlib
import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import fewshot_cxr

ROOT = Path(__file__).parents[1]
PACKAGE = Path(fewshot_cxr.__file__).parent
FOLDERS = sorted(file.parent.relative_to(PACKAGE).as_posix() for file in PACKAGE.glob("*/**/__init__.py"))
PUBLIC_NAMES = {
    "Embeddings",
    "Episodes",
    "ImageSpec",
    "Record",
    "Records",
    "ClassifierTrainer",
    "SiameseTrainer",
    "SupportBank",
    "build_encoder",
    "embed",
    "evaluate_episodes",
    "load_encoder",
    "read_dataset",
    "split_by_patient",
}


@pytest.fixture(scope="module")
def setup_cfg():
    facts = configparser.ConfigParser()
    facts.read(ROOT / "setup.cfg", encoding="utf-8")
    return facts


def bound_names(source):
    """Public names that a file binds at its top: by import, definition or assignment."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def public(names):
    return sorted(name for name in names if not name.startswith("_"))


def test_the_package_exports_what_it_promises():
    assert set(fewshot_cxr.__all__) == PUBLIC_NAMES | {"__version__"}


def test_the_stub_and_all_agree():
    stub = (PACKAGE / "__init__.pyi").read_text(encoding="utf-8")
    assert sorted(bound_names(stub)) == sorted(fewshot_cxr.__all__) == dir(fewshot_cxr)


@pytest.mark.parametrize("name", sorted(PUBLIC_NAMES))
def test_a_public_name_is_there_and_described(name):
    value = getattr(fewshot_cxr, name)
    assert value.__name__ == name
    assert value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="SiameseTrainr"):
        _ = fewshot_cxr.SiameseTrainr


def test_version_is_the_installed_one(setup_cfg):
    try:
        installed = version("fewshot_cxr")
    except PackageNotFoundError:
        pytest.skip("fewshot_cxr is not installed, only on the path")
    assert fewshot_cxr.__version__ == installed == setup_cfg["metadata"]["version"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_exports_what_all_says(folder):
    module = importlib.import_module(f"fewshot_cxr.{folder.replace('/', '.')}")
    stub = PACKAGE / folder / "__init__.pyi"
    source = (stub if stub.exists() else stub.with_suffix(".py")).read_text(encoding="utf-8")
    assert public(bound_names(source)) == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_the_console_command_exists(setup_cfg):
    command, _, target = setup_cfg["options.entry_points"]["console_scripts"].strip().partition(" = ")
    room, _, function = target.partition(":")
    assert command == "fscxr"
    assert callable(getattr(importlib.import_module(room), function))


def test_each_fact_has_one_file():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert sorted(settings) == ["build-system", "tool"]
    assert set(settings["tool"]) == {"ruff", "mypy", "pytest", "coverage", "mutmut"}


def test_python_versions_agree(setup_cfg):
    lowest, above = map(int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", setup_cfg["options"]["python_requires"]).groups())
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    assert ruff["target-version"] == f"py3{lowest}"
    assert f"(3, {lowest}) <= v < (3, {above})" in (ROOT / "Makefile").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    matrix = ", ".join(f'"3.{minor}"' for minor in range(lowest, above))
    assert f"python: [{matrix}]" in workflow


def test_security_says_why_of_the_oldest_versions_that_are_admitted(setup_cfg):
    wanted = setup_cfg["options"]["install_requires"] + "".join(setup_cfg["options.extras_require"].values())
    admitted = dict(re.findall(r"^([\w-]+)[=>~]=([\d.]+)", wanted, flags=re.MULTILINE))
    said = dict(
        re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|", (ROOT / "SECURITY.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert said.items() <= admitted.items()
    assert said.keys() >= {"torch", "Pillow", "pydicom", "lightning", "timm", "jinja2"}


def test_the_page_of_licences_names_what_users_install(setup_cfg):
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8").lower()
    listed = set(re.findall(r"^\| ([\w.-]+) \|", page, re.MULTILINE))
    extras = {name: value for name, value in setup_cfg["options.extras_require"].items() if name not in ("dev", "docs")}
    wanted = setup_cfg["options"]["install_requires"] + "".join(extras.values())
    required = {name.replace("_", "-").lower() for name in re.findall(r"^([\w-]+)[=>~]=", wanted, re.MULTILINE)}
    assert len(required) > 30
    assert required <= listed, required - listed
    assert [line for line in page.splitlines() if line.startswith("|") and "gpl" in line] == [
        "| pylibjpeg-libjpeg | gpl-3.0 or other/proprietary license | always |"
    ]

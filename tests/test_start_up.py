"""What each command loads, run for real in a process of its own: no more than it uses."""

import subprocess
import sys
from pathlib import Path

import pytest
from made_goldens import lay_films, save_networks

from fewshot_cxr import SupportBank, read_dataset

ROOT = Path(__file__).parents[1]
ON_IMPORT = {"PIL", "faiss", "jinja2", "lightning", "matplotlib", "numpy", "pandas", "pytorch_metric_learning", "scipy"}
ON_IMPORT |= {"sklearn", "tensorboard", "timm", "torch", "torchvision"}

COMPILER = {"sympy", "torch._dynamo", "torch._inductor"}
NETWORKS = {"timm", "torchvision"}
TRAINING = {"fewshot_cxr.training", "lightning", "pytorch_metric_learning", "tensorboard"}
STATISTICS = {"pandas", "scipy.sparse", "scipy.stats", "sklearn"}
FIGURES = {"matplotlib"}
PAGES = {"jinja2"}
HEAT = {"captum"}
RARE = {"cv2", "fewshot_cxr.evaluation.audit.audit", "umap"}
SEARCH = {"faiss"}
EVERYTHING = COMPILER | NETWORKS | TRAINING | STATISTICS | FIGURES | PAGES | HEAT | RARE | SEARCH

ON_TEST = ("--data", "split.csv", "--split", "test", "--threads", "1", "--device", "cpu")
FEW_PICTURES = ("--deletion", "0", "--overlays", "1", "--findings", "normal,effusion")
EPISODES = ("--n-shot", "1", "--n-query", "1", "--n-episodes", "4")
CLOSED = str(ROOT / "tests" / "goldens" / "closed_exemplars.json")
# A command -> what of EVERYTHING it may load.
MAY_LOAD = {
    ("predict", "films/normal", "--checkpoint", "run", "--support", "split.csv", "--n-exemplars", "2"): set(),
    ("bank", "show", "clinic.bank"): set(),
    ("predict", "films/normal", "--bank", "clinic.bank"): {"scipy.sparse"},
    ("embed", "--checkpoint", "run", *ON_TEST, "--out", "test.safetensors"): set(),
    ("episode-eval", "--checkpoint", "run", *ON_TEST, *EPISODES): set(),
    ("learning-curve", "--checkpoint", "run", *ON_TEST, "--shots", "1", *EPISODES[2:]): set(),
    ("evaluate", "--checkpoint", "run", *ON_TEST): {"scipy.sparse"},  # scipy.optimize, which fits the temperature
    ("compare", CLOSED, CLOSED): STATISTICS - {"pandas", "sklearn"},
    ("encoder", "make", "resnet9", "--random", "--out", "made"): set(),
    ("data", "read", "films"): set(),
    ("data", "split", "split.csv", "--out", "other.csv"): set(),
    ("data", "audit", "split.csv"): STATISTICS | RARE,
    ("plot", "confusion", CLOSED, "--out", "confusion.png"): FIGURES | PAGES,
    ("report", CLOSED, "--out", "report.html"): FIGURES | PAGES,
    ("explain", "--checkpoint", "run", *ON_TEST, *FEW_PICTURES, "--out", "heat"): FIGURES | PAGES | HEAT,
}


def loaded_after(code, folder=ROOT):
    """Names of all modules in a fresh process after `code`, which may end in SystemExit."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit as end:\n    assert not end.code, end.code\nfinally:\n"
    script += "    print('\\nloaded:', *sys.modules)"
    command = [sys.executable, "-c", script]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.rpartition("loaded:")[2].split())


def loaded_by(command, folder):
    return loaded_after(f"sys.argv = {['fscxr', *command]}; from fewshot_cxr.cli import main; main()", folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("start_up")
    lay_films(place)
    save_networks(place)
    split = read_dataset("manifest", place / "split.csv")
    SupportBank.build(place / "run", split, n_exemplars=4).save(place / "clinic.bank")
    return place


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_after("import fewshot_cxr") & (ON_IMPORT | {"click", "rich"})


def test_the_help_page_loads_nothing_heavy():
    assert not loaded_by(["--help"], ROOT) & ON_IMPORT


@pytest.mark.slow
def test_loading_is_measured_in_earnest():
    assert loaded_after("from fewshot_cxr import Record") >= {"fewshot_cxr", "dataclasses"}
    assert "torch" in loaded_after("from fewshot_cxr import Embeddings")


@pytest.mark.slow
@pytest.mark.parametrize("command", MAY_LOAD, ids=lambda command: " ".join(command[:2]))
def test_a_command_loads_what_it_uses(folder, command):
    loaded = loaded_by(command, folder)
    assert "torch" in loaded
    # Below 1.16 SciPy's linear algebra loads its sparse matrices.
    assert loaded & EVERYTHING <= MAY_LOAD[command] | loaded_after("import scipy.special")

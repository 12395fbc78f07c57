"""The small world that is attacked: films, manifests, runs, files of each form, made by the commands themselves."""

import importlib
from pathlib import Path

from made_runs import make_films

from fault_kinds.attack import call
from fewshot_cxr.cli.app import COMMANDS

TRAINING = ("--encoder", "resnet9", "--encoder-option", "width=4", "--embedding-dim", 8, "--image-size", 32)
CLASSIFIER = TRAINING[:4] + TRAINING[6:]
PROCESSOR = ("--device", "cpu", "--threads", 1, "--workers", 1)
TEST = ("--data", "split.csv", "--split", "test")
# Loaded once, before all processes are forked.
LIBRARIES = ("captum.attr", "jinja2", "lightning", "matplotlib.pyplot", "pydicom", "sklearn", "timm")
SMALL_EPISODES = ("--n-shot", 1, "--n-query", 1, "--n-episodes", 20, "--no-baselines")


def make_world(folder: Path) -> None:
    """Make films of three findings, and one file of each form."""

    def run(*arguments: object) -> None:
        done = call(*arguments, cwd=folder)
        if done.code:
            raise RuntimeError(f"fscxr {' '.join(map(str, arguments))}: {done.err}")

    for name in (*LIBRARIES, *(module for module, _ in COMMANDS.values())):
        importlib.import_module(name)
    make_films(folder / "films", n_patients=8)
    run("data", "read", "image_folder:films", "--patient-pattern", "(.*)_", "--out", "films.csv")
    run("data", "split", "films.csv", "--fractions", "0.4,0.3,0.3", "--out", "split.csv")
    run("data", "audit", "split.csv", "--json", "audit.json")
    run("train", "siamese", "--data", "split.csv", *TRAINING, *PROCESSOR, "--epochs", 2, "--out", "run")
    run("train", "siamese", "--data", "split.csv", *TRAINING, *PROCESSOR, "--epochs", 2, "--seed", 1, "--out", "other")
    run("train", "classifier", "--data", "split.csv", *CLASSIFIER, *PROCESSOR, "--epochs", 2, "--out", "classifier")
    run("episode-eval", "--checkpoint", "other", *TEST, *SMALL_EPISODES, "--json", "other.json")
    here = ("--episodes-file", "test.episodes", "--json", "run.json")
    run("episode-eval", "--checkpoint", "run", *TEST, *SMALL_EPISODES, *here)
    run("embed", "--checkpoint", "run", "--data", "split.csv", "--out", "all.safetensors")
    run("embed", "--checkpoint", "run", *TEST, "--out", "test.safetensors")
    run("evaluate", "--classifier", "classifier", *TEST, "--json", "closed.json")
    run("compare", "run.json", "other.json", "--json", "compare.json")

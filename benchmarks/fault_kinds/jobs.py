"""Commands that write, and whether what they have written is whole."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fault_kinds.attack import fingerprint
from fault_kinds.made import CLASSIFIER, PROCESSOR, SMALL_EPISODES, TEST, TRAINING
from fewshot_cxr import Embeddings, load_encoder


@dataclass(frozen=True)
class Job:
    """A command, and the flag and name of what it writes."""

    name: str
    arguments: tuple[object, ...]
    flag: str
    out: str

    def to(self, place: Path) -> tuple[object, ...]:
        """Return the command with its output in a folder."""
        return (*self.arguments, self.flag, place / self.out)


SIAMESE = ("train", "siamese", "--data", "split.csv", *TRAINING, *PROCESSOR)
PLAIN = ("train", "classifier", "--data", "split.csv", *CLASSIFIER, *PROCESSOR)
JOBS = (
    Job("train siamese", (*SIAMESE, "--epochs", 4), "--out", "r"),
    Job("train classifier", (*PLAIN, "--epochs", 3), "--out", "c"),
    Job("embed", ("embed", "--checkpoint", "run", "--data", "split.csv", *PROCESSOR), "--out", "e.safetensors"),
    Job("data split", ("data", "split", "films.csv", "--seed", 3), "--out", "s.csv"),
    Job("data read", ("data", "read", "image_folder:films"), "--out", "f.csv"),
    Job("data cache", ("data", "cache", "films.csv", "--image-size", 64, "--workers", 1), "--cache-dir", "decoded"),
    Job("data audit", ("data", "audit", "films.csv"), "--json", "a.json"),
    Job("evaluate", ("evaluate", "--classifier", "classifier", *TEST, *PROCESSOR), "--json", "v.json"),
    Job("episode-eval", ("episode-eval", "--checkpoint", "run", *TEST, *SMALL_EPISODES), "--json", "p.json"),
    Job("report", ("report", "closed.json", "run.json"), "--out", "page.html"),
)
CHANGING = {"seconds", "episodes_per_second", "made_by", "date", "command", "mtime_ns"}


def results(place: Path) -> dict[str, Any]:
    """Read all that lies in a folder, each file in its own way; a file that is not whole raises.

    Pages, pictures, logs and what the cache says are left out, and whatever says when and how fast.
    """
    found = {}
    for file in files_in(place):
        name = file.relative_to(place).as_posix()
        if name.startswith(("decoded/", "cache/")):
            continue
        if file.suffix == ".safetensors":
            found[name] = vars(Embeddings.load(file)) if file.name.startswith("e.") else _weights(file)
        elif file.suffix == ".json" and file.name != "made_by.json":
            found[name] = _without_times(json.loads(file.read_text(encoding="utf-8")))
        elif file.suffix == ".ckpt":
            state = torch.load(file, map_location="cpu", weights_only=True)
            found[name] = {key: state[key] for key in ("epoch", "global_step", "state_dict", "optimizer_states")}
        elif file.suffix == ".csv" and file.name != "history.csv":
            found[name] = file.read_text(encoding="utf-8").partition("\n")[2]
    return found


def prints(place: Path) -> dict[str, bytes]:
    """Return a fingerprint of each file of `results`."""
    return {name: fingerprint(value) for name, value in results(place).items()}


def files_in(place: Path) -> Iterator[Path]:
    """Yield the files of a folder in order; those in the making are none."""
    yield from (file for file in sorted(place.rglob("*")) if file.is_file() and file.suffix != ".part")


def parts_in(place: Path) -> list[str]:
    """Return the names of files in the making that were left behind."""
    return [file.name for file in place.rglob(".*.part")]


def _weights(file: Path) -> Any:
    net = load_encoder(file)
    return [net.state_dict(), net.recipe, _without_times(dict(net.card))]


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(one) for name, one in value.items() if name not in CHANGING}
    return [_without_times(one) for one in value] if isinstance(value, list) else value

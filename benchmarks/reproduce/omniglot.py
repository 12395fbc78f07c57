"""Omniglot as prototypical networks were measured on it: Vinyals' split, 28 px, rotations as classes, Conv4-64.

    FSCXR_DATA=DATA python benchmarks/reproduce/omniglot.py --out omniglot.json
    FSCXR_DATA=DATA python benchmarks/reproduce/omniglot.py --plain MINUTES --out plain.json
    FSCXR_DATA=DATA python benchmarks/reproduce/omniglot.py --network resnet9 --out resnet9.json
    FSCXR_DATA=DATA python benchmarks/reproduce/omniglot.py --stage choose --steps 400 --queries 5
    FSCXR_DATA=DATA python benchmarks/reproduce/omniglot.py --stage choose --plain 60 --until 0.98

DATA/omniglot holds the two zips of drawings, splits/vinyals/{train,val,trainval,test}.txt and one-shot-classification/.
Settings were chosen with `--stage choose`, which trains on `train` and is judged on `val`; `test` is looked at once,
by a network trained on `trainval`. There is no validation while it trains: the last epoch is kept.

`--plain` trains the same network for so many minutes in a plain loop of PyTorch as prototypical networks were
published: 60-way 1-shot episodes with five queries, Adam at 1e-3, halved every 2,000 episodes. Its drawings are decoded
before the clock starts; ours are decoded within its minutes. Start both at once with `--threads 1`, and they meet the
same machine. With `--until` it is judged every hundred steps, the clock stopped, and ends once 5-way 1-shot is that
accurate.

As in the publication a drawing and its rotations are four classes, a drawer may be in support and query, and an
episode's interval is over episodes alone.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from fewshot_cxr import ImageSpec, SiameseTrainer, build_encoder, embed, evaluate_episodes
from fewshot_cxr.data import Augmentation, cache_films
from fewshot_cxr.records import Record, Records
from fewshot_cxr.whole_files import write_json

SIZE, WIDTH = 28, 64
SPEC = ImageSpec(size_px=SIZE, mean=(1.0,), std=(1.0,))  # paper is 0, ink -1: what padding adds is paper
ASKED = ((5, 1), (5, 5), (20, 1), (20, 5))
DISTANCES = {"prototypical": "squared_euclidean", "supcon": "cosine"}
MOVED = Augmentation(rotation_degrees=10, shift=0.06, zoom=(0.9, 1.1), flip=0.0, gamma=(1.0, 1.0), stretch=0.1)


class Conv4(nn.Sequential):
    """Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", 2017, arXiv:1703.05175, section 3.1."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        blocks: list[nn.Module] = []
        for n_in in (1, WIDTH, WIDTH, WIDTH):
            # ReLU and maximum may change places, and after the maximum three quarters are gone.
            blocks += [nn.Conv2d(n_in, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.MaxPool2d(2), nn.ReLU()]
        super().__init__(*blocks, nn.Flatten())


def build_network(asked: argparse.Namespace) -> nn.Module:
    """Make the network as published, or this library's ResNet-9."""
    if asked.network == "conv4":
        return Conv4(asked.seed)
    torch.manual_seed(asked.seed)
    return build_encoder("resnet9", image_spec=SPEC, output="pooled")


def unpack(root: Path, folder: Path) -> dict[str, Records]:
    """Write each drawing in its four rotations, and return the films of each of Vinyals' parts."""
    parts = {name: (root / f"splits/vinyals/{name}.txt").read_text().split() for name in ("train", "val", "test")}
    part_of = {line: part for part, lines in parts.items() for line in lines}
    films: dict[str, list[Record]] = {part: [] for part in parts}
    for archive in ("images_background", "images_evaluation"):
        with zipfile.ZipFile(root / f"{archive}.rezipped.zip") as file:
            for name in sorted(name for name in file.namelist() if name.endswith(".png")):
                _, alphabet, character, drawing = name.split("/")
                with file.open(name) as opened, Image.open(opened) as image:
                    pixels = np.asarray(image.convert("L"))
                for turns in range(4):
                    finding = f"{alphabet}/{character}/rot{90 * turns:03d}"
                    path = f"{finding}/{drawing}"
                    if not (folder / path).exists():
                        (folder / path).parent.mkdir(parents=True, exist_ok=True)
                        Image.fromarray(np.rot90(pixels, turns)).save(folder / path)
                    films[part_of[finding]].append(Record(path, (finding.replace("/", "-"),), patient_id=path))
    return {part: Records(tuple(each), folder) for part, each in films.items()}


def ours(train: Records, cache: Path, asked: argparse.Namespace) -> nn.Module:
    """Train with this library's trainer, in episodes of one support drawing a character."""
    # One drawing of two characters cannot make an episode, so that nothing is validated and the last epoch is kept.
    names = {next(film.path for film in train if film.finding == finding) for finding in train.findings[:2]}
    trainer = SiameseTrainer(
        encoder=build_network(asked),
        image_spec=SPEC,
        loss=asked.loss,
        distance=DISTANCES[asked.loss],
        sampler="episodic",
        n_way=asked.ways,
        batch_size=asked.ways * (1 + asked.queries),
        n_epochs=10,
        n_batches=max(1, asked.steps // 10),
        optimizer="adam",
        lr=asked.lr,
        weight_decay=0.0,
        clip_norm=None,
        averaging=0.99,
        augmentation=MOVED,
        precision="32-true",
        seed=asked.seed,
        device="cpu",
        cache_folder=cache,
        n_workers=asked.threads,
    )
    parts = train.where(lambda film: film.path not in names), train.where(lambda film: film.path in names)
    return trainer.fit(*parts, progress=None).encoder


def plain(
    train: Records, cache: Path, asked: argparse.Namespace, is_enough: Callable[[nn.Module], bool]
) -> tuple[nn.Module, int, float]:
    """Train as published, in a loop of PyTorch; returns network, steps and minutes."""
    pixels = torch.from_numpy(cache_films(train, SPEC, folder=cache).rows(np.arange(len(train))))
    class_ids = np.unique([film.finding for film in train], return_inverse=True)[1]
    of_class = [np.flatnonzero(class_ids == each) for each in range(class_ids.max() + 1)]
    network, draw = Conv4(asked.seed).to(memory_format=torch.channels_last), np.random.default_rng(asked.seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    halving = torch.optim.lr_scheduler.StepLR(optimizer, 2_000, 0.5)
    n_way, labels = asked.ways, torch.arange(asked.ways).repeat_interleave(5)
    start, n_steps = perf_counter(), 0
    while (seconds := perf_counter() - start) < 60 * asked.plain:
        if n_steps and n_steps % 100 == 0:
            if is_enough(network.eval()):
                break
            network.train()
            start = perf_counter() - seconds
        ways = draw.choice(len(of_class), n_way, replace=False)
        rows = np.stack([draw.choice(of_class[way], 6, replace=False) for way in ways])
        images = pixels[torch.from_numpy(rows.ravel())].view(-1, 1, SIZE, SIZE) / 255 - 1
        vectors = network(images.to(memory_format=torch.channels_last)).view(n_way, 6, -1)
        distances = torch.cdist(vectors[:, 1:].reshape(5 * n_way, -1), vectors[:, 0]) ** 2
        optimizer.zero_grad()
        functional.cross_entropy(-distances, labels).backward()
        optimizer.step()
        halving.step()
        n_steps += 1
    return network.eval(), n_steps, seconds / 60


def judged(network: nn.Module, films: Records, cache: Path, *, distance: str, n_episodes: int) -> dict[str, Any]:
    """Answer episodes of each kind by the nearest prototype."""
    vectors = embed(network, films, image_spec=SPEC, device="cpu", cache_folder=cache, progress=None)
    found = {}
    for n_way, n_shot in ASKED:
        result = evaluate_episodes(
            vectors,
            n_way=n_way,
            n_shot=n_shot,
            n_query=5,
            n_episodes=n_episodes,
            rule="prototype",
            distance=distance,
            seed=0,
            progress=None,
        ).to_json()["accuracy"]
        found[f"{n_way}way{n_shot}shot"] = {
            "accuracy": result["mean"],
            "ci95_episodes": result["ci95_episodes"],
            "n_episodes": n_episodes,
        }
    return found


def lake(network: nn.Module, root: Path, cache: Path, distance: str, trained: Records) -> dict[str, Any]:
    """Answer Lake's 20 runs, 20-way 1-shot, and count their characters that the network was trained on."""
    folder = root / "one-shot-classification"
    known = {_digest(trained.file(film)) for film in trained if film.finding.endswith("rot000")}
    right = n_known = n_asked = 0
    for run in sorted(path.parent for path in folder.glob("**/run*/class_labels.txt")):
        pairs = [line.split() for line in (run / "class_labels.txt").read_text().splitlines()]
        files = [test for test, _ in pairs] + sorted(train for _, train in pairs)
        films = Records(tuple(Record(file, ("drawing",), patient_id=file) for file in files), run.parent)
        vectors = embed(network, films, image_spec=SPEC, device="cpu", cache_folder=cache, progress=None).vectors
        if distance == "cosine":
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        tests, trains = vectors[: len(pairs)], vectors[len(pairs) :]
        nearest = np.square(tests[:, None] - trains[None]).sum(axis=2).argmin(axis=1)
        right += sum(files[len(pairs) + at] == train for at, (_, train) in zip(nearest, pairs, strict=True))
        n_known += sum(_digest(run.parent / train) in known for _, train in pairs)
        n_asked += len(pairs)
    return {"accuracy": right / n_asked, "n_asked": n_asked, "n_characters_trained_on": n_known}


def _digest(file: Path) -> str:
    with Image.open(file) as image:
        return hashlib.sha256(np.asarray(image.convert("L")).tobytes()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Unpack, train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4_500, help="training episodes")
    parser.add_argument("--loss", default="prototypical", choices=sorted(DISTANCES))
    parser.add_argument("--network", default="conv4", choices=("conv4", "resnet9"))
    parser.add_argument("--ways", type=int, default=60, help="characters in a training episode")
    parser.add_argument("--queries", type=int, default=2, help="of each of them")
    parser.add_argument("--lr", type=float, default=6e-3, help="at the peak of its schedule")
    parser.add_argument("--stage", choices=("choose", "test"), default="test", help="choose: train, judged on val")
    parser.add_argument("--plain", type=float, metavar="MINUTES", help="a plain loop of Conv4 for so long instead")
    parser.add_argument("--until", type=float, metavar="ACCURACY", help="end the plain loop once it is that accurate")
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, help="keep unpacked drawings here")
    parser.add_argument("--out", type=Path, help="write the result here")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    root = Path(os.environ.get("FSCXR_DATA", "")) / "omniglot"
    if not root.is_dir():
        print(f"no drawings at {root}: set FSCXR_DATA", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as place:
        folder = asked.folder or Path(place)
        films = unpack(root, folder)
        is_test = asked.stage == "test"
        train = Records((*films["train"], *films["val"]), folder) if is_test else films["train"]
        test = films["test" if is_test else "val"]
        start = perf_counter()
        distance = DISTANCES["prototypical" if asked.plain else asked.loss]

        def judge(network: nn.Module) -> dict[str, Any]:
            return judged(network, test, folder / "cache", distance=distance, n_episodes=asked.episodes)

        def is_enough(network: nn.Module) -> bool:
            return asked.until is not None and judge(network)["5way1shot"]["accuracy"] >= asked.until

        if asked.plain:
            network, n_steps, minutes = plain(train, folder / "cache", asked, is_enough)
        else:
            network, n_steps = ours(train, folder / "cache", asked), asked.steps
            minutes = (perf_counter() - start) / 60
        found = judge(network)
        result: dict[str, Any] = {name: {**row, "minutes": minutes} for name, row in found.items()}
        result["lake20"] = lake(network, root, folder / "cache", distance, train)
        result["steps"] = n_steps
    result["run"] = {
        **{name: value for name, value in vars(asked).items() if name not in ("folder", "out")},
        "n_processors": os.cpu_count(),
        "machine": platform.machine(),
        "date": date.today().isoformat(),
    }
    print(json.dumps(result, indent=2))
    if asked.out:
        write_json(asked.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())

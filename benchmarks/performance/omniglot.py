"""5-way 1-shot Omniglot: `fit` against the same recipe in plain PyTorch, to an accuracy of 98 % or for so many steps.

    FSCXR_DATA=DATA python benchmarks/performance/omniglot.py [--device cuda] [--steps 60] [--json FILE] [--smoke]

The recipe is that of prototypical networks: four blocks of convolution, 28 px, episodes of 20 characters with one
drawing each and five queries, Adam. The plain way opens each drawing by Pillow when a batch needs it, as the usual
tutorials do; `fit` decodes each once. With --steps 4000 and a quiet machine both come to 98 %; `make bench` measures
the first steps, whose ratio is that of the whole, since both take the same steps, and says what they have reached.
"""

import os
import sys
import tempfile
import zipfile
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from PIL import Image
from question import Answer, Mark, settings, tell
from torch import Tensor, nn
from torch.nn import functional

from fewshot_cxr import ImageSpec, SiameseTrainer, embed, evaluate_episodes
from fewshot_cxr.inference import choose_device
from fewshot_cxr.records import Record, Records

ALPHABETS, SIZE, N_WAY, N_QUERY = 10, 28, 20, 5
ARCHIVE = Path("omniglot") / "images_background.rezipped.zip"


class Conv4(nn.Sequential):
    """Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", 2017, arXiv:1703.05175, section 3.1."""

    def __init__(self, width: int = 64) -> None:
        torch.manual_seed(0)
        blocks = []
        for n_in in (1, width, width, width):
            blocks += [nn.Conv2d(n_in, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        super().__init__(*blocks, nn.Flatten())


def drawings(folder: Path, n_characters: int | None) -> Records:
    """Unpack drawings, 20 of each character; each counts as its own patient."""
    archive = Path(os.environ.get("FSCXR_DATA", "")) / ARCHIVE
    if archive.is_file():
        with zipfile.ZipFile(archive) as file:
            names = sorted(name for name in file.namelist() if name.endswith(".png"))
            chosen = sorted({name.rpartition("/")[0] for name in names})[:n_characters]
            names = [name for name in names if name.rpartition("/")[0] in set(chosen)]
            file.extractall(folder, names)
    else:
        draw, names = np.random.default_rng(0), []
        for character in range(n_characters or 60):
            strokes = draw.random((7, 7)) > 0.6
            for copy in range(20):
                names.append(f"made/{character:03d}/{copy}.png")
                (folder / names[-1]).parent.mkdir(parents=True, exist_ok=True)
                noisy = np.kron(strokes ^ (draw.random((7, 7)) > 0.95), np.ones((15, 15)))
                Image.fromarray((255 * noisy).astype(np.uint8)).save(folder / names[-1])
    films = [Record(name, (name.rpartition("/")[0].replace("/", "_"),), patient_id=name) for name in names]
    return Records(tuple(films), folder)


def plain(train: Records, n_steps: int, device: torch.device) -> nn.Module:
    """Train as a tutorial does: each drawing opened when its batch comes."""
    network, draw = Conv4().to(device), np.random.default_rng(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    of_class: dict[str, list[Path]] = {}
    for film in train:
        of_class.setdefault(film.finding, []).append(train.file(film))
    names = sorted(of_class)
    for _ in range(n_steps):
        ways = draw.choice(len(names), N_WAY, replace=False)
        files = [draw.choice(of_class[names[way]], 1 + N_QUERY, replace=False) for way in ways]
        images = torch.stack([_opened(file) for own in files for file in own]).to(device)
        embeddings = network(images).view(N_WAY, 1 + N_QUERY, -1)
        queries = embeddings[:, 1:].reshape(N_WAY * N_QUERY, -1)
        labels = torch.arange(N_WAY, device=device).repeat_interleave(N_QUERY)
        loss = functional.cross_entropy(-(torch.cdist(queries, embeddings[:, 0]) ** 2), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def _opened(file: Path) -> Tensor:
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32)
    return torch.from_numpy(pixels / 255).unsqueeze(0)


def accuracy(network: nn.Module, test: Records, device: str, cache: Path) -> float:
    """Return the 5-way 1-shot accuracy over 1,000 episodes of characters that nobody was trained on."""
    vectors = embed(network, test, image_spec=ImageSpec(size_px=SIZE), device=device, cache_folder=cache, progress=None)
    found = evaluate_episodes(
        vectors, n_way=5, n_shot=1, n_query=5, n_episodes=1_000, rule="prototype", distance="euclidean", progress=None
    )
    return float(found.to_json()["accuracy"]["mean"])


def main() -> int:
    """Train both ways, judge both, tell the table."""
    parser = settings(__doc__)
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    n_steps, n_characters = (4, 60) if arguments.smoke else (arguments.steps, 400)
    with tempfile.TemporaryDirectory() as place:
        folder, cache = Path(place), Path(place) / "cache"
        films = drawings(folder, n_characters)
        names = films.findings
        known = set(names[: -len(names) // 4])
        train, test = (
            films.where(lambda film: film.finding in known),
            films.where(lambda film: film.finding not in known),
        )
        trainer = SiameseTrainer(
            encoder=Conv4(),
            image_spec=ImageSpec(size_px=SIZE, mean=(0.0,), std=(1.0,)),
            loss="prototypical",
            distance="squared_euclidean",
            n_way=N_WAY,
            batch_size=N_WAY * (1 + N_QUERY),
            n_epochs=1,
            n_batches=n_steps,
            optimizer="adam",
            lr=1e-3,
            weight_decay=0.0,
            clip_norm=None,
            averaging=None,
            schedule="constant",
            augmentation=None,
            precision="32-true",
            device=arguments.device,
            cache_folder=cache,
            val_fraction=0.1,  # so that an episode finds six drawings of each character
        )
        start = perf_counter()
        other = plain(train, n_steps, choose_device(arguments.device))
        middle = perf_counter()
        ours = trainer.fit(train, progress=None).encoder
        seconds = {"plain PyTorch": middle - start, "fit, decoding and validation included": perf_counter() - middle}
        reached = [accuracy(network.cpu(), test, arguments.device, cache) for network in (other, ours)]
    share = seconds["fit, decoding and validation included"] / seconds["plain PyTorch"]
    rows = [(way, f"{each:.1f} s", f"{got:.1%}") for (way, each), got in zip(seconds.items(), reached, strict=True)]
    kind = "characters of Omniglot" if "made/" not in films[0].path else "made-up characters (no FSCXR_DATA)"
    told = f"{n_steps} episodes of {N_WAY}; 1,000 test episodes, 5-way 1-shot."
    note = f"{len(known)} {kind} to train on, {told}"
    marks = [Mark(f"time of {n_steps} steps, of plain PyTorch", share, 0.5, at_most=True)]
    title = "5-way 1-shot Omniglot: the same recipe, the same steps"
    tell(Answer(title, ("way", "time", "accuracy"), rows, marks, note), arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

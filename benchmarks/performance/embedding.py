"""How long embedding films from disk takes, the first and the second time, beside other loops with as many workers.

The second time the features are found beside the decoded films; another network finds the decoded films alone.

    python benchmarks/performance/embedding.py [--films 2000] [--size 512]

The encoder is the same for all, ResNet-9 with random weights, and so are the films and how they are prepared. Each way
is measured in a process of its own.
"""

import os
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from beside import Peer
from made_films import write_films
from question import Answer, Mark, ratio, seconds_in_turn, settings, tell

OURS, SIDE, FIRST, SECOND = "fewshot_cxr", 96, 1.5, 3.0

# argv: folder of films, cache folder, device, number of the run
OUR_CODE = f"""
import shutil
from pathlib import Path
from fewshot_cxr import ImageSpec, build_encoder, embed
from fewshot_cxr.records import Record, Records

folder, cache, device = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
names = sorted(file.name for file in folder.iterdir())
films = Records(tuple(Record(name, (f"finding{{row % 4}}",)) for row, name in enumerate(names)), folder)
encoder = build_encoder("resnet9", image_spec=ImageSpec(size_px={SIDE}))

def work():
    embed(encoder, films, cache_folder=cache, device=device, progress=None)
"""
FORGETTING = (
    OUR_CODE
    + """
remembering = work

def work():
    shutil.rmtree(cache, ignore_errors=True)
    remembering()
"""
)
ANOTHER = (
    OUR_CODE
    + """
remembering = work

def work():
    for folder in cache.rglob("features-*"):
        shutil.rmtree(folder)
    remembering()
"""
)
PLAIN = f"""
import os
import numpy as np
import torch
from pathlib import Path
from PIL import Image
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, sys.argv[4])
from fewshot_cxr import ImageSpec, build_encoder

folder, device = Path(sys.argv[1]), sys.argv[3]
files, n_workers = sorted(folder.iterdir()), os.cpu_count()

class Films(Dataset):
    def __len__(self):
        return len(files)

    def __getitem__(self, row):
        with Image.open(files[row]) as picture:
            small = picture.convert("L").resize(({SIDE}, {SIDE}), Image.Resampling.BILINEAR)
        return (torch.from_numpy(np.asarray(small, np.float32))[None] / 255 - 0.5) / 0.25, row % 4

module = build_encoder("resnet9", image_spec=ImageSpec(size_px={SIDE})).eval().to(device)
"""
LOADER = (
    PLAIN
    + """
def work():
    with torch.inference_mode():
        torch.cat([module(images.to(device)).cpu() for images, _ in DataLoader(Films(), 128, num_workers=n_workers)])
"""
)
METRIC_LEARNING = (
    PLAIN
    + """
from pytorch_metric_learning.testers import GlobalEmbeddingSpaceTester

tester = GlobalEmbeddingSpaceTester(batch_size=128, dataloader_num_workers=n_workers, data_device=device)
tester.tqdm = None

def work():
    tester.get_all_embeddings(Films(), module, torch.nn.Identity(), return_as_numpy=True)
"""
)
OPEN_METRIC_LEARNING = (
    PLAIN
    + """
from oml.inference import inference

class Named(Films):
    input_tensors_key, index_key = "input_tensors", "idx"

    def __getitem__(self, row):
        return {"input_tensors": super().__getitem__(row)[0], "idx": row}

def work():
    inference(module, Named(), batch_size=128, num_workers=n_workers)
"""
)
EASYFSL = (
    PLAIN
    + """
from easyfsl.utils import predict_embeddings

def work():
    predict_embeddings(DataLoader(Films(), 128, num_workers=n_workers), module, device=device)
"""
)
PEERS = {
    "torchvision DataLoader": LOADER,
    "pytorch-metric-learning get_all_embeddings": METRIC_LEARNING,
    "open-metric-learning inference": OPEN_METRIC_LEARNING,
    "easyfsl predict_embeddings": EASYFSL,
}


def main() -> None:
    parser = settings(__doc__)
    parser.add_argument("--films", type=int, default=2000)
    parser.add_argument("--size", type=int, default=512, help="side of the films in pixels")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.films, arguments.size = 24, 128
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_films(folder / "films", arguments.films, size_px=arguments.size)
        home = Path(__file__).resolve().parents[2]
        start = partial(_peer, folder, arguments.device, home)
        ways = {f"{OURS}, first time": start(FORGETTING, "anew"), f"{OURS}, second time": start(OUR_CODE, "kept")}
        ways[f"{OURS}, another network"] = start(ANOTHER, "decoded")
        ways |= {name: start(code, "") for name, code in PEERS.items()}
        there = {name: way for name, way in ways.items() if way.is_there}
        found = seconds_in_turn(dict(there), arguments.repeats)
        for way in ways.values():
            way.end()
    tell(_answer(found, list(ways), arguments.films, arguments.size), arguments.json)


def _peer(folder: Path, device: str, home: Path, code: str, cache: str) -> Peer:
    beside = f"sys.path.insert(0, {str(home)!r})\n"
    return Peer(beside + code, folder / "films", folder / cache, device, home)


def _answer(found: dict[str, list[float]], names: list[str], n_films: int, size_px: int) -> Answer:
    first, second = names[:2]
    best = min((name for name in PEERS if name in found), key=lambda name: median(found[name]))
    rows = []
    for name in names:
        seconds = found.get(name)
        told = ["not installed", "", ""]
        if seconds is not None:
            speed = n_films / median(seconds)
            told = [f"{median(seconds):.2f} s", f"{speed:,.0f}", f"{ratio(seconds, found[first]):.2f}"]
        rows.append([name, *told])
    marks = [
        Mark(f"first time beside {best}, the best", ratio(found[best], found[first]), FIRST),
        Mark("second time beside it", ratio(found[best], found[second]), SECOND),
    ]
    note = (
        f"{n_films:,} JPEG films of {size_px} px, ResNet-9 at {SIDE} px, {os.cpu_count()} workers each; imports and "
        f"one pass before are not counted, and the film cache of the first time is removed each time"
    )
    return Answer("Embedding films from disk", ["way", "all films", "films/s", "of our first time"], rows, marks, note)


if __name__ == "__main__":
    main()

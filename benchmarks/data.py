"""What films cost: the cache, waiting for batches, memory, and the reader of a large table.

    python benchmarks/data.py [--films 512] [--rows 112120]

Films are synthetic, 512 px PNG, seed 0. Compare numbers of one run with each other, not with another day's.
"""

import argparse
import csv
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fewshot_cxr import ImageSpec, build_encoder, read_dataset
from fewshot_cxr.data import XrayDataset, cache_films
from fewshot_cxr.data.synthetic import SCANNERS, SYNTHETIC_FINDINGS, draw_film
from fewshot_cxr.records import Record, Records
from fewshot_cxr.samplers import BalancedBatchSampler
from fewshot_cxr.training.batches import BatchLoader

FINDING, SOURCE = SYNTHETIC_FINDINGS[0], next(iter(SCANNERS))
DRAWN = 32  # that many different films; the others are these with other low bits, so that no two files are equal


def make_films(folder: Path, n_films: int) -> Records:
    films = []
    drawn = [draw_film(FINDING, seed=0, patient=number, film=0, source=SOURCE, size_px=512) for number in range(DRAWN)]
    for number in range(n_films):
        noise = np.random.default_rng(number).integers(0, 2, drawn[0].shape, dtype=np.uint8)
        Image.fromarray((drawn[number % DRAWN] & 254) | noise).save(folder / f"{number:06d}.png", compress_level=1)
        films.append(Record(f"{number:06d}.png", (f"finding{number % 4}",), patient_id=f"p{number // 2}"))
    return Records(tuple(films), folder)


def best_of(n_repeats: int, work) -> float:
    seconds = []
    for _ in range(n_repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def decode(records: Records, rows: np.ndarray, size_px: int) -> np.ndarray:
    films = [Image.open(records.file(records[row])).convert("L").resize((size_px, size_px)) for row in rows]
    return np.stack([np.asarray(film) for film in films])


def batches(records: Records, place: Path) -> None:
    films = cache_films(records, ImageSpec(size_px=224), folder=place / "batches")
    rows = np.random.default_rng(0).permutation(len(records))[:64]
    cached, decoded = best_of(20, partial(films.rows, rows)), best_of(3, partial(decode, records, rows, 224))
    line("64 films at 224 px, from the cache", f"{1000 * cached:.2f} ms")
    line("the same, decoded by Pillow", f"{1000 * decoded:.0f} ms", f"{decoded / cached:.0f} x as long")


def waiting(records: Records, place: Path) -> None:
    """A training loop by hand, so that waiting for a batch and working on it can be told apart."""
    spec = ImageSpec(size_px=96)
    films = cache_films(records, spec, folder=place / "waiting")
    dataset = XrayDataset(films, films.records.findings)
    loader = BatchLoader(dataset, BalancedBatchSampler(dataset.class_ids, dataset.group_ids, batch_size=48, seed=0))
    encoder = build_encoder("resnet9", image_spec=spec).to(memory_format=torch.channels_last)
    waited = worked = 0.0
    end = time.perf_counter()
    for batch in loader:
        begin = time.perf_counter()
        images = batch[0].float().div(255).reshape(-1, 1, 96, 96).to(memory_format=torch.channels_last)
        encoder(images).square().sum().backward()
        waited, worked, end = waited + begin - end, worked + time.perf_counter() - begin, time.perf_counter()
    line("waiting for a batch, resnet9 at 96 px", f"{100 * waited / (waited + worked):.2f} % of a step")


def memory(records: Records, place: Path) -> None:
    """Peak memory of a process that caches the films and reads all of them, for a quarter of them and for all."""
    code = (
        "import resource, sys, numpy as np; from pathlib import Path; from fewshot_cxr import ImageSpec\n"
        "from fewshot_cxr.data import cache_films; from fewshot_cxr.records import Record, Records\n"
        "folder, cache, n = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])\n"
        "films = tuple(Record(f'{i:06d}.png', ('x',)) for i in range(n))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = cache_films(Records(films, folder), ImageSpec(size_px=96), folder=cache)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)"
    )
    for n_films in (len(records) // 4, len(records)):
        command = [sys.executable, "-c", code, str(records.root), str(place / f"memory{n_films}"), str(n_films)]
        used = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        line(f"peak above the imports, caching {n_films}", f"{used:.0f} MiB")


def large_table(place: Path, n_rows: int) -> None:
    """A ChestX-ray14 of twelve folders, each file one byte: what is timed is the table and the listing."""
    root = place / "chestxray14"
    folders = [root / f"images_{part:03d}" / "images" for part in range(1, 13)]
    for folder in folders:
        folder.mkdir(parents=True)
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    with (root / "Data_Entry_2017.csv").open("w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened)
        table.writerow([*head.split(","), "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]", ""])
        for row in range(n_rows):
            name = f"{row // 4 + 1:08d}_{row % 4:03d}.png"
            (folders[row * 12 // n_rows] / name).write_bytes(b"x")
            table.writerow([name, "Effusion|Mass" if row % 3 else "No Finding", row % 4, row // 4 + 1, 50, "M", "PA"])
    seconds = best_of(3, partial(read_dataset, "chestxray14", root))
    line(f"chestxray14, {n_rows:,} rows", f"{seconds:.2f} s")


def line(what: str, value: str, note: str = "") -> None:
    print(f"{what:42s} {value:>18s}  {note}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=512)
    parser.add_argument("--rows", type=int, default=112_120)
    arguments = parser.parse_args()
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {arguments.films} synthetic films, seed 0")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "films").mkdir()
        records = make_films(place / "films", arguments.films)
        batches(records, place)
        waiting(records, place)
        memory(records, place)
        large_table(place, arguments.rows)
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()

"""Seconds to find the close pairs among many hashes of films, to confirm a candidate, and to tell look-alike films.

    FSCXR_DATA=/folder/of/films python benchmarks/near_duplicates.py [--hashes 100000]

The hashes are drawn from those of real films (synthetic ones where FSCXR_DATA names none), each with some bits flipped
at random: so their bits hang together as those of chests do. Independent bits would be far easier. The look-alike films
are the 1,534 that `make demo` draws, of which an eighth of all pairs are candidates.
"""

import argparse
import os
import platform
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

from fewshot_cxr.data import is_image_name, read_gray
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.evaluation.audit.near_duplicates import confirm, fingerprint, near_duplicates
from fewshot_cxr.evaluation.audit.perceptual_hash import candidate_pairs

SETS = ("cxr3", "cxr_ieee8023")
FLIPS = (0, 3, 8)
N_CONFIRMED = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        origin, files = film_files(Path(folder))
        films = [read_gray(file) for file in files]
    start = time.perf_counter()
    prints = [fingerprint(gray) for gray in films]
    seconds = time.perf_counter() - start
    hashes, small = np.stack([one for one, _ in prints]), np.stack([film for _, film in prints])
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {len(films)} {origin} films")
    print(f"fingerprint {1e3 * seconds / len(films):.2f} ms a film")
    pairs, _ = candidate_pairs(hashes)
    chosen = pairs[:N_CONFIRMED]
    start = time.perf_counter()
    for first in range(0, len(chosen), 128):
        confirm(small, chosen[first : first + 128])
    seconds = time.perf_counter() - start
    n_all = len(films) * (len(films) - 1) // 2
    print(f"{len(pairs)} candidates of {n_all} pairs, {1e3 * seconds / max(len(chosen), 1):.2f} ms a candidate")
    print(f"{'hashes':>8s} {'flips':>6s} {'candidates':>11s} {'seconds':>8s}")
    for n_flips in FLIPS:
        drawn = resample(hashes, arguments.hashes, n_flips)
        start = time.perf_counter()
        n_candidates = len(candidate_pairs(drawn)[0])
        seconds = time.perf_counter() - start
        print(f"{len(drawn):8d} {n_flips:6d} {n_candidates:11d} {seconds:8.1f}", flush=True)
    show_look_alikes()


def show_look_alikes() -> None:
    with tempfile.TemporaryDirectory() as folder:
        records = make_synthetic(folder, n_patients=100, seed=0)
        prints = [fingerprint(read_gray(records.file(film))) for film in records]
    hashes, small = (np.stack(column) for column in zip(*prints, strict=True))
    n_candidates = len(candidate_pairs(hashes)[0])
    clock, processor = time.perf_counter(), time.process_time()
    found = near_duplicates(hashes, small)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    print(f"{len(hashes)} look-alike films, {n_candidates} candidates: {len(found)} pairs in {clock:.1f} s", end="")
    print(f", {processor:.1f} s of the processor")


def film_files(folder: Path) -> tuple[str, list[Path]]:
    root = os.environ.get("FSCXR_DATA")
    if root:
        files = [file for name in SETS for file in sorted((Path(root) / name).rglob("*")) if is_image_name(file.name)]
        if files:
            return "real", files
    records = make_synthetic(folder, n_patients=60)
    return "synthetic", [folder / film.path for film in records]


def resample(hashes: np.ndarray, n_hashes: int, n_flips: int) -> np.ndarray:
    draw = np.random.default_rng(0)
    drawn = draw.choice(hashes, n_hashes)
    for _ in range(n_flips):
        drawn ^= np.uint64(1) << draw.integers(0, 64, drawn.shape, dtype=np.uint64)
    return drawn


if __name__ == "__main__":
    main()

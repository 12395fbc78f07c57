"""What a hundred million films would cost: sampler, splitter, episodes, audit hashes and index, grown until it shows.

    python benchmarks/scale_simulation.py [--films 100000000] [--largest 1000000] [--only STAGE ...] [--json FILE]

Each stage runs at growing numbers of films, in a process of its own, on what it needs of a film: labels, records, a
hash, a short vector. Seconds and the peak of memory are measured up to `--largest`; the last column but one of each
row is extrapolated, and says by which power: that of the last two sizes measured, at least 1. With `--largest` as large
as `--films` nothing is extrapolated. Hashes are random bits with few close pairs; real films have more.
"""

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from time import perf_counter

import numpy as np

DIM, CODE, CLASSES, N_SHARDS = 16, 4, 15, 8
STEP, N_SIZES, FEW = 4, 3, 4_000
Numbers = dict[str, float]


def sampler(n: int, folder: Path) -> Callable[[], object]:
    """A thousand batches of 96 films."""
    from fewshot_cxr.samplers import BalancedBatchSampler

    class_ids, patients = np.arange(n) % CLASSES, np.arange(n) // 2
    return lambda: sum(map(len, BalancedBatchSampler(class_ids, patients, batch_size=96, n_batches=1000)))


def splitter(n: int, folder: Path) -> Callable[[], object]:
    """Records in memory, divided by patient."""
    from fewshot_cxr import split_by_patient
    from fewshot_cxr.records import Record, Records

    def work() -> object:
        films = (Record(f"{row}.png", (f"finding {row % CLASSES}",), patient_id=f"p{row // 2}") for row in range(n))
        return split_by_patient(Records(tuple(films), Path()), seed=0)

    return work


def episodes(n: int, folder: Path) -> Callable[[], object]:
    """A thousand episodes, 5 out of 15 classes, 5 shots, 15 queries, with all numbers."""
    from fewshot_cxr import Embeddings, evaluate_episodes

    draw = np.random.default_rng(0)
    films = Embeddings(draw.standard_normal((n, DIM), dtype=np.float32), np.arange(n) % CLASSES, np.arange(n) // 2)
    shape = {"n_way": 5, "n_shot": 5, "n_query": 15, "n_episodes": 1000}
    return lambda: evaluate_episodes(films, **shape, seed=0, device="cpu", progress=None)


def hashes(n: int, folder: Path) -> Callable[[], object]:
    """Close pairs among the two hashes of each film; one of a thousand has a near copy."""
    from fewshot_cxr.evaluation.audit.perceptual_hash import candidate_pairs

    drawn = np.random.default_rng(0).integers(0, 2**64, (n, 2), dtype=np.uint64)
    drawn[: n // 1000] = drawn[n // 2 : n // 2 + n // 1000] ^ np.uint64(0b1001)
    return lambda: candidate_pairs(drawn)


def index(n: int, folder: Path) -> Callable[[], object]:
    """Files of embeddings, coded and merged on the disk."""
    from fewshot_cxr import Embeddings
    from fewshot_cxr.inference.bank import build_on_disk

    draw, files = np.random.default_rng(0), [folder / f"{part}.safetensors" for part in range(N_SHARDS)]
    centres = 3 * draw.standard_normal((300, DIM), dtype=np.float32)
    for file in files:
        own = n // N_SHARDS
        vectors = centres[draw.integers(0, 300, own)] + draw.standard_normal((own, DIM), dtype=np.float32)
        Embeddings(vectors, np.zeros(own, dtype=int)).save(file)
    return lambda: build_on_disk(files, folder / "index", code_bytes=CODE)


STAGES = {"sampler": sampler, "splitter": splitter, "episodes": episodes, "hashes": hashes, "index": index}


def alone(stage: str, n: int) -> Numbers:
    """Seconds of a stage, and the megabytes by which it raised the peak."""
    with tempfile.TemporaryDirectory() as folder:
        STAGES[stage](FEW, Path(folder))()  # what is loaded for any number of films is not in it
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work = STAGES[stage](n, Path(folder))
        start = perf_counter()
        work()
        seconds = perf_counter() - start
    return {"seconds": seconds, "megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def measured(stage: str, n: int) -> Numbers:
    """Run a stage in a process of its own."""
    command = [sys.executable, __file__, "--alone", stage, str(n)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: Numbers = json.loads(done.stdout.splitlines()[-1])
    return found


def at(n: int, sizes: list[int], values: list[float]) -> tuple[float, float]:
    """Extrapolate to n films, and say by which power of their number."""
    power = math.log(max(values[-1], 1e-9) / max(values[-2], 1e-9)) / math.log(sizes[-1] / sizes[-2])
    power = max(1.0, power)
    return values[-1] * (n / sizes[-1]) ** power, power


def told(seconds: float) -> str:
    """Say how long it is."""
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 3600:,.1f} h"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=100_000_000)
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", nargs=2, metavar=("STAGE", "FILMS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.alone[0], int(options.alone[1]))))
        return
    sizes, n = [options.largest // STEP**step for step in reversed(range(N_SIZES))], options.films
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, seed 0, vectors of {DIM}\n")
    heads = ["stage", *(f"{size:,}" for size in sizes), f"{n:,}, extrapolated", "seconds grow as", "memory grows as"]
    print(f"| {' | '.join(heads)} |\n| --- |{' ---: |' * (len(heads) - 1)}")
    kept: dict[str, list[Numbers]] = {}
    for stage in options.only:
        kept[stage] = found = [measured(stage, size) for size in sizes]
        seconds, power = at(n, sizes, [one["seconds"] for one in found])
        memory, by = at(n, sizes, [one["megabytes"] for one in found])
        cells = [f"{told(one['seconds'])}, {one['megabytes']:,.0f} MB" for one in found]
        if options.largest < n:
            cells.append(f"{told(seconds)}, {memory / 1000:,.1f} GB")
        print(f"| {' | '.join([stage, *cells, f'n^{power:.2f}', f'n^{by:.2f}'])} |", flush=True)
        if options.json:
            options.json.write_text(json.dumps({"sizes": sizes, "found": kept}))


if __name__ == "__main__":
    main()

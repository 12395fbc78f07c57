"""How fast the nearest of many vectors are found, by an index, by NumPy and by scikit-learn, and a bank of them read.

    python benchmarks/bank.py [--sizes 10000 100000 1000000] [--dim 128] [--threads 1] [--only PART] [--markdown]

Vectors are drawn by a seed: 15 findings of 20 heaps each, which lie in 24 of the directions, with some noise in all, as
embeddings do. They lie in a file that is memory-mapped. Each way runs in a process of its own, which builds, answers
1,000 queries one by one (fewer where that takes longer than 2 seconds) and then by hundreds. Memory is the process's
own after that, less what it had before: pages of the mapped file, which the system may drop, are not in it. The recall
is that of the ten nearest of 200 queries that are none of the vectors, against all distances in 64 bits. Seconds of one
thread are those of the processor, which other work on the machine hardly changes; of several, those on the clock.

Then the same vectors are the exemplars of a bank's file, two of each patient, which `SupportBank.load` reads and
`fscxr bank show` shows, each in a process of its own. Memory of its own is what it keeps; the peak is what the system
counts at most, with pages of the mapped file, less what it had before. Linux only.
"""

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import date
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

FINDINGS, HEAPS, DIRECTIONS, N_QUERIES, K = 15, 20, 24, 1000, 10
MOST_SECONDS = 2.0
WAYS = {
    "exact": "index, exact",
    "ivf": "index, ivf",
    "hnsw": "index, hnsw",
    "numpy": "NumPy",
    "sklearn": "scikit-learn",
}
SEARCHED = ["vectors", "way", "build s", "queries/s, one by one", "by hundreds", "memory MB", "recall@10"]
READ = ["exemplars", "way", "file MB", "s", "memory of its own MB", "peak MB"]
MEMORY, WIDTH = ("memory", "peak"), 22
READS = {"load": "SupportBank.load", "show": "fscxr bank show"}


def vectors_of(n: int, dim: int, seed: int) -> Any:
    import numpy as np

    numbers, shared = np.random.default_rng(seed), np.random.default_rng(0)
    plane = shared.standard_normal((DIRECTIONS, dim), dtype=np.float32)
    findings = 2 * shared.standard_normal((FINDINGS, 1, DIRECTIONS), dtype=np.float32)
    heaps = (findings + shared.standard_normal((FINDINGS, HEAPS, DIRECTIONS), dtype=np.float32)).reshape(-1, DIRECTIONS)
    points = heaps[numbers.integers(0, len(heaps), n)] + numbers.standard_normal((n, DIRECTIONS), dtype=np.float32)
    return points @ plane + 0.3 * numbers.standard_normal((n, dim), dtype=np.float32)


def lay(folder: Path, sizes: list[int], dim: int, *, with_nearest: bool = True) -> None:
    """Write vectors and queries, and the distances of each query's ten nearest by all distances in 64 bits."""
    import numpy as np

    vectors, queries = vectors_of(max(sizes), dim, 1), vectors_of(N_QUERIES, dim, 2)
    np.save(folder / "queries.npy", queries)
    wide = queries[:200].astype(np.float64)
    for size in sizes:
        np.save(folder / f"{size}.npy", vectors[:size])
        if not with_nearest:
            continue
        nearest = np.full((len(wide), K), np.inf)
        for start in range(0, size, 20_000):
            part = vectors[start : min(size, start + 20_000)].astype(np.float64)
            squares = (wide**2).sum(1)[:, None] - 2 * wide @ part.T + (part**2).sum(1)
            nearest = np.sort(np.concatenate([nearest, np.partition(squares, K, axis=1)[:, :K]], axis=1))[:, :K]
        np.save(folder / f"{size}_nearest.npy", np.sqrt(nearest))


def numpy_search(vectors: Any) -> Callable[[Any], Any]:
    import numpy as np

    blocks = range(0, len(vectors), 1 << 16)
    lengths = np.concatenate([np.square(vectors[start : start + (1 << 16)]).sum(axis=1) for start in blocks])

    def search(queries: Any) -> Any:
        rows, values = [], []
        for start in blocks:
            part = vectors[start : start + (1 << 16)]
            own = lengths[start : start + (1 << 16)] - 2 * queries @ part.T
            best = np.argpartition(own, K, axis=1)[:, :K]
            rows.append(start + best)
            values.append(np.take_along_axis(own, best, axis=1))
        order = np.argsort(np.concatenate(values, axis=1), axis=1)[:, :K]
        return np.take_along_axis(np.concatenate(rows, axis=1), order, axis=1)

    return search


def own_memory(name: str = "RssAnon") -> float:
    """MB of this process that are no pages of a file; or what else the system counts."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def measure(way: str, size: int, folder: Path, threads: int) -> dict[str, float]:
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    from sklearn.neighbors import NearestNeighbors

    from fewshot_cxr.inference.bank import NearestIndex

    vectors, queries = np.load(folder / f"{size}.npy", mmap_mode="r"), np.load(folder / "queries.npy")
    NearestIndex(queries[:50]).search(queries[:2], 3)  # so that loading faiss is not in it
    clock = process_time if threads == 1 else perf_counter
    before, start = own_memory(), clock()
    if way == "numpy":
        search = numpy_search(vectors)
    elif way == "sklearn":
        neighbours = NearestNeighbors(algorithm="brute", n_neighbors=K).fit(vectors)
        search = lambda some: neighbours.kneighbors(some, return_distance=False)  # noqa: E731
    else:
        index = NearestIndex(vectors, kind=way)
        search = lambda some: index.search(some, K)[0]  # noqa: E731
    seconds = {"build": clock() - start}
    for batch in (1, 100):
        n_asked, start = 0, clock()
        while n_asked < N_QUERIES and clock() - start < MOST_SECONDS:
            search(queries[n_asked : n_asked + batch])
            n_asked += batch
        seconds[str(batch)] = n_asked / (clock() - start)
    memory, nearest = own_memory() - before, np.load(folder / f"{size}_nearest.npy")
    found = np.concatenate([search(queries[start : start + 50]) for start in range(0, 200, 50)])
    apart = np.sqrt(np.square(vectors[found].astype(np.float64) - queries[:200, None]).sum(axis=2))
    recall = float((apart <= nearest[:, -1:] * (1 + 1e-9)).mean())
    return seconds | {
        "memory": memory,
        "recall": recall,
        "effort": index.effort if way in ("ivf", "hnsw") else 0,
        "gave_way": way == "hnsw" and index.kind != way,
    }


def table_of(vectors: Any) -> Any:
    """Exemplars of these vectors, two of each patient."""
    import numpy as np

    from fewshot_cxr.inference.bank.exemplar_table import ExemplarTable, hashed

    size = len(vectors)
    patients = tuple(hashed(f"p{row // 2}") for row in range(size))
    return ExemplarTable(
        vectors=vectors,
        features=vectors,
        findings=tuple(f"finding {row * FINDINGS // size:02d}" for row in range(size)),
        films=tuple(f"films/{row // 1000:04d}/{row:07d}.png" for row in range(size)),
        digests=tuple(f"{row:016x}" for row in range(size)),
        patients=patients,
        groups=patients,
        sources=("hospital",) * size,
        ages=np.full(size, 50, dtype=np.float32),
        has_patient=np.ones(size, dtype=bool),
        is_frontal=np.ones(size, dtype=bool),
    )


def lay_bank(folder: Path, size: int) -> Path:
    """Write a bank of these vectors, which no encoder made."""
    import numpy as np

    from fewshot_cxr.image_spec import ImageSpec
    from fewshot_cxr.inference.bank.file import write_bank
    from fewshot_cxr.inference.bank.fitted import Fitted
    from fewshot_cxr.inference.bank.terms import BankTerms

    table = table_of(np.load(folder / f"{size}.npy", mmap_mode="r+"))
    encoder = {"sha256": "0" * 64, "recipe": {"encoder": "resnet9", "options": {}}, "card": {}, "run": ""}
    terms = BankTerms(encoder | {"image_spec": ImageSpec().to_json()}, rule="prototype")
    write_bank(folder / f"{size}.bank", table, terms, Fitted(why_not="nobody asked").to_json(), None)
    return folder / f"{size}.bank"


def measure_read(way: str, size: int, folder: Path, threads: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    from fewshot_cxr.cli import bank as commands
    from fewshot_cxr.inference.bank import SupportBank

    file, held = folder / f"{size}.bank", []
    _ = SupportBank.load  # so that loading the library is not in it
    clock = process_time if threads == 1 else perf_counter
    before, peak, start = own_memory(), own_memory("VmRSS"), clock()
    if way == "load":
        held.append(SupportBank.load(file))
    else:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            commands.show.main([str(file)], standalone_mode=False)
    seconds = clock() - start
    return {
        "file": file.stat().st_size / 2**20,
        "seconds": seconds,
        "memory": own_memory() - before,
        "peak": own_memory("VmHWM") - peak,
    }


def run_alone(way: str, size: int, folder: Path, threads: int) -> dict[str, float]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    command = [sys.executable, __file__, "--alone", way, str(size), str(folder), "--threads", str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def row_of(way: str, size: int, found: dict[str, float]) -> list[str]:
    rates = [f"{found[batch]:,.0f}" if found[batch] >= 10 else f"{found[batch]:.1f}" for batch in ("1", "100")]
    kind = ", gave way to ivf" if found["gave_way"] else ""
    name = WAYS[way] + kind + (f" (effort {found['effort']})" if found["effort"] else "")
    return [f"{size:,}", name, f"{found['build']:.1f}", *rates, f"{found['memory']:,.0f}", f"{found['recall']:.3f}"]


def print_head(head: list[str], *, is_markdown: bool) -> None:
    print_row(head, is_markdown=is_markdown)
    if is_markdown:
        print(f"| ---: | --- |{' ---: |' * (len(head) - 2)}")


def print_row(cells: list[str], *, is_markdown: bool) -> None:
    row = f"| {' | '.join(cells)} |" if is_markdown else "  ".join(f"{cell:>{WIDTH}}" for cell in cells)
    print(row, flush=True)


def search_table(options: argparse.Namespace, folder: Path) -> None:
    print_head(SEARCHED, is_markdown=options.markdown)
    for size in options.sizes:
        for way in WAYS:
            found = run_alone(way, size, folder, options.threads)
            print_row(row_of(way, size, found), is_markdown=options.markdown)
    print()


def read_table(options: argparse.Namespace, folder: Path) -> None:
    print_head(READ, is_markdown=options.markdown)
    for size in options.sizes:
        lay_bank(folder, size)
        for way, name in READS.items():
            found = run_alone(way, size, folder, options.threads)
            numbers = [f"{found['file']:,.0f}", f"{found['seconds']:.1f}", *(f"{found[one]:,.0f}" for one in MEMORY)]
            print_row([f"{size:,}", name, *numbers], is_markdown=options.markdown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=["search", "read"], help="one of the two tables")
    parser.add_argument("--markdown", action="store_true", help="a table for the documentation")
    parser.add_argument("--alone", nargs=3, metavar=("WAY", "SIZE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        way, size, folder = options.alone
        work = measure_read if way in READS else measure
        print(json.dumps(work(way, int(size), Path(folder), options.threads)))
        return
    start = perf_counter()
    print(f"{date.today()}, {platform.machine()}, {options.threads} of {os.cpu_count()} cores, dim {options.dim}\n")
    with tempfile.TemporaryDirectory() as place:
        lay(Path(place), options.sizes, options.dim, with_nearest=options.only != "read")
        if options.only != "read":
            search_table(options, Path(place))
        if options.only != "search":
            read_table(options, Path(place))
    print(f"\n{perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()

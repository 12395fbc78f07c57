"""How work grows with films and exemplars, from a thousand to a million, what ends it, and how far the limit is.

    python benchmarks/performance/growth_films.py [--plot docs/images/growth_films.png] [--device cuda] [--smoke]

Vectors are synthetic, in heaps as embeddings lie. The limits are measured on the spot: bytes that all threads read in a
second from an array larger than the caches, and operations of a large matrix product in 32 bits. Work that neither of
them ends is interpreted on one processor; of it the share of one processor is told.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from question import Answer, settings, tell

from fewshot_cxr import Embeddings, split_by_patient
from fewshot_cxr.inference import RULES
from fewshot_cxr.inference.bank import DiskIndex, NearestIndex, build_on_disk
from fewshot_cxr.records import Record, Records
from fewshot_cxr.samplers import BalancedBatchSampler

sys.path.append(str(Path(__file__).parents[1]))
from bank import vectors_of

DIM, CLASSES, TOGETHER, CODE = 128, 15, 100, 32
BANDWIDTH, OPERATIONS, ONE_CORE = "memory bandwidth", "FLOPs", "one processor"
SIZES, FEW = (1_000, 10_000, 100_000, 1_000_000), (1_000, 3_000)
MOST_SECONDS, MOST_TIMES = 1.0, 15
MOST_RECORDS = 100_000  # a record is an object of Python: a million takes minutes
Do = Callable[[], object]


@dataclass(frozen=True)
class Work:
    """What is done: which resource ends it, and how much of that it needs of n films, in bytes or operations."""

    name: str
    ends_by: str
    need: Callable[[int], float] = lambda n: 0.0


@dataclass(frozen=True)
class Found:
    """Seconds of one work at one size, and how many processors it kept busy."""

    seconds: float
    processors: float


READ = Work(f"one film among n exemplars of {DIM}, exact", BANDWIDTH, lambda n: 4.0 * DIM * n)
MANY = Work(f"{TOGETHER} films among n, exact", OPERATIONS, lambda n: 2.0 * DIM * n * TOGETHER)
CELLS = Work("one film among n, cells", BANDWIDTH, lambda n: 4.0 * DIM * (n**0.5 + 8 * n**0.5))
CODES = Work("one film among n, codes on the disk", BANDWIDTH, lambda n: 4.0 * DIM * (n**0.5 + 128) + 8 * n**0.5 * 40)
MEANS = Work("prototypes of n exemplars", BANDWIDTH, lambda n: 4.0 * DIM * n)
SPREAD = Work(f"mean distance of {TOGETHER} films to n", OPERATIONS, lambda n: 2.0 * DIM * n * TOGETHER)
SPLIT = Work("split n films by patient", ONE_CORE)
BATCHES = Work("an epoch of batches (8 x 12) of n films", ONE_CORE)
WORKS = (READ, MANY, CELLS, CODES, MEANS, SPREAD, SPLIT, BATCHES)


def measure(do: Do, device: str) -> Found:
    """Do it again and again for a second, at least twice; the first time fills caches."""
    walls, busy = [], []
    while len(walls) < 3 or (sum(walls) < MOST_SECONDS and len(walls) < MOST_TIMES):
        wall, processor = perf_counter(), process_time()
        do()
        if device != "cpu":
            torch.cuda.synchronize()
        walls.append(perf_counter() - wall)
        busy.append((process_time() - processor) / walls[-1])
        if sum(walls) > 3 * MOST_SECONDS:
            break
    return Found(median(walls[1:] or walls), median(busy[1:] or busy))


def limits(device: str, n_bytes: int) -> dict[str, float]:
    """Bytes that are read and operations that are done in a second."""
    array, square = torch.ones(n_bytes // 4, device=device), torch.rand(2048, 2048, device=device)
    return {
        BANDWIDTH: n_bytes / measure(array.sum, device).seconds,
        OPERATIONS: 2 * 2048**3 / measure(lambda: square @ square, device).seconds,
    }


def searches(vectors: np.ndarray, queries: np.ndarray, folder: Path) -> tuple[dict[Work, Do], list[str]]:
    """What an index does, and a row of what each kind finds and keeps."""
    n, ask = len(vectors), [queries[row : row + 1] for row in range(20)]
    exact = NearestIndex(vectors, kind="exact")
    start = perf_counter()
    cells = NearestIndex(vectors, kind="ivf")
    of_cells, shards = perf_counter() - start, [folder / f"{n}_{part}.safetensors" for part in range(4)]
    for shard, part in zip(shards, np.array_split(vectors, 4), strict=True):
        Embeddings(part, np.zeros(len(part), dtype=int)).save(shard)
    start = perf_counter()
    codes = build_on_disk(shards, folder / f"{n}", code_bytes=CODE)
    of_codes = perf_counter() - start
    size = sum(file.stat().st_size for file in (folder / f"{n}").iterdir()) / n
    works: dict[Work, Do] = {READ: lambda: exact.search(ask[0], 10), MANY: lambda: exact.search(queries, 10)}
    works[CELLS], works[CODES] = (_one_by_one(index, ask) for index in (cells, codes))
    truth = exact.search(queries, 10)[1]
    one, ten = (float((codes.search(queries, k)[1] <= truth[:, k - 1 : k] * (1 + 1e-9)).mean()) for k in (1, 10))
    found = f"built in {of_codes:.0f} s (cells {of_cells:.1f} s), effort {codes.effort}, {size:.0f} bytes a film"
    return works, [f"{n:,}: recall@1 {one:.3f}, @10 {ten:.3f}, {found}"]


def _one_by_one(index: NearestIndex | DiskIndex, ask: Sequence[np.ndarray]) -> Do:
    def search() -> None:
        for query in ask:
            index.search(query, 10)

    return search


def rules(vectors: np.ndarray, queries: np.ndarray, device: str) -> dict[Work, Do]:
    """Rules that need every exemplar, on whatever device."""
    support, asked = torch.from_numpy(vectors).to(device), torch.from_numpy(queries).to(device)
    labels = (torch.arange(len(vectors)) % CLASSES).to(device)
    return {
        MEANS: lambda: RULES["prototype"](support, labels, asked[:1]),
        SPREAD: lambda: RULES["mean_distance"](support, labels, asked),
    }


def records(n: int) -> dict[Work, Do]:
    """What is done to films before any is opened."""
    films = Records(
        tuple(Record(f"{row}.png", (f"finding {row % CLASSES}",), patient_id=f"p{row // 2}") for row in range(n)),
        Path(),
    )
    patients, class_ids = np.arange(n) // 2, np.arange(n) % CLASSES
    draws = BalancedBatchSampler(class_ids, patients, batch_size=96, n_classes=8, seed=0)
    return {SPLIT: lambda: split_by_patient(films, seed=0), BATCHES: lambda: sum(map(len, draws))}


def grow(sizes: Sequence[int], device: str) -> tuple[dict[Work, dict[int, Found]], list[str]]:
    """Measure each work at each size."""
    found: dict[Work, dict[int, Found]] = {work: {} for work in WORKS}
    notes, drawn, queries = [], vectors_of(max(sizes), DIM, 1), vectors_of(TOGETHER, DIM, 2)
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            works, told = searches(drawn[:n], queries, Path(folder))
            works |= rules(drawn[:n], queries, device) | (records(n) if n <= MOST_RECORDS else {})
            for work, do in works.items():
                one = measure(do, device)
                found[work][n] = Found(one.seconds / 20, one.processors) if work in (CELLS, CODES) else one
            notes += told
    return found, notes


def share(work: Work, n: int, found: Found, most: dict[str, float]) -> str:
    """Say how near a work is to what ends it."""
    if work.ends_by == ONE_CORE:
        return f"{found.processors:.0%} of one"
    return f"{work.need(n) / most[work.ends_by] / found.seconds:.0%}"


def rows(found: dict[Work, dict[int, Found]], most: dict[str, float], sizes: Sequence[int]) -> list[list[str]]:
    """The table: seconds of each size, how they grow in the last step, the resource, and how near it is."""
    lines = []
    for work, of in found.items():
        before, last = list(of)[-2:]
        power = np.log(of[last].seconds / of[before].seconds) / np.log(last / before)
        cells = [f"{1e3 * of[n].seconds:,.3g}" if n in of else "not run" for n in sizes]
        lines.append([work.name, *cells, f"n^{power:.2f}", work.ends_by, share(work, last, of[last], most)])
    return lines


def draw(found: dict[Work, dict[int, Found]], most: dict[str, float], to: Path) -> None:
    """Draw seconds over films, dashed the least that the limit allows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes: Any = figure.subplots()
    for number, (work, of) in enumerate(found.items()):
        axes.loglog(list(of), [one.seconds for one in of.values()], "o-", color=f"C{number}", label=work.name)
        if work.ends_by != ONE_CORE:
            axes.loglog(list(of), [work.need(n) / most[work.ends_by] for n in of], ":", color=f"C{number}", alpha=0.6)
    axes.set(xlabel="films or exemplars n", ylabel="seconds (dotted: what the limit allows)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    to.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(to, dpi=110)


def main() -> None:
    parser = settings(__doc__)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it here")
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="leave larger numbers of films out")
    options = parser.parse_args()
    device = options.device
    sizes = FEW if options.smoke else [size for size in SIZES if size <= options.largest]
    most = limits(device, 1 << (20 if options.smoke else 29))
    found, notes = grow(sizes, device)
    heads = ["milliseconds", *(f"n = {n:,}" for n in sizes), "grows as", "ended by", "share of the limit"]
    machine = f"{most[BANDWIDTH] / 1e9:.1f} GB/s read, {most[OPERATIONS] / 1e9:.0f} GFLOP/s in 32 bits"
    note = f"{torch.get_num_threads()} threads, {machine}, seeds 1 and 2. Codes on the disk, {'; '.join(notes)}."
    tell(Answer("Growth over films and exemplars", heads, rows(found, most, sizes), note=note), options.json)
    if options.plot:
        draw(found, most, options.plot)


if __name__ == "__main__":
    main()

"""Few-shot episodes on cached embeddings: how many per second, beside easyfsl, and where the time goes.

    python benchmarks/episodes.py [--device cuda] [--repeats 5] [--episodes 20000]

12,000 random embeddings of 128 dimensions in 5 classes; 5-way 5-shot 15-query; every point metric and its interval over
episodes. easyfsl (pip install easyfsl==1.5.0) gets the same embeddings and shapes, and counts right answers only.
Rows of one run may be compared with each other, not with another machine's or day's; benchmarks/episodes_images.py
starts from films.
"""

import argparse
import os
import platform
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import Result, evaluate_episodes

try:
    from easyfsl.datasets import FeaturesDataset
    from easyfsl.methods import PrototypicalNetworks
    from easyfsl.samplers import TaskSampler
    from easyfsl.utils import evaluate
except ImportError:
    TaskSampler = PrototypicalNetworks = None

N_FILMS, DIM, N_WAY, N_SHOT, N_QUERY = 12_000, 128, 5, 5, 15
SHAPE = {"n_way": N_WAY, "n_shot": N_SHOT, "n_query": N_QUERY}
RULES = ("mean_distance", "prototype")
N_EASYFSL = 1000  # episodes of each of its repeats
GOALS = {"episodes": 20_000, "ratio": 10}
KINDS = ("draw", "distances", "metrics", "sums")
NOT_INSTALLED = "not installed (pip install easyfsl==1.5.0)"


def make_films(films_per_patient: int = 1, n_films: int = N_FILMS) -> Embeddings:
    """Draw classes that overlap, so that no number is 0 or 1; a patient has 1 to that many films, all of one class."""
    draw = np.random.default_rng(0)
    class_ids = np.arange(n_films) * N_WAY // n_films
    centres = 0.12 * draw.standard_normal((N_WAY, DIM))
    vectors = centres[class_ids] + draw.standard_normal((n_films, DIM))
    is_next = np.ones(n_films, dtype=bool)
    if films_per_patient > 1:
        starts = np.cumsum(draw.integers(1, films_per_patient + 1, n_films))
        is_next = np.isin(np.arange(n_films), starts) | (np.diff(class_ids, prepend=-1) > 0)
    return Embeddings(vectors, class_ids, patient_ids=np.cumsum(is_next))


def judged(films: Embeddings, rule: str, n_episodes: int, device: str, **options) -> Result:
    settings = {"n_episodes": n_episodes, "device": device, "patient_interval": False, **SHAPE, **options}
    return evaluate_episodes(films, rule=rule, **settings)


def with_threads(n_threads: int, work: Callable[[], float | None]) -> float | None:
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        return work()
    finally:
        torch.set_num_threads(before)


def easyfsl_speed(films: Embeddings, device: str, n_episodes: int = N_EASYFSL) -> float:
    """Return the episodes per second of easyfsl's own loop on features."""
    dataset = FeaturesDataset(films.class_ids.tolist(), torch.from_numpy(films.vectors), list(films.class_names))
    model = PrototypicalNetworks().to(device)
    return timed_easyfsl(model, dataset, device, n_episodes)


def timed_easyfsl(model, dataset, device: str, n_episodes: int) -> float:
    random.seed(0)  # its sampler draws from the global generator
    sampler = running_sampler()(dataset, N_WAY, N_SHOT, N_QUERY, n_episodes)
    loader = torch.utils.data.DataLoader(dataset, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
    start = perf_counter()
    evaluate(model, loader, device=device, use_tqdm=False)
    return n_episodes / (perf_counter() - start)


def running_sampler() -> type:
    """Make a TaskSampler that runs: easyfsl 1.5's hands `data_source` to torch's Sampler, which takes none today."""

    class TakesDataSource(torch.utils.data.Sampler):
        def __init__(self, data_source=None) -> None:
            pass

    return type("RunningTaskSampler", (TaskSampler, TakesDataSource), {})


def speeds(films: dict[str, Embeddings], device: str, n_episodes: int, n_repeats: int) -> dict[str, list[float]]:
    """Measure all rows in turn, again and again, so that a disturbance meets each of them."""
    counts = sorted({torch.get_num_threads(), 1}, reverse=True)
    rows: dict[str, Callable[[], float]] = {}
    for n_threads in counts:
        threads = f"{n_threads} thread{'s' * (n_threads > 1)}"
        for name, some in films.items():
            for rule in RULES:

                def ours(some=some, rule=rule) -> float:
                    return judged(some, rule, n_episodes, device).episodes_per_second

                rows[f"{rule}, {name}, {threads}"] = lambda n=n_threads, work=ours: with_threads(n, work)
        if TaskSampler is not None:
            theirs = lambda: easyfsl_speed(films["1 film a patient"], device)  # noqa: E731 (a row like the others)
            rows[f"easyfsl, {threads}"] = lambda n=n_threads, work=theirs: with_threads(n, work)
    found: dict[str, list[float]] = {name: [] for name in rows}
    for repeat in range(n_repeats + 1):
        for name, work in rows.items():
            speed = work()
            if repeat:  # the first fills caches
                found[name].append(speed)
    return found


def show_speeds(found: dict[str, list[float]]) -> None:
    theirs = [values for name, values in found.items() if name.startswith("easyfsl")]
    best = max((max(values) for values in theirs), default=None)
    middle = max((median(values) for values in theirs), default=None)
    print("\n| episodes per second | median | best | times easyfsl's best row, median | best |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, values in found.items():
        ratio = f"{median(values) / middle:.1f} | {max(values) / best:.1f}" if best and middle else "- | -"
        print(f"| {name} | {median(values):,.0f} | {max(values):,.0f} | {ratio} |")
    if best is None:
        print(f"| easyfsl | {NOT_INSTALLED} | | | |")
    print(f"\ngoals: {GOALS['episodes']:,} episodes/s and {GOALS['ratio']} times easyfsl")


def show_time(films: Embeddings, device: str, n_episodes: int, n_repeats: int) -> None:
    """Print the kinds of work of the fastest of some runs, and the processor time that they took on all cores."""
    print("\nWhere the time goes, microseconds per episode. Of k cores that judge blocks at once each counts a kth;")
    print("drawing and sums go on beside them, so the kinds may add up to more than the whole. Processor time is that")
    print("of all cores together, with the set-up; other work on the machine touches it least.")
    print("| rule | whole | processor time | " + " | ".join(KINDS) + " |\n| --- |" + " ---: |" * (len(KINDS) + 2))
    for rule in RULES:
        runs = []
        for _ in range(n_repeats):
            start = process_time()
            seconds = judged(films, rule, n_episodes, device).seconds
            runs.append((seconds["episodes"], process_time() - start, seconds))
        whole, processor, seconds = min(runs, key=lambda one: one[0])
        in_all = sum(seconds[kind] for kind in KINDS)
        cells = [f"{1e6 * one / n_episodes:.1f}" for one in (whole, processor)]
        cells += [f"{1e6 * seconds[k] / n_episodes:.1f} ({100 * seconds[k] / in_all:.0f} %)" for k in KINDS]
        print(f"| {rule} | " + " | ".join(cells) + " |")


def show_patients(films: dict[str, Embeddings], device: str, n_episodes: int) -> None:
    print("\n| interval over patients | its episodes | seconds | its episodes/s | adds to the whole |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, some in films.items():
        result = judged(some, RULES[0], n_episodes, device, patient_interval=True)
        seconds, n_own = result.asked.seconds["patients"], result.asked.n_patient_episodes
        share = f"{100 * seconds / result.asked.seconds['episodes']:.0f} % of {n_episodes:,} episodes"
        print(f"| {RULES[0]}, {name} | {n_own:,} | {seconds:.2f} | {n_own / seconds:,.0f} | {share} |")


def fastest(work: Callable[[], object], n_repeats: int = 30) -> float:
    seconds = []
    for _ in range(n_repeats):
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
    return min(seconds)


def show_limit(films: Embeddings, found: dict[str, list[float]]) -> None:
    """Say how far one core is from its limits: of memory, of the gather, and of arithmetic."""
    n_rows = N_WAY * (N_SHOT + N_QUERY)
    n_bytes = n_rows * DIM * 4
    table, draw = torch.from_numpy(films.vectors), torch.Generator().manual_seed(0)
    large, target, block = torch.rand(1 << 20, DIM), torch.empty(1 << 20, DIM), torch.empty(6000, DIM)
    anywhere, near = (torch.randint(n, (6000,), generator=draw) for n in (len(large), len(table)))
    support, query = torch.rand(60, N_WAY * N_SHOT, DIM), torch.rand(60, N_WAY * N_QUERY, DIM)
    limits = {
        "copy of 512 MiB (memory)": 2 * large.nbytes / fastest(lambda: target.copy_(large)),
        "gather from 512 MiB (memory)": 2 * block.nbytes / fastest(lambda: gather(large, anywhere, block)),
        f"gather from these {table.nbytes >> 20} MiB (cache)": 2
        * block.nbytes
        / fastest(lambda: gather(table, near, block)),
    }
    products = 60 / fastest(lambda: support @ query.mT)
    alone = {name: max(values) for name, values in found.items() if name.endswith(", 1 thread")}
    reached = [max(speed for name, speed in alone.items() if name.startswith(rule)) for rule in RULES]
    print(f"\nOne core. An episode gathers {n_rows} rows of {DIM} float32: {n_bytes:,} bytes read and as many written.")
    print("| limit | GB/s, read and written | episodes/s | " + " | ".join(f"{rule} reaches" for rule in RULES) + " |")
    print("| --- | ---: | ---: |" + " ---: |" * len(RULES))
    for name, speed in limits.items():
        shares = " | ".join(f"{100 * one * n_bytes / speed:.0f} %" for one in reached)
        print(f"| {name} | {2 * speed / 1e9:.1f} | {speed / n_bytes:,.0f} | {shares} |")
    print(f"| support x query alone (arithmetic) | - | {products:,.0f} | {100 * reached[0] / products:.0f} % | - |")
    print(
        "The table of embeddings fits the last cache, and the episodes that are judged together the caches before it:"
    )
    print("memory itself is hardly touched. The first two rows are what a far larger table would meet.")


def gather(table: torch.Tensor, where: torch.Tensor, target: torch.Tensor) -> None:
    where += 7919  # other rows each time, so that those of the last are not in the cache
    where %= len(table)
    torch.index_select(table, 0, where, out=target)


def show_memory(device: str) -> None:
    """Print by how much a process grows after 1,000 episodes and their interval over patients (Linux)."""
    # VmHWM, not ru_maxrss: a child process starts with the ru_maxrss of its parent, which hides any growth below it.
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from episodes import RULES, judged, make_films\n"
        "films = make_films()\n"
        "peak = lambda: int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0]) / 1024\n"
        "judged(films, RULES[0], 1000, sys.argv[2], patient_interval=True)\n"
        "before = peak()\n"
        "judged(films, RULES[0], int(sys.argv[3]), sys.argv[2], patient_interval=True)\n"
        "print(before, peak() - before)"
    )
    print("\n| episodes | peak above that of a first 1,000 episodes, MiB |\n| ---: | ---: |")
    for n_episodes in (1000, 10_000, 100_000):
        command = [sys.executable, "-c", code, str(Path(__file__).parent), device, str(n_episodes)]
        before, more = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        print(f"| {n_episodes:,} | {float(more):.1f} (of {float(before):.0f}) |", flush=True)


def show_same_answers(films: Embeddings, device: str) -> None:
    print(f"\n| the same 2,000 episodes on cpu and {device} | accuracy | AUROC | largest difference of both |")
    print("| --- | ---: | ---: | ---: |")
    for rule in RULES:
        pairs = []
        for place in ("cpu", device):
            scores = judged(films, rule, 2000, place).scores
            pairs.append((scores.accuracy.mean, scores.auroc.mean))
        gap = max(abs(one - other) for one, other in zip(*pairs, strict=True))
        print(f"| {rule} | {pairs[1][0]:.5f} | {pairs[1][1]:.5f} | {gap:.1e} |")


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{date.today()}, {models[0] if models else platform.machine()}, {os.cpu_count()} cores, "
        f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, load before {load}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--episodes", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.device != "cpu" and not torch.cuda.is_available():
        sys.exit(f"there is no {arguments.device} here; leave --device out")
    print(machine())
    if arguments.device != "cpu":
        print(f"on {torch.cuda.get_device_name(arguments.device)}")
    films = {"1 film a patient": make_films(), "1 to 4 films a patient": make_films(4)}
    first = films["1 film a patient"]
    found = speeds(films, arguments.device, arguments.episodes, arguments.repeats)
    show_speeds(found)
    show_patients(films, arguments.device, arguments.episodes)
    show_time(first, arguments.device, arguments.episodes, arguments.repeats)
    if arguments.device == "cpu":
        with_threads(1, lambda: show_limit(first, found))
    else:
        show_same_answers(first, arguments.device)
    show_memory(arguments.device)


if __name__ == "__main__":
    main()

"""Whether memory stays flat over long runs: episodes, embedded vectors, and serving; draws it.

    python benchmarks/long_runs.py [--episodes 100000] [--vectors 1000000] [--minutes 60] [--only serving]
        [--plot docs/images/long_runs.png] [--json FILE]

Each runs in a process of its own. Memory is the process's own (RssAnon), some hundred times over the run. It is flat
where the median of the last tenth is at most 5 % or 16 MB above that of the second: the first tenth fills caches. The
server is the one of benchmarks/serve.py: eight clients send films as JSON and as pages, and every tenth no film, for
`--minutes`; the films and the network are small, so that the server does as much as can be in that time. Linux only.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from serve import memory_mb, started

KINDS = ("episodes", "vectors", "serving")
SHARD, N_FILMS, N_CLIENTS, N_SAMPLES = 10_000, 256, 8, 200
MOST_MB, MOST_SHARE = 16, 1.05
Series = list[tuple[float, float]]  # (share of the run, MB)


def episodes(n: int, note: Callable[[float], None]) -> str:
    """Judge one encoder by many episodes of 5 out of 20 classes."""
    from fewshot_cxr import Embeddings, evaluate_episodes

    draw = np.random.default_rng(0)
    class_ids = np.arange(12_000) % 20
    films = Embeddings(
        0.2 * draw.standard_normal((20, 128))[class_ids] + draw.standard_normal((12_000, 128)), class_ids
    )
    shape = {"n_way": 5, "n_shot": 5, "n_query": 15, "n_episodes": n}
    evaluate_episodes(films, **shape, seed=0, device="cpu", progress=lambda done, total: note(done / total))
    return f"{n:,} episodes"


def vectors(n: int, note: Callable[[float], None]) -> str:
    """Embed films, and save a shard of every ten thousand."""
    import torch

    from fewshot_cxr import Embeddings, ImageSpec, build_encoder
    from fewshot_cxr.inference.batches import embed_batches

    torch.manual_seed(0)
    encoder = build_encoder("resnet9", width=4, embedding_dim=32, image_spec=ImageSpec(size_px=32)).eval()
    films = np.random.default_rng(0).integers(0, 256, (N_FILMS, 32, 32), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, n, SHARD):
            rows = np.arange(start, min(n, start + SHARD))
            batches = (films[rows[first : first + 128] % N_FILMS] for first in range(0, len(rows), 128))
            found = np.concatenate(list(embed_batches(encoder, batches, torch.device("cpu"))))
            Embeddings(found, np.zeros(len(rows), dtype=int)).save(Path(folder) / f"{start:09d}.safetensors")
            note((start + len(rows)) / n)
        n_kept = sum(len(Embeddings.load(shard)) for shard in Path(folder).iterdir())
    return f"{n_kept:,} vectors"


def serving(minutes: float, note: Callable[[float, int], None]) -> str:
    """Ask a server until the time is over; `note` is told its process."""
    from made_banks import laid_bank

    counts = {"asked": 0, "wrong": 0, "late": 0}
    with tempfile.TemporaryDirectory() as folder:
        place, file = laid_bank(Path(folder)), Path(folder) / "clinic.bank"
        place.bank.save(file, self_contained=True)
        films = [place.films.file(film) for film in place.films]
        process, server = started(file)
        begun, end = time.monotonic(), time.monotonic() + 60 * minutes

        def ask(client: int) -> None:
            for number in range(client, 1 << 40, N_CLIENTS):
                if time.monotonic() > end:
                    return
                is_bad, is_page = number % 10 == 9, number % 10 == 5
                sent = ("notes.png", b"no film") if is_bad else films[number % len(films)]
                headers = {"Accept": "text/html"} if is_page else {}
                counts["asked"] += 1
                try:
                    status = server.post("/" if is_page else "/predict", [sent], headers=headers).status
                except TimeoutError:  # a machine that is busy otherwise says nothing of memory
                    counts["late"] += 1
                else:
                    counts["wrong"] += status != (422 if is_bad else 200)

        try:
            with ThreadPoolExecutor(N_CLIENTS) as pool:
                asking = [pool.submit(ask, client) for client in range(N_CLIENTS)]
                while not all(one.done() for one in asking):
                    note(min(1.0, (time.monotonic() - begun) / (60 * minutes)), process.pid)
                    time.sleep(max(0.2, 60 * minutes / N_SAMPLES))
                [one.result() for one in asking]
        finally:
            process.kill()  # it has answered: how it ends is not asked here
            process.wait()
    told = f"{counts['wrong']} of a wrong status, {counts['late']} without an answer in a minute"
    return f"{counts['asked']:,} requests in {minutes:g} minutes, {told}"


def run(kind: str, amount: float) -> dict[str, Any]:
    """Do one kind in this process, and return what was done and the memory over it."""
    series: Series = []
    lock, begun = threading.Lock(), time.monotonic()

    def note(share: float, pid: int | None = None) -> None:
        with lock:
            if not series or share >= 1 or share - series[-1][0] >= 1 / N_SAMPLES:
                series.append((share, memory_mb(os.getpid() if pid is None else pid)))

    what = (
        serving(amount, note)
        if kind == "serving"
        else {"episodes": episodes, "vectors": vectors}[kind](int(amount), note)
    )
    return {"what": what, "series": series, "seconds": time.monotonic() - begun}


def grown(series: Series) -> tuple[float, float]:
    """MB of the second tenth of a run, and of the last."""
    second = [megabytes for share, megabytes in series if 0.1 <= share <= 0.2] or [series[0][1]]
    return median(second), median(megabytes for share, megabytes in series if share >= 0.9)


def is_flat(series: Series) -> bool:
    """Say whether memory is no more at the end than when the caches were full."""
    second, last = grown(series)
    return last <= max(second + MOST_MB, second * MOST_SHARE)


def draw(found: dict[str, dict[str, Any]], to: Path) -> None:
    """Draw memory over each run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for one in found.values():
        shares, megabytes = zip(*one["series"], strict=True)
        axes.plot([100 * share for share in shares], megabytes, label=one["what"])
    axes.set(xlabel="% of the run", ylabel="memory of its own, MB", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    to.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(to, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path, help="keep what was measured; what other kinds left there stays")
    parser.add_argument("--alone", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    amounts = {"episodes": options.episodes, "vectors": options.vectors, "serving": options.minutes}
    if options.alone:
        print(json.dumps(run(options.alone, amounts[options.alone])))
        return 0
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, seed 0\n")
    print("| what | minutes | MB, second tenth | MB, last tenth | flat |\n| --- | ---: | ---: | ---: | --- |")
    found = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    for kind in options.only:
        command = [sys.executable, __file__, "--alone", kind, f"--{'minutes' if kind == 'serving' else kind}"]
        done = subprocess.run([*command, str(amounts[kind])], stdout=subprocess.PIPE, text=True, check=True)
        found[kind] = one = json.loads(done.stdout.splitlines()[-1])
        numbers = [f"{value:,.0f}" for value in (one["seconds"] / 60, *grown(one["series"]))]
        print(f"| {one['what']} | {' | '.join(numbers)} | {'yes' if is_flat(one['series']) else 'NO'} |", flush=True)
        if options.json:
            options.json.write_text(json.dumps(found))
    if options.plot:
        draw(found, options.plot)
    return int(not all(is_flat(one["series"]) for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())

"""What the processes of `fscxr serve --workers N` keep of a large bank: one copy for all, or one each.

    python benchmarks/serve_workers.py [--mb 128] [--workers 1 2 4] [--markdown]

The bank has vectors of `--mb` megabytes, drawn by a seed, in its file with a small network. Films are sent until each
worker has answered ten. Then the system is asked what of the bank's file lies in the memory of the workers: together,
each page once (Pss), and by each of them (Rss). What a worker has for itself (RssAnon) is its network, torch, the names
of the exemplars and, where it was made, the index. Linux only.
"""

import argparse
import os
import platform
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
from bank import table_of
from new_disease import show
from serve import memory_mb, started

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from made_banks import lay_bank_films

from fewshot_cxr import ImageSpec, SupportBank, build_encoder
from fewshot_cxr.encoders import save_encoder
from fewshot_cxr.inference.bank.fitted import Fitted

N_EACH = 10


def lay(folder: Path, megabytes: int) -> tuple[Path, list[Path], int]:
    """Write the bank; return its file, films, and the number of its exemplars."""
    films = lay_bank_films(folder / "data")
    encoder = build_encoder("resnet9", image_spec=ImageSpec(size_px=32), width=4, embedding_dim=128)
    save_encoder(encoder, folder / "run" / "encoder.safetensors", card={"findings": ["normal"]})  # said to be taught
    made = SupportBank.build(folder / "run", films)
    drawn, own = np.random.default_rng(0), made.table.vectors
    rows = drawn.integers(0, len(own), (megabytes << 20) // own[0].nbytes)
    noise = 0.1 * own.std() * drawn.standard_normal((len(rows), own.shape[1]), dtype=np.float32)
    bank = replace(made, table=table_of(own[rows] + noise), fitted=Fitted(why_not="nobody asked"))
    bank.save(folder / "large.bank", self_contained=True)
    return folder / "large.bank", [films.file(film) for film in films], len(rows)


def workers_of(pid: int) -> list[int]:
    """Return the processes that a process has started to answer."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()] or [pid]


def mapped_mb(pid: int, file: Path) -> dict[str, float]:
    """Return what of a file lies in the memory of a process: all (Rss), and its share where others have it (Pss)."""
    found, is_own = {"Rss": 0.0, "Pss": 0.0}, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in found:
            found[name] += int(rest.split()[0]) / 1024 if is_own else 0.0
        elif "-" in line.split()[0]:
            is_own = line.endswith(str(file))
    return found


def row_of(file: Path, films: list[Path], n_workers: int) -> tuple[str, ...]:
    """Serve the bank by some workers, ask each, and return what they keep."""
    process, server = started(file, "--workers", n_workers)
    try:
        with ThreadPoolExecutor(4 * n_workers) as pool:
            list(
                pool.map(
                    lambda number: server.post("/predict", [films[number % len(films)]]), range(N_EACH * n_workers)
                )
            )
        pids = workers_of(process.pid)
        told = [mapped_mb(pid, file) for pid in pids]
        own = [memory_mb(pid) for pid in pids]
    finally:
        process.terminate()
        process.wait(60)
    each = " ".join(f"{one['Rss']:.0f}" for one in told)
    return str(n_workers), f"{sum(one['Pss'] for one in told):.0f}", each, " ".join(f"{one:.0f}" for one in own)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=128)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file, films, n = lay(Path(folder).resolve(), given.mb)
        size = f"{n:,} exemplars, {file.stat().st_size >> 20} MB"
        print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores; {size}")
        rows = [row_of(file, films, n_workers) for n_workers in given.workers]
    heads = ("workers", "of the file, together MB", "of the file, by each MB", "of its own, each MB")
    partial(show, markdown=given.markdown)("Memory of the workers", heads, rows)


if __name__ == "__main__":
    main()

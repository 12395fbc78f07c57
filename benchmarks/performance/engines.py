"""Very many films in shards: does memory stay as it is, and is a killed worker's work lost or done twice?

    python benchmarks/performance/engines.py [--films 20000] [--json FILE] [--smoke]

Films are PNG files of 16 px, each unlike the others, and the encoder is a small ResNet-9 that is not taught: what is
measured is the way from a table to committed shards, by encoders of one thread each. First the shards are made by this
process, then by a Ray cluster of two workers on this machine, one encoder of which is killed when half of the shards
are there. Memory is that of this process and all it has started, without pages of libraries, when a tenth, half and all
of the shards are there. After that the shards are read: each row must be there once, and both engines must have written
the same bytes. Linux only.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from PIL import Image
from question import Answer, Mark, settings, tell

from fewshot_cxr import engines
from fewshot_cxr.encoders import build_encoder
from fewshot_cxr.image_spec import ImageSpec

SIZE_PX, IN_A_FOLDER, ROWS = 16, 1_000, 1_000
HEADS = ("engine", "films/s", "MB at a tenth", "at half", "at the end", "rows lost", "rows twice")
MOST_GROWTH = 1.1


@dataclass
class Watched:
    """What one engine cost: MB when a share of its shards was there, seconds, and what happened at half."""

    at_half: Callable[[], None] = lambda: None
    megabytes: dict[float, float] = field(default_factory=dict)
    start: float = field(default_factory=perf_counter)
    seconds: float = 0.0

    def __call__(self, n_done: int, n_all: int) -> None:
        """Look at the memory when a share of the shards is there for the first time."""
        for share in (0.1, 0.5, 1.0):
            if n_done >= share * n_all and share not in self.megabytes:
                self.megabytes[share] = sum(map(own_memory, family()))
                if share == 0.5:
                    self.at_half()
        self.seconds = perf_counter() - self.start

    @property
    def growth(self) -> float:
        """Memory at the end over that at a tenth."""
        return self.megabytes[1.0] / self.megabytes[0.1]


def lay(folder: Path, n_films: int) -> Path:
    """Write the films and their table."""
    draw, lines = np.random.default_rng(0), ["path,label"]
    for number in range(n_films):
        place = folder / f"{number // IN_A_FOLDER:04d}"
        place.mkdir(exist_ok=True)
        film = draw.integers(0, 256, (SIZE_PX, SIZE_PX), dtype=np.uint8)
        Image.fromarray(film).save(place / f"{number:07d}.png", compress_level=0)
        lines.append(f"{place.name}/{number:07d}.png,finding {number % 3}")
    table = folder / "films.csv"
    table.write_text("\n".join(lines) + "\n", "utf-8")
    return table


def family(of: int | None = None) -> list[int]:
    """Return a process and all that it has started, and these have."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(place.name))
    found = [of or os.getpid()]
    for one in found:
        found += children.get(one, [])
    return found


def own_memory(pid: int) -> float:
    """Return MB of a process that are no pages of a file; 0: it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def kill_an_encoder() -> None:
    """End a worker that is an encoder of the cluster, as a machine without memory does."""
    names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in family()}
    os.kill(next(pid for pid, name in names.items() if name.startswith(b"ray::_Encoder")), signal.SIGKILL)


def on_cluster(plan: engines.Plan, work: engines.Work) -> Watched:
    """Make the shards on two workers of this machine."""
    os.environ |= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_raylet_start_wait_time_s": "300"}
    import ray
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    for _ in range(2):
        cluster.add_node(num_cpus=2, **small)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    watched = Watched(at_half=kill_an_encoder)
    engines.run_on_ray(plan, work, plan.missing(), device="cpu", progress=watched)
    ray.shutdown()
    cluster.shutdown()
    return watched


def row_of(name: str, plan: engines.Plan, watched: Watched) -> tuple[list[str], int]:
    """Return the cells of an engine, and how many rows are lost or twice."""
    seen = np.zeros(plan.table.n_rows, dtype=np.int64)
    engines.summarise(plan, lambda shard: np.add.at(seen, shard.rows, 1))
    lost, twice = int((seen == 0).sum()), int((seen > 1).sum())
    sizes = [f"{watched.megabytes[share]:,.0f}" for share in (0.1, 0.5, 1.0)]
    return [name, f"{len(seen) / watched.seconds:,.0f}", *sizes, str(lost), str(twice)], lost + twice


def main() -> None:
    parser = settings(__doc__)
    parser.add_argument("--films", type=int, default=20_000)
    asked = parser.parse_args()
    torch.set_num_threads(1)  # more would wait for each other most of the time in a network so small
    n_films, rows, marks = 60 if asked.smoke else asked.films, list[list[str]](), list[Mark]()
    options = {"image_spec": ImageSpec(size_px=SIZE_PX), "embedding_dim": 16, "seed": 0, "width": 4}
    work = engines.Embedding(build_encoder("resnet9", **options).eval())
    with tempfile.TemporaryDirectory() as folder:
        table = engines.scan_table(str(lay(Path(folder), n_films)), 3 if asked.smoke else ROWS)
        plans = [
            engines.Plan(table=table, folder=f"{folder}/{name}", kind="embed", spec=work.spec, decides=work.decides())
            for name in ("local", "ray")
        ]
        here, far = (plan.begun() for plan in plans)
        watched = Watched()
        engines.run_here(here, work, here.missing(), device=asked.device, progress=watched)
        row, n_wrong = row_of("this process", here, watched)
        rows.append(row)
        marks.append(Mark("rows lost or twice, this process", n_wrong, 0, at_most=True))
        marks.append(Mark("memory at the end over that at a tenth, this process", watched.growth, MOST_GROWTH, True))
        try:
            watched = on_cluster(far, work)
        except ModuleNotFoundError:
            rows.append(["Ray, two workers: not installed", *[""] * 6])
        else:
            row, n_wrong = row_of("Ray, two workers, one killed", far, watched)
            rows.append(row)
            marks.append(Mark("rows lost or twice, Ray", n_wrong, 0, at_most=True))
            marks.append(Mark("memory at the end over that at a tenth, Ray", watched.growth, MOST_GROWTH, True))
            pairs = ([Path(plan.address(one)).read_bytes() for plan in (here, far)] for one in range(table.n_shards))
            marks.append(Mark("shards that differ between the two", sum(a != b for a, b in pairs), 0, at_most=True))
    note = f"{n_films:,} PNG films of {SIZE_PX} px, {table.rows_per_shard:,} rows to a shard, ResNet-9 of width 4."
    tell(Answer("Very many films: table to shards", HEADS, rows, marks, note), asked.json)


if __name__ == "__main__":
    sys.exit(main())

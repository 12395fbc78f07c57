"""What `fscxr predict --bank` costs with many films: memory as rows come, seconds, and going on after a kill.

    python benchmarks/bank_many_films.py [--films 100000] [--markdown]

Films are PNG files of 32 px, drawn by a seed, and the encoder is a small ResNet-9 that is not taught: what is measured
is the way from files to rows, not the network. The command runs in a process of its own. Its own memory, without pages
of libraries, is looked at twenty times a second: when a tenth, half and all of the rows are there, and the most.
Seconds are those of the processor. First all are asked at once, with a page. Then the same question is killed when half
of its rows are there, and asked again with --resume: the tables must be equal byte for byte. --json must be refused of
more than 10,000 films. Linux only.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from made_banks import laid_bank

FILM_PX, IN_A_FOLDER = 32, 1_000
SHARES = (0.1, 0.5, 1.0)
WRONG_USE = 2  # exit code
START = "import sys; sys.argv[0] = 'fscxr'; from fewshot_cxr.cli import main; main()"


@dataclass
class Run:
    """What one command cost: MB when a share of its rows was there, the most, seconds of the processor."""

    code: int = 0
    megabytes: dict[float, float] = field(default_factory=dict)
    largest: float = 0.0
    seconds: float = 0.0

    def row(self, what: str) -> list[str]:
        """Return the cells of the table."""
        some = [f"{self.megabytes[share]:,.0f}" if share in self.megabytes else "" for share in SHARES]
        return [what, *some, f"{self.largest:,.0f}", f"{self.seconds:,.0f}"]


def lay(folder: Path, n_films: int) -> Path:
    """Write the films and the bank."""
    draw = np.random.default_rng(0)
    for number in range(n_films):
        place = folder / "films" / f"{number // IN_A_FOLDER:04d}"
        place.mkdir(parents=True, exist_ok=True)
        film = draw.integers(0, 256, (FILM_PX, FILM_PX), dtype=np.uint8)
        Image.fromarray(film).save(place / f"{number:07d}.png", compress_level=0)
    laid_bank(folder / "made").bank.save(folder / "clinic.bank", self_contained=True)
    return folder


def ask(folder: Path, table: str, n_films: int, *flags: str, kill_at: float | None = None) -> Run:
    """Ask about all films, and watch the process; it is killed when a share of the rows is there."""
    found, part, at, n_rows = Run(), folder / f"{table}.part", 0, 0
    n_there = part.read_bytes().count(b"\n") if part.is_file() else 0
    command = [sys.executable, "-c", START, "predict", "films", "--bank", "clinic.bank", "--csv", table, *flags]
    command += ["--threads", "1", "--device", "cpu"]
    with (folder / "said.txt").open("wb") as said:
        child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=said)
    while (gone := os.wait4(child.pid, os.WNOHANG))[0] == 0:
        now = own_memory(child.pid)
        found.largest = max(found.largest, now)
        if part.is_file():
            with part.open("rb") as file:
                file.seek(at)
                content = file.read()
            at, n_rows = at + len(content), n_rows + content.count(b"\n")
            found.megabytes[SHARES[-1]] = now  # the last time that it is seen, nearly all rows are there
        for share in SHARES[:-1]:
            if n_there < share * n_films <= n_rows - 2:  # a line of facts, and the head
                found.megabytes.setdefault(share, now)
        if kill_at is not None and n_rows - 2 >= kill_at * n_films:
            child.send_signal(signal.SIGKILL)
        time.sleep(0.05)
    found.code, found.seconds = os.waitstatus_to_exitcode(gone[1]), gone[2].ru_utime + gone[2].ru_stime
    if found.code not in (0, -signal.SIGKILL, WRONG_USE):
        sys.exit((folder / "said.txt").read_text(encoding="utf-8") or f"the exit code was {found.code}")
    if kill_at is not None:
        del found.megabytes[SHARES[-1]]
    return found


def own_memory(pid: int) -> float:
    """Return MB of a process that are no pages of a file, such as those of its libraries; 0: it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def rows_of(folder: Path, n_films: int) -> list[list[str]]:
    """Return the lines of the table, and stop where something is not as it must be."""
    whole = ask(folder, "whole.csv", n_films, "--html", "page.html")
    page = (folder / "page.html").stat().st_size / 2**20
    killed = ask(folder, "resumed.csv", n_films, kill_at=SHARES[1])
    resumed = ask(folder, "resumed.csv", n_films, "--resume")
    tables = [(folder / name).read_bytes() for name in ("whole.csv", "resumed.csv")]
    if len(set(tables)) > 1 or tables[0].count(b"\n") != n_films + 1 or killed.code != -signal.SIGKILL:
        sys.exit("the tables are not equal, or not whole")
    if n_films > 10_000 and ask(folder, "other.csv", n_films, "--json", "a.json").code != WRONG_USE:
        sys.exit("--json was not refused")
    with_page = f"all at once, --html (a page of {page:.1f} MB)"
    return [whole.row(with_page), killed.row("killed at half"), resumed.row("--resume after that")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=100_000)
    parser.add_argument("--markdown", action="store_true", help="a table for the documentation")
    options = parser.parse_args()
    n_films = options.films
    print(
        f"{date.today()}, {platform.machine()}, {n_films:,} films, one thread of {os.cpu_count()} cores\n", flush=True
    )
    head = ["run", *(f"MB at {round(share * n_films):,}" for share in SHARES), "most", "s of the processor"]
    with tempfile.TemporaryDirectory() as place:
        rows = rows_of(lay(Path(place), n_films), n_films)
    if options.markdown:
        print(f"| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}")
        print("\n".join(f"| {' | '.join(row)} |" for row in rows))
        return
    print("\n".join("  ".join(f"{cell:>22s}" for cell in row) for row in [head, *rows]))


if __name__ == "__main__":
    main()

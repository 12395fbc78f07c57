"""Attack the library with damaged files, kills, full disks and hostile input, and count what it does wrong.

    python benchmarks/faults.py [--seed 0] [--only KIND] [--quick] [--markdown]

Each attack runs in a process of its own kind under a limit of time and memory, so that one which hangs or eats memory
is counted and the next goes on. An attack counts as
crash: an error that nobody foresaw, one that does not name the file, or the end of the process;
hang: no answer in time, or a refusal that took more than 2 s of the processor or 500 MB;
silent: damage that was believed, or a loss that nothing tells;
lost: more is gone than the damaged film or row.
POSIX only. As root it mounts a small disk to fill; others fill one by a limit on the size of files.
"""

import argparse
import multiprocessing
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
import torch
from fault_kinds import answers, banks, disks, flips, kills, names, pictures, readers, texts
from fault_kinds.attack import CRASH, HANG, HARMLESS, LOST, REFUSED, SILENT, Attack
from fault_kinds.made import make_world

KINDS: dict[str, Callable[[Path, np.random.Generator, float], Iterator[Attack]]] = {
    "flips: encoder": flips.encoder,
    "flips: classifier": flips.classifier,
    "flips: embeddings": flips.embeddings,
    "flips: episodes": flips.episodes,
    "flips: last.ckpt": flips.checkpoint,
    "pieces of our files": flips.pieces,
    "flips: cache": flips.cache,
    "pictures: cut": pictures.cut_short,
    "pictures: fuzzed": pictures.fuzzed,
    "pictures: costly": pictures.costly,
    "types: results": texts.results,
    "types: cards": texts.cards,
    "tables": texts.tables,
    "names on the terminal": names.terminal,
    "files of no plain kind": names.odd_files,
    "surroundings": names.surroundings,
    "kills": kills.kills,
    "full disks": disks.full,
    "read-only folders": disks.read_only,
    "bank: each byte changed": banks.flips,
    "bank: each length cut": banks.cuts,
    "bank: foreign content": banks.foreign,
    "bank: kills": banks.kills,
    "bank: full disks": banks.full,
    "bank: read-only": banks.read_only,
    "bank: two writers": banks.two_writers,
    "bank: malformed films": answers.malformed,
    **readers.kinds(),
}
# What the same attack, seed 0, found at commit 77b552c, before anything was mended; what it miscounted is left out.
BEFORE = {
    "flips: encoder": "28 crash, 328 silent",
    "flips: classifier": "28 crash, 9,015 silent",
    "flips: embeddings": "216 crash, 3,409 silent",
    "flips: last.ckpt": "323 crash, 1,415 silent",
    "flips: cache": "1,000 silent",
    "pictures: cut": "100 silent",
    "types: results": "4 crash",
    "types: cards": "45 crash",
    "names on the terminal": "1 hang, 58 silent",
    "files of no plain kind": "17 hang, 11 silent",
    "kills": "21 crash, 7 lost",
    "full disks": "39 crash",
}
OUTCOMES = (CRASH, HANG, SILENT, LOST)
QUICK = 0.01  # of the attacks of each kind
SHORT, LONG = 20.0, 150.0  # seconds without an answer: of one file that is read, of commands
ROOM = 6 << 30  # bytes of address space beside what a process has at its start
N_EXAMPLES = 3


@dataclass
class Siege:
    """One kind under way: its process, and what came of its attacks."""

    kind: str
    start: Callable[["Siege"], None]
    counts: Counter = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    n_done: int = 0
    attack: str = ""
    seconds: float = 0.0
    begun: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    reader: Connection | None = None
    process: multiprocessing.Process | None = None

    def count(self, outcome: str) -> None:
        """Note what came of the attack under way."""
        word = outcome.partition(":")[0]
        self.counts[word] += 1
        self.n_done += 1
        if word not in (REFUSED, HARMLESS) and sum(word in example[:12] for example in self.examples) < N_EXAMPLES:
            self.examples.append(f"{word:7s} {self.attack}{outcome[len(word) :][:300]}")

    def again(self, outcome: str) -> None:
        """Count the attack that ended the process, and go on behind it."""
        self.end()
        self.count(outcome)
        self.start(self)

    def end(self) -> None:
        """End the process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.reader.close()


def besiege(writer: Connection, kind: str, made: Path, seed: int, share: float, n_done: int) -> None:
    """Carry out the attacks of a kind behind the first n_done, and tell each before and after."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries of C say; what commands say is read
    _limit_memory()
    draw = np.random.default_rng([seed, list(KINDS).index(kind)])
    try:
        for number, (name, work) in enumerate(KINDS[kind](made, draw, share)):
            if number < n_done:
                continue
            writer.send(("begins", name))
            try:
                outcome = work()
            except Exception as error:
                outcome = f"{CRASH}: {type(error).__name__}: {error}"
            writer.send(("ended", outcome))
    except Exception as error:  # of what prepares the attacks: begun anew it would fail again, without end
        writer.send(("begins", "what prepares the attacks"))
        writer.send(("ended", f"{CRASH}: {type(error).__name__}: {error}"))
    writer.send(("all", ""))


def run_kinds(kinds: list[str], made: Path, *, seed: int, share: float, n_lanes: int) -> Iterator[Siege]:
    """Yield each kind when all of its attacks are done; n_lanes of them run side by side."""
    context = multiprocessing.get_context("fork")

    def start(siege: Siege) -> None:
        siege.reader, writer = context.Pipe(duplex=False)
        siege.process = context.Process(target=besiege, args=(writer, siege.kind, made, seed, share, siege.n_done))
        siege.process.start()
        writer.close()
        siege.heard, siege.attack = time.monotonic(), "before the first attack"

    waiting, running = list(kinds), []
    while waiting or running:
        while waiting and len(running) < n_lanes:
            running.append(Siege(waiting.pop(0), start))
            start(running[-1])
        heard = wait([siege.reader for siege in running], timeout=0.5)
        for siege in list(running):
            if siege.reader not in heard:
                patience = SHORT if siege.kind.startswith(("flips", "pictures")) else LONG
                if time.monotonic() - siege.heard > patience:
                    siege.again(f"{HANG}: no answer in {patience:.0f} s")
                continue
            try:
                what, text = siege.reader.recv()
            except EOFError:
                siege.again(f"{CRASH}: the process ended")
                continue
            siege.heard = time.monotonic()
            if what == "begins":
                siege.attack = text
            elif what == "ended":
                siege.count(text)
            else:
                siege.end()
                siege.seconds = time.monotonic() - siege.begun
                running.remove(siege)
                yield siege


def _limit_memory() -> None:
    statm = Path("/proc/self/statm")
    if statm.exists():
        used = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="KIND", help=f"those whose name begins so: {', '.join(KINDS)}")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the attacks, to see that all runs")
    parser.add_argument("--markdown", action="store_true", help="the table as docs/reliability.md has it, at the end")
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":  # a process that has started threads cannot be forked safely
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"OMP_NUM_THREADS": "1"})
    torch.set_num_threads(1)
    began = time.monotonic()
    print(machine(arguments.seed) + (", quick" if arguments.quick else ""))
    print(f"{'kind':28s} {'inputs':>8s} " + " ".join(f"{word:>7s}" for word in OUTCOMES) + f" {'seconds':>8s}")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        # Nothing of this user is read or written.
        os.environ |= {"FSCXR_CACHE": str(made / "cache"), "XDG_STATE_HOME": str(made / "state"), "HOME": folder}
        make_world(made)
        kinds = [kind for kind in KINDS if kind.startswith(arguments.only or "")]
        share = QUICK if arguments.quick else 1
        sieges = []
        for siege in run_kinds(kinds, made, seed=arguments.seed, share=share, n_lanes=2):
            print(row(siege), flush=True)
            sieges.append(siege)
    whole = Siege("all", run_kinds, sum((siege.counts for siege in sieges), Counter()))
    whole.seconds = time.monotonic() - began
    print(row(whole))
    print("\n".join(f"{siege.kind}: {example}" for siege in sieges for example in siege.examples))
    if arguments.markdown:
        sieges.sort(key=lambda siege: kinds.index(siege.kind))
        print("\n".join(markdown([*sieges, whole], machine(arguments.seed))))
    return int(any(whole.counts[word] for word in OUTCOMES))


def machine(seed: int) -> str:
    """Return when, where and with which seed."""
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{date.today()}, {where}, seed {seed}"


def row(siege: Siege) -> str:
    """Return a kind and its counts as a line of the table."""
    cells = " ".join(f"{siege.counts[word]:7,d}" for word in OUTCOMES)
    return f"{siege.kind:28s} {siege.counts.total():8,d} {cells} {siege.seconds:8.0f}"


def markdown(sieges: list[Siege], where: str) -> Iterator[str]:
    """Yield the lines of the table of docs/reliability.md."""
    yield from (f"{where}.", "", f"| kind | inputs | {' | '.join(OUTCOMES)} | seconds | before |")
    yield f"| --- |{' ---: |' * (len(OUTCOMES) + 2)} --- |"
    for siege in sieges:
        numbers = [siege.counts.total(), *(siege.counts[word] for word in OUTCOMES), round(siege.seconds)]
        yield f"| {siege.kind} | {' | '.join(f'{number:,d}' for number in numbers)} | {BEFORE.get(siege.kind, '')} |"


if __name__ == "__main__":
    sys.exit(main())

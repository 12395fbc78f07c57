"""One table of docs/performance.md: a question, its rows and the marks to be reached, printed and kept as JSON."""

import argparse
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from time import perf_counter

import torch


@dataclass(frozen=True)
class Mark:
    """A number of one run that must be reached: at least `wanted`, or at most where `at_most` says so."""

    what: str
    reached: float
    wanted: float
    at_most: bool = False

    @property
    def is_met(self) -> bool:
        """Say whether it is reached."""
        return self.reached <= self.wanted if self.at_most else self.reached >= self.wanted

    @property
    def text(self) -> str:
        """The mark in words."""
        bound = f"at {'most' if self.at_most else 'least'} {self.wanted:,g}"
        return f"{self.what}: {self.reached:,.3g}, {bound}{'' if self.is_met else ', MISSED'}"


@dataclass(frozen=True)
class Answer:
    """What a benchmark found: the table's title and heads, its rows as they are shown, and its marks."""

    question: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    marks: Sequence[Mark] = ()
    note: str = ""  # one sentence below the table: sizes, seeds, films


def settings(description: str) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark takes; `--smoke` asks for sizes that are done in seconds."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the table here, too")
    parser.add_argument("--smoke", action="store_true", help="sizes that are done in seconds: tries, measures nothing")
    return parser


def tell(answer: Answer, to: Path | None = None) -> None:
    """Print a table with its marks, and keep it with the machine that made it."""
    print(as_markdown(asdict(answer), [mark.text for mark in answer.marks]), flush=True)
    if to is not None:
        marks = [{**asdict(mark), "is_met": mark.is_met, "text": mark.text} for mark in answer.marks]
        to.write_text(json.dumps({**asdict(answer), "marks": marks, "machine": machine()}, indent=1), "utf-8")


def as_markdown(table: dict, marks: Sequence[str]) -> str:
    """Return a table as docs/performance.md has it."""
    lines = [table["heads"], ["---"] + ["---:"] * (len(table["heads"]) - 1), *table["rows"]]
    text = f"### {table['question']}\n\n" + "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
    if table["note"]:
        text += f"\n\n{table['note']}"
    return text + ("\n\n" + "\n".join(f"- {mark}" for mark in marks) if marks else "") + "\n"


def machine() -> dict[str, str | int]:
    """Say what the numbers were measured on."""
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:  # not on Linux
        names = []
    cpu = names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    system = {"date": str(date.today()), "processor": cpu, "cores": os.cpu_count() or 1, "gpu": gpu}
    return system | {"python": platform.python_version(), "torch": torch.__version__}


def seconds_in_turn(
    works: dict[str, Callable[[], object]], n_repeats: int, device: str = "cpu", warm_up: int = 1
) -> dict[str, list[float]]:
    """Measure all in turn, again and again, so that a disturbance meets each; the first rounds fill caches."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(warm_up + n_repeats):
        for name, work in works.items():
            start = perf_counter()
            work()
            if device != "cpu":
                torch.cuda.synchronize()
            if repeat >= warm_up:
                found[name].append(perf_counter() - start)
    return found


def ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the median of the ratios of what was measured in turn; a disturbance meets both sides of each."""
    return median(one / other for one, other in zip(first, second, strict=True))

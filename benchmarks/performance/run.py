"""Ask every question of docs/performance.md, one after the other, each in a process of its own; `make bench`.

    python benchmarks/performance/run.py [--only fit episodes] [--device cuda] [--out runs/bench] [--smoke]

Writes a JSON file for each question and tables.md with all of them. A benchmark that ends in error is named at the end.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from question import as_markdown, machine

# each is a script beside this one, in the order in which docs/performance.md tells them
QUESTIONS: tuple[str, ...] = (
    *("fit", "head", "embedding", "decoding", "engines"),
    *("episodes", "episodes_images", "growth_episodes", "episode_rules", "triplets"),
    *("auditing", "omniglot"),
)
MOST_SECONDS = 1_200  # of one question: one that hangs must not cost the others


def ask(name: str, out: Path, flags: list[str]) -> bool:
    """Run one benchmark, for twenty minutes at most; say whether it came to its end."""
    start, script = perf_counter(), Path(__file__).with_name(f"{name}.py")
    command = [sys.executable, str(script), "--json", str(out / f"{name}.json"), *flags]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            is_done = process.wait(MOST_SECONDS) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the peers that it has started
            is_done = False
    print(f"({name}: {perf_counter() - start:.0f} s)\n", flush=True)
    return is_done


def collect(out: Path) -> str:
    """Return all tables that lie in the folder, as one text."""
    found = [json.loads(path.read_text("utf-8")) for name in QUESTIONS if (path := out / f"{name}.json").exists()]
    texts = [as_markdown(table, [mark["text"] for mark in table["marks"]]) for table in found]
    return "\n".join([", ".join(f"{key} {value}" for key, value in machine().items()) + "\n", *texts])


def main() -> int:
    """Ask, collect, and name what failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=QUESTIONS, metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    flags = ["--device", arguments.device, *["--smoke"] * arguments.smoke]
    failed = [name for name in arguments.only if not ask(name, arguments.out, flags)]
    (arguments.out / "tables.md").write_text(collect(arguments.out), "utf-8")
    print(f"tables: {arguments.out / 'tables.md'}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

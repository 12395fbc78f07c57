"""Mutation testing by mutmut: change the code that the numbers rest on, a place at a time; does a test fail?

    make mutants [EACH=250]        # or: python -m pip install "mutmut~=3.8"; python benchmarks/mutants.py --each 250

Of each part in PARTS so many mutants are drawn, all where there are fewer, and the tests in pyproject.toml
(`[tool.mutmut]`) are run against each until one fails. A mutant without end is killed by the clock. What survives is
written to runs/mutants.txt with what it changed. mutmut makes its own copy of the code below mutants/.
"""

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
PARTS = ("samplers", "inference.rules", "metrics", "data.splits", "inference.bank")
KILLED, ALIVE = {"killed", "timeout"}, {"survived", "no tests"}


def mutmut(*words: str, shown: bool = False) -> str:
    """Run mutmut beside this Python, and return what it said; its own signs of progress are shown if asked."""
    command = [str(Path(sys.executable).with_name("mutmut")), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, text=True, stdout=None if shown else subprocess.PIPE, check=False
    )
    return done.stdout or ""


def states() -> dict[str, str]:
    """Return what became of each mutant, by name."""
    return dict(re.findall(r"^\s*(fewshot_cxr\S+): (.+)$", mutmut("results", "--all", "true"), re.MULTILINE))


def part_of(mutant: str) -> str:
    """Return the part of the package that a mutant is in."""
    return next(part for part in PARTS if mutant.startswith(f"fewshot_cxr.{part}."))


def main() -> None:
    """Draw, run, print a table, write the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=250, help="mutants of each part")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "mutants.txt", help="what survived")
    arguments = parser.parse_args()
    processes = ("--max-children", str(arguments.processes))
    mutmut("run", *processes, f"fewshot_cxr.{PARTS[1]}*", shown=True)  # makes the mutants of all parts
    made: dict[str, list[str]] = {part: [] for part in PARTS}
    for name in sorted(states()):
        made[part_of(name)].append(name)
    draw = np.random.default_rng(arguments.seed)
    tried = {part: draw.permutation(names)[: arguments.each].tolist() for part, names in made.items()}
    mutmut("run", *processes, *(name for names in tried.values() for name in names), shown=True)
    state, survivors = states(), []
    print(f"\n{'part':16} {'made':>6} {'tried':>6} {'killed':>7} {'alive':>6}  share killed")
    for part, names in tried.items():
        counts = Counter(state[name] for name in names)
        killed, alive = (sum(counts[one] for one in group) for group in (KILLED, ALIVE))
        survivors += [name for name in names if state[name] in ALIVE]
        print(f"{part:16} {len(made[part]):6} {len(names):6} {killed:7} {alive:6}  {killed / (killed + alive):.1%}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(mutmut("show", name) for name in survivors), encoding="utf-8")
    print(f"{arguments.out}: {len(survivors)} that survived")


if __name__ == "__main__":
    main()

"""How long the first breath takes: `import fewshot_cxr` and `fscxr --help`, each the median of fresh processes."""

import os
import platform
import shutil
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path
from time import perf_counter

N_RUNS = 7
GOALS = {"python -c pass": None, "import fewshot_cxr": 0.3, "fscxr --help": 0.5}


def commands() -> dict[str, list[str]]:
    beside = shutil.which("fscxr", path=str(Path(sys.executable).parent))
    if beside is None:
        sys.exit("there is no fscxr beside this Python; run `make benchmark`, or `pip install -e .` first")
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import fewshot_cxr": [sys.executable, "-c", "import fewshot_cxr"],
        "fscxr --help": [beside, "--help"],
    }


def seconds(command: list[str]) -> list[float]:
    """Wall-clock seconds of N_RUNS processes, sorted; one more before them fills the file cache."""
    taken = []
    for _ in range(N_RUNS + 1):
        start = perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(perf_counter() - start)
    return sorted(taken[1:])


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def main() -> None:
    machine = f"{processor()}, {os.cpu_count()} cores, {platform.system()}"
    print(f"{date.today()}, {machine}, Python {platform.python_version()}")
    print(f"median of {N_RUNS} fresh processes\n")
    print("| what | median s | fastest s | slowest s | goal s |\n| --- | --- | --- | --- | --- |")
    for name, command in commands().items():
        taken = seconds(command)
        goal = "" if GOALS[name] is None else f"< {GOALS[name]}"
        print(f"| {name} | {statistics.median(taken):.3f} | {taken[0]:.3f} | {taken[-1]:.3f} | {goal} |")


if __name__ == "__main__":
    main()

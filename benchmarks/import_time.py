"""How long a start takes: the package, the help page, and each command run for real, beside `import torch`.

python benchmarks/import_time.py [N_ROUNDS]
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from time import perf_counter

from fewshot_cxr.data import split_by_patient, write_manifest
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import build_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import Records

TORCH, TIMM = "import torch", "import torch, timm"
FINDINGS = ("normal", "effusion", "cardiomegaly")


def lay_files(folder: Path) -> None:
    """Films of 30 synthetic patients in two splits, and two untrained encoders: one needs timm, one does not."""
    films = make_synthetic(folder, n_patients=10, findings=FINDINGS, size_px=48)
    sides = split_by_patient(films, (0.5, 0.0, 0.5), seed=0)
    films = Records(tuple(film for side in sides for film in side), folder)
    write_manifest(films, folder / "split.csv", header={"seed": 0})
    shutil.copy(folder / films[0].path, folder / "new.png")
    for name in ("resnet9", "resnet18"):
        options = {"width": 4} if name == "resnet9" else {}
        encoder = build_encoder(name, image_spec=ImageSpec(size_px=32), embedding_dim=8, **options)
        save_encoder(encoder, folder / name / "encoder.safetensors", card={"distance": "euclidean"})


def commands() -> dict[str, list[str]]:
    beside = shutil.which("fscxr", path=str(Path(sys.executable).parent))
    if beside is None:
        sys.exit("there is no fscxr beside this Python; run `make benchmark`, or `pip install -e .` first")
    test, predict = "--data split.csv --split test", "predict new.png --support split.csv --n-exemplars 3 --checkpoint"
    few = "--n-shot 1 --n-query 1 --n-episodes 20"
    texts = {
        "--help": "--help",
        "predict": f"{predict} resnet9",
        "predict, resnet18 of timm": f"{predict} resnet18",
        "embed": f"embed --checkpoint resnet9 {test} --out test.safetensors",
        "episode-eval": f"episode-eval --checkpoint resnet9 {test} {few} --json test.json",
        "evaluate": f"evaluate --checkpoint resnet9 {test}",
        "compare": "compare test.json test.json",
        "data read": "data read split.csv",
        "data split": "data split split.csv --out other.csv",
        "data audit": "data audit split.csv",
        "plot confusion": "plot confusion test.json --out confusion.png",
        "report": "report test.json --out report.html",
        "recipes list": "recipes list",
        "train siamese --help": "train siamese --help",
    }
    pythons = {name: [sys.executable, "-c", name] for name in (TORCH, TIMM, "import fewshot_cxr")}
    return pythons | {f"fscxr {name}": [beside, *text.split()] for name, text in texts.items()}


def seconds(command: list[str], folder: Path) -> float:
    start = perf_counter()
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return perf_counter() - start


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def main() -> None:
    n_rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        lay_files(folder)
        # In rounds, so that what else the machine does in a minute meets all of them; the first fills the file cache.
        rounds = [{name: seconds(command, folder) for name, command in commands().items()} for _ in range(1 + n_rounds)]
    medians = {name: statistics.median(one[name] for one in rounds[1:]) for name in rounds[0]}
    machine = f"{processor()}, {os.cpu_count()} cores, {platform.system()}"
    print(f"{date.today()}, {machine}, Python {platform.python_version()}")
    print(f"median of {n_rounds} fresh processes, each command on a tiny checkpoint, its own work included\n")
    print(f"| what | seconds | of `{TORCH}` | of `{TIMM}` |\n| --- | ---: | ---: | ---: |")
    for name, median in medians.items():
        print(f"| `{name}` | {median:.2f} | {median / medians[TORCH]:.2f} | {median / medians[TIMM]:.2f} |")


if __name__ == "__main__":
    main()

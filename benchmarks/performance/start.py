"""How long `fscxr predict` takes for one film, from start to answer, beside `import torch, timm` and a forward pass.

python benchmarks/performance/start.py [--rounds 7]
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from made_films import write_films
from question import Answer, Mark, ratio, seconds_in_turn, settings, tell

from fewshot_cxr.data import write_manifest
from fewshot_cxr.encoders import build_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.bank import SupportBank

WANTED, SIDE, N_EXEMPLARS = 1.3, 224, 60
FSCXR = "import sys; sys.argv[0] = 'fscxr'; from fewshot_cxr.cli import main; main()"
PLAIN = (
    "import torch, timm; model = timm.create_model('resnet18', in_chans=1).eval()\n"
    f"with torch.inference_mode(): model(torch.zeros(1, 1, {SIDE}, {SIDE}))"
)


def lay_files(folder: Path, size_px: int) -> None:
    """Lay a film, labelled films, an untrained ResNet-18 of timm and a bank of it."""
    films = write_films(folder, N_EXEMPLARS, size_px=size_px)
    write_manifest(films, folder / "films.csv", header={"seed": 0})
    write_films(folder / "new", 1, kind="png", size_px=size_px)
    encoder = build_encoder("resnet18", image_spec=ImageSpec(size_px=SIDE), embedding_dim=128)
    card = {"distance": "euclidean", "findings": list(films.findings)}
    save_encoder(encoder, folder / "run" / "encoder.safetensors", card=card)
    SupportBank.build(folder / "run", films, n_exemplars=20).save(folder / "films.bank")


def run(folder: Path, code: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, *arguments], cwd=folder, capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())


def main() -> None:
    parser = settings(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=1024, help="side of the film in pixels")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.rounds, arguments.size = 1, 128
    support = "predict new/000000.png --checkpoint run --support films.csv --n-exemplars 20"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["FSCXR_CACHE"] = str(folder / "cache")
        lay_files(folder, arguments.size)
        device = ("--device", arguments.device)
        works: dict[str, Callable[[], object]] = {
            "python -c 'import torch, timm', a forward pass": partial(run, folder, PLAIN),
            "fscxr predict --bank": partial(
                run, folder, FSCXR, "predict", "new/000000.png", "--bank", "films.bank", "--checkpoint", "run", *device
            ),
            "fscxr predict --support": partial(run, folder, FSCXR, *support.split(), *device),
            "python -c 'import torch'": partial(run, folder, "import torch"),
        }
        found = seconds_in_turn(works, arguments.rounds)
    plain, *ours = works
    rows = [[name, f"{median(one):.2f} s", f"{ratio(one, found[plain]):.2f}"] for name, one in found.items()]
    marks = [Mark(name, ratio(found[name], found[plain]), WANTED, at_most=True) for name in ours[:2]]
    note = (
        f"a PNG film of {arguments.size} px, ResNet-18 of timm at {SIDE} px, {N_EXEMPLARS} exemplars; started in turn"
    )
    heads = ["what", "start to end", "of torch, timm and a forward pass"]
    tell(Answer("One film, from start to answer", heads, rows, marks, note), arguments.json)


if __name__ == "__main__":
    main()

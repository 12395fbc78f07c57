"""Trains, embeds, evaluates, exports and answers on a GPU, and checks the answers against the processor's.

    make bench-gpu
    python benchmarks/performance/gpu.py [--device cuda] [--json FILE] [--smoke]

Synthetic films of three findings (resnet9, 96 px, five epochs, seed 0), then 10,000 episodes, 3-way 5-shot. The encoder
that the device trained does the rest on both. Ends with 1 where an answer lies further off than its row allows: the
differences are those of sums in another order, and of TF32 in convolutions.
"""

import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from question import Answer, Mark, settings, tell

from fewshot_cxr import (
    Embeddings,
    ImageSpec,
    Records,
    SiameseTrainer,
    SupportBank,
    embed,
    evaluate_episodes,
    split_by_patient,
)
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.export import export_bank
from fewshot_cxr.inference.exported_bank import ExportedBank

FINDINGS = ("normal", "lobar_consolidation", "effusion")
PX = 96


def timed(work: Callable[[str], Any], device: str) -> tuple[Any, float]:
    """Return what a work gives, and its seconds; the first time, which fills caches, does not count."""
    for _ in range(2):
        start = perf_counter()
        found = work(device)
        if device != "cpu":
            torch.cuda.synchronize()
    return found, perf_counter() - start


def on_both(name: str, work: Callable[[str], Any], device: str) -> tuple[list[str], Any, Any]:
    """Return the row of a work with its seconds, and what it gave on the processor and on the device."""
    (own, own_seconds), (other, seconds) = timed(work, "cpu"), timed(work, device)
    return [name, f"{own_seconds:.2f}", f"{seconds:.2f}", f"{own_seconds / seconds:.1f}"], own, other


def trained(train: Records, val: Records, device: str, n_epochs: int) -> Any:
    trainer = SiameseTrainer(n_epochs=n_epochs, image_spec=ImageSpec(size_px=PX), seed=0, device=device)
    return trainer.fit(train, val, progress=None)


def vector_gap(own: Embeddings, other: Embeddings) -> float:
    """Return the largest distance between the embeddings of a film, as a share of their mean length."""
    gaps = np.linalg.norm(own.vectors - other.vectors, axis=1)
    return float(gaps.max() / np.linalg.norm(own.vectors, axis=1).mean())


def answer_gap(own: Iterable[Any], other: Iterable[Any]) -> float:
    """Return the largest difference of a probability, or infinity where two name different findings."""
    gaps = [0.0]
    for one, two in zip(own, other, strict=True):
        gaps.append(0.0 if one.finding == two.finding else np.inf)
        gaps += [abs(one.probabilities[name] - two.probabilities[name]) for name in one.probabilities]
    return max(gaps)


def measured(folder: Path, device: str, *, n_patients: int, n_epochs: int, n_episodes: int) -> Answer:
    """Do everything on both, and compare."""
    films = make_synthetic(folder / "films", n_patients=n_patients, findings=FINDINGS, seed=0)
    train, val, test = split_by_patient(films, (0.6, 0.2, 0.2), seed=0)
    row, own_fit, fit = on_both("train", lambda on: trained(train, val, on, n_epochs), device)
    losses = [one.history[-1]["loss"] for one in (own_fit, fit)]
    rows, marks = (
        [row],
        [Mark("train: loss of the last epoch, difference", abs(losses[0] - losses[1]), 0.1, at_most=True)],
    )

    embedded = partial(embed, fit.encoder, test, cache_folder=folder / "cache", progress=None)
    row, own_vectors, vectors = on_both("embed", lambda on: embedded(device=on), device)
    rows.append(row)
    marks.append(
        Mark("embed: largest difference, of the mean length", vector_gap(own_vectors, vectors), 5e-3, at_most=True)
    )

    asked = {"n_way": 3, "n_shot": 5, "n_query": 10, "n_episodes": n_episodes, "seed": 0, "progress": None}
    evaluated = partial(evaluate_episodes, own_vectors, rule="prototype", if_too_small="shrink_query", **asked)
    row, own_result, result = on_both("evaluate", lambda on: evaluated(device=on), device)
    rows.append(row)
    gap = abs(own_result.accuracy.value - result.accuracy.value)
    marks.append(Mark("evaluate: difference of the accuracy", gap, 1e-4, at_most=True))

    bank = SupportBank.build(fit.encoder, train, rule="prototype", device=device)
    paths = [test.root / film.path for film in test]
    row, own_answers, answers = on_both("answer", lambda on: list(bank.answers(paths, device=on)), device)
    rows.append(row)
    marks.append(
        Mark("answer: largest difference of a probability", answer_gap(own_answers, answers), 0.02, at_most=True)
    )

    start = perf_counter()
    export_bank(bank, folder / "bank.onnx")
    rows.append(["export (processor)", f"{perf_counter() - start:.2f}", "", ""])
    exported = list(ExportedBank(folder / "bank.onnx").answers(paths))
    gap = answer_gap(exported, answers)
    marks.append(Mark("export: largest difference of a probability from the device's", gap, 0.02, at_most=True))
    counts = f"{len(train)}, {len(val)} and {len(test)} films of {n_patients} patients a finding"
    note = f"{counts}; {n_epochs} epochs, {n_episodes:,} episodes; seeds 0."
    return Answer("On a GPU: the same answers?", ("work", "processor, s", f"{device}, s", "times"), rows, marks, note)


def main() -> int:
    """Print the table; say whether every answer is near enough."""
    parser = settings(__doc__)
    parser.set_defaults(device="cuda")
    arguments = parser.parse_args()
    if arguments.device != "cpu" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; `--device cpu --smoke` tries the script without one")
    sizes = {"n_patients": 100, "n_epochs": 5, "n_episodes": 10_000}
    if arguments.smoke:
        sizes = {"n_patients": 40, "n_epochs": 1, "n_episodes": 100}
    with tempfile.TemporaryDirectory() as name:
        answer = measured(Path(name), arguments.device, **sizes)
    tell(answer, arguments.json)
    return int(not all(mark.is_met for mark in answer.marks))


if __name__ == "__main__":
    sys.exit(main())

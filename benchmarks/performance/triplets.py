"""Miner and loss of one batch of few classes, beside pytorch-metric-learning's defaults.

    python benchmarks/performance/triplets.py [--device cuda] [--json FILE] [--smoke]

384 embeddings of 128 in 3 classes: 12.5 million triplets. The peer lists those that its miner lets through, ours keeps
8,192 drawn ones; the mean gradient of many draws is held against that of all triplets, added up without the cube.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from question import Answer, Mark, ratio, seconds_in_turn, settings, tell
from torch import Tensor

from fewshot_cxr.distances import pairwise_distances
from fewshot_cxr.objectives import build_loss, build_miner

N_FILMS, DIM, N_CLASSES = 384, 128, 3
PEER = "pytorch-metric-learning"
OURS = {"ours, semihard (default)": "semihard", "ours, all": "all"}
MEMORY, NOISE = 10, 1.2  # times less memory; the gap of the mean gradient, in its standard errors, at most


def make_batch(n_films: int = N_FILMS, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Draw classes that overlap."""
    draw = torch.Generator().manual_seed(0)
    class_ids = torch.arange(n_films) % N_CLASSES
    centres = 0.1 * torch.randn(N_CLASSES, DIM, generator=draw)
    vectors = (centres[class_ids] + 0.1 * torch.randn(n_films, DIM, generator=draw)).to(device)
    return vectors.requires_grad_(), class_ids.to(device)


def stepper(name: str) -> Callable[[Tensor, Tensor, int], Tensor]:
    """Return what makes the gradient of one batch: (vectors, class ids, step) -> (n, dim)."""
    if name == PEER:
        miner, loss = TripletMarginMiner(), TripletMarginLoss()
        return lambda vectors, class_ids, step: _gradient(loss(vectors, class_ids, miner(vectors, class_ids)), vectors)
    ours = build_loss("triplet", n_classes=N_CLASSES, embedding_dim=DIM)
    mine = build_miner(OURS[name], loss=ours)
    return lambda vectors, class_ids, step: _gradient(
        ours(vectors, class_ids, mine(vectors, class_ids, step=step)), vectors
    )


def _gradient(loss: Tensor, vectors: Tensor) -> Tensor:
    return torch.autograd.grad(loss, vectors)[0]


def exact_gradient(vectors: Tensor, class_ids: Tensor, margin: float = 1.0) -> Tensor:
    """Return the gradient of the mean over all triplets above 0, from how often each pair stands in one.

    A pair (anchor, positive) counts once for each negative within the margin, a pair (anchor, negative) once for each
    positive: the gradient needs these counts and the distances, not the triplets.
    """
    distances = pairwise_distances(vectors, vectors)
    weights = torch.zeros_like(distances)
    n_active = 0
    with torch.no_grad():
        is_same = class_ids[:, None] == class_ids
        for anchor, row in enumerate(distances):
            positives = torch.nonzero(is_same[anchor]).squeeze(1)
            positives, negatives = positives[positives != anchor], torch.nonzero(~is_same[anchor]).squeeze(1)
            is_active = row[positives, None] - row[negatives] + margin > 0
            weights[anchor, positives] = is_active.sum(dim=1).to(weights.dtype)
            weights[anchor, negatives] = -is_active.sum(dim=0).to(weights.dtype)
            n_active += int(is_active.sum())
    # The diagonal is 0 with weight 0; its square root has no slope.
    return _gradient((distances * weights)[weights != 0].sum() / n_active, vectors)


def gap_of_gradients(n_draws: int, device: str) -> tuple[float, float]:
    """Return how far the mean gradient of many draws is from the exact one: of its length, and in standard errors."""
    vectors, class_ids = make_batch(device=device)
    exact, step = exact_gradient(vectors.double().detach().requires_grad_(), class_ids), stepper("ours, all")
    draws = torch.stack([step(vectors, class_ids, number).double() for number in range(n_draws)])
    gap = (draws.mean(dim=0) - exact).norm()
    noise = (draws.var(dim=0).sum() / n_draws).sqrt()
    return float(gap / exact.norm()), float(gap / noise)


def peak_mb(name: str, device: str) -> float:
    """Return by how much one step raises the peak of a new process's memory, or a GPU's (Linux)."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from triplets import print_peak\n"
        "print_peak(sys.argv[2], sys.argv[3])\n"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), name, device]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(name: str, device: str) -> None:
    """Take a step on a tiny batch, then one on the whole, and print what it adds to the peak."""
    step = stepper(name)
    step(*make_batch(12, device), 0)
    batch = make_batch(device=device)
    before = _peak(device)
    step(*batch, 0)
    print((_peak(device) - before) / 1e6)


def _peak(device: str) -> int:
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    # VmHWM, not ru_maxrss: a child process starts with the ru_maxrss of its parent, which hides any growth below it.
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def main() -> None:
    """Measure, and tell."""
    arguments = settings(__doc__).parse_args()
    n_repeats, n_draws = (1, 3) if arguments.smoke else (7, 300)
    batch, device = make_batch(device=arguments.device), arguments.device
    names = (*OURS, PEER)
    steps = {name: stepper(name) for name in names}
    works = {name: lambda name=name: steps[name](*batch, 0) for name in names}
    seconds = seconds_in_turn(works, n_repeats, device)
    memory = {name: peak_mb(name, device) for name in names}
    rows = [(name, f"{1e3 * median(seconds[name]):.1f}", f"{memory[name]:.1f}") for name in names]
    length, errors = gap_of_gradients(n_draws, device)
    marks = []
    for name in OURS:
        marks.append(Mark(f"{name}, times less memory", memory[PEER] / max(memory[name], 0.1), MEMORY))
        marks.append(Mark(f"{name}, times as fast", ratio(seconds[PEER], seconds[name]), 1))
    marks.append(Mark("gap to the exact gradient, in standard errors of the mean", errors, NOISE, at_most=True))
    note = (
        f"{N_FILMS} embeddings of {DIM} in {N_CLASSES} classes; medians of {n_repeats} turns of loss and gradient. The "
        f"mean gradient of {n_draws} draws is {100 * length:.1f} % of its length from the exact one, {errors:.2f} "
        "standard errors."
    )
    heads = ("miner and loss", "one batch, ms", "peak, MB")
    tell(Answer("Miner and loss of one batch of three classes", heads, rows, marks, note), arguments.json)


if __name__ == "__main__":
    main()

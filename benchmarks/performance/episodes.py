"""Few-shot episodes on cached embeddings: how many per second out of 5, 20 and 60 classes, and where the time goes.

    python benchmarks/performance/episodes.py [--device cuda] [--json FILE] [--smoke]

12,000 random embeddings of 128 dimensions; 5-way 5-shot 15-query; every point metric and its interval over episodes.
easyfsl (pip install easyfsl==1.5.0) gets the same embeddings and shapes, and counts right answers only. The whole call
is timed, planning, temperature and summary with it; episodes_images.py starts from films.
"""

import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from question import Answer, Mark, seconds_in_turn, settings, tell

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import Result, evaluate_episodes

try:
    from easyfsl.datasets import FeaturesDataset
    from easyfsl.methods import PrototypicalNetworks
    from easyfsl.samplers import TaskSampler
    from easyfsl.utils import evaluate
except ImportError:
    TaskSampler = PrototypicalNetworks = None

N_FILMS, DIM, N_WAY, N_SHOT, N_QUERY = 12_000, 128, 5, 5, 15
SHAPE = {"n_way": N_WAY, "n_shot": N_SHOT, "n_query": N_QUERY}
CLASSES = (5, 20, 60)
RULES = ("mean_distance", "prototype")
KINDS = ("draw", "distances", "metrics", "sums")
AT_LEAST, GOAL = 20, 60_000
NOT_INSTALLED = "not installed"
HEADS = ("rule, classes", "episodes/s", "easyfsl", "ratio", "best ratio", *(f"{kind}, µs" for kind in KINDS))
HEADS += ("with the interval over patients, episodes/s",)


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    n_episodes: int = 10_000
    n_theirs: int = 500  # episodes of each of easyfsl's turns
    n_repeats: int = 3


def make_films(n_classes: int = N_WAY, n_films: int = N_FILMS, dim: int = DIM) -> Embeddings:
    """Draw classes that overlap, so that no number is 0 or 1; each film is its own patient."""
    draw = np.random.default_rng(0)
    class_ids = np.arange(n_films) * n_classes // n_films
    centres = 0.12 * draw.standard_normal((n_classes, dim))
    return Embeddings(centres[class_ids] + draw.standard_normal((n_films, dim)), class_ids)


def judged(films: Embeddings, rule: str, n_episodes: int, device: str = "cpu", **options) -> Result:
    """Evaluate episodes of the usual shape, without the interval over patients unless asked for."""
    how = {"n_episodes": n_episodes, "device": device, "patient_interval": False, "progress": None, **SHAPE, **options}
    return evaluate_episodes(films, rule=rule, **how)


def timed_easyfsl(model, dataset, device: str, n_episodes: int) -> None:
    """Run easyfsl's own loop on some episodes."""
    random.seed(0)  # its sampler draws from the global generator
    sampler = running_sampler()(dataset, N_WAY, N_SHOT, N_QUERY, n_episodes)
    loader = torch.utils.data.DataLoader(dataset, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
    evaluate(model, loader, device=device, use_tqdm=False)


def running_sampler() -> type:
    """Make a TaskSampler that runs: easyfsl 1.5's hands `data_source` to torch's Sampler, which takes none today."""

    class TakesDataSource(torch.utils.data.Sampler):
        def __init__(self, data_source=None) -> None:
            pass

    return type("RunningTaskSampler", (TaskSampler, TakesDataSource), {})


def of_classes(n_classes: int, device: str, sizes: Sizes) -> tuple[list[tuple[str, ...]], list[Mark]]:
    """Measure all rules and easyfsl in turn on films of that many classes."""
    films, results = make_films(n_classes), {}

    def ours(rule: str, **options) -> None:
        results.setdefault((rule, *options), []).append(judged(films, rule, sizes.n_episodes, device, **options))

    works = {rule: lambda rule=rule: ours(rule) for rule in RULES}
    if TaskSampler is not None:
        dataset = FeaturesDataset(films.class_ids.tolist(), torch.from_numpy(films.vectors), list(films.class_names))
        model = PrototypicalNetworks().to(device)
        works["easyfsl"] = lambda: timed_easyfsl(model, dataset, device, sizes.n_theirs)
    seconds = seconds_in_turn(works, sizes.n_repeats, device)
    of_patients = {RULES[0]: lambda: ours(RULES[0], patient_interval=True)}  # once: it is by far the slowest
    with_interval = seconds_in_turn(of_patients, 1, device, warm_up=0)
    rows, marks = [], []
    for rule in RULES:
        with_patients = with_interval.get(rule)
        row = [f"`{rule}`, {N_WAY} of {n_classes}", *_speeds(seconds[rule], seconds.get("easyfsl"), sizes)]
        row += _kinds(results[rule,][-sizes.n_repeats :], sizes.n_episodes)
        rows.append((*row, f"{sizes.n_episodes / median(with_patients):,.0f}" if with_patients else "-"))
        name = f"{rule}, {N_WAY} of {n_classes} classes"
        if "easyfsl" in seconds:
            marks.append(Mark(f"{name}, times easyfsl", _times(seconds[rule], seconds["easyfsl"], sizes), AT_LEAST))
        marks.append(Mark(f"{name}, episodes/s (goal)", sizes.n_episodes / median(seconds[rule]), GOAL))
    return rows, marks


def _times(ours: Sequence[float], theirs: Sequence[float], sizes: Sizes) -> float:
    """Return how many times as fast we are: the median over the turns."""
    each = (their / own for own, their in zip(ours, theirs, strict=True))
    return median(each) * sizes.n_episodes / sizes.n_theirs


def _speeds(ours: Sequence[float], theirs: Sequence[float] | None, sizes: Sizes) -> list[str]:
    own = f"{sizes.n_episodes / median(ours):,.0f}"
    if theirs is None:
        return [own, NOT_INSTALLED, "-", "-"]
    best = min(theirs) / min(ours) * sizes.n_episodes / sizes.n_theirs
    return [own, f"{sizes.n_theirs / median(theirs):,.0f}", f"{_times(ours, theirs, sizes):.1f}", f"{best:.1f}"]


def _kinds(results: Sequence[Result], n_episodes: int) -> list[str]:
    """Tell where the time of the fastest run went."""
    fastest = min(results, key=lambda result: result.asked.seconds["episodes"]).asked.seconds
    return [f"{1e6 * fastest[kind] / n_episodes:.1f}" for kind in KINDS]


def first_call(device: str) -> tuple[float, float]:
    """Return the seconds of a process's first and second call of 1,000 episodes, its imports not counted."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from time import perf_counter\n"
        "from episodes import judged, make_films\n"
        "films = make_films(20)\n"
        "for _ in range(2):\n"
        "    start = perf_counter()\n"
        "    judged(films, 'mean_distance', 1000, sys.argv[2])\n"
        "    print(perf_counter() - start)\n"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), device]
    first, second = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(first), float(second)


def main() -> None:
    """Measure, and tell."""
    arguments = settings(__doc__).parse_args()
    sizes = Sizes(200, 20, 1) if arguments.smoke else Sizes()
    rows, marks = [], []
    for n_classes in CLASSES:
        more_rows, more_marks = of_classes(n_classes, arguments.device, sizes)
        rows, marks = rows + more_rows, marks + more_marks
    first, second = first_call(arguments.device)
    note = (
        f"{N_FILMS:,} embeddings of {DIM}, {N_SHOT} shots, {N_QUERY} queries of each class, {sizes.n_episodes:,} "
        f"episodes with every number (easyfsl: {sizes.n_theirs}, accuracy alone), {torch.get_num_threads()} threads, "
        f"medians of {sizes.n_repeats} turns of the whole call. Microseconds are of an episode: of k cores that judge "
        "blocks at once each counts a kth, and drawing and sums go on beside them. The first call of a process takes "
        f"{first:.2f} s for 1,000 episodes, the second {second:.2f} s."
    )
    title = f"Episodes per second, {N_WAY}-way {N_SHOT}-shot"
    tell(Answer(title, HEADS, rows, marks, note), arguments.json)


if __name__ == "__main__":
    main()

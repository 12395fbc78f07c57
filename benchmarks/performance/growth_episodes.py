"""How evaluation grows with episodes, ways, shots, dimensions and exemplars, and which resource ends it.

    python benchmarks/performance/growth_episodes.py [--device cuda] [--json FILE] [--smoke]

Of each size the fewest bytes that must be moved (each film of an episode read and written once) and the products that
must be made are known; bandwidth and products per second are measured on the spot. The larger of the two shares is how
far the work is from its limit; where both are small, what is left is the many small operations between.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import torch
from episodes import N_QUERY, N_SHOT, N_WAY, make_films
from question import Answer, settings, tell

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import evaluate_episodes
from fewshot_cxr.inference.deciding import Decider

N_FILMS, DIM, N_EPISODES, N_ASKED = 12_000, 128, 2_000, 200
GROWTH = {
    "episodes": (1_000, 10_000, 100_000),
    "ways": (2, 5, 20, 50),
    "shots": (1, 5, 20, 80),
    "dimensions": (32, 128, 512, 2048),
    "exemplars": (1_000, 10_000, 100_000),
}
SMOKE = {"episodes": (50,), "ways": (2,), "shots": (1,), "dimensions": (32,), "exemplars": (200,)}
BOUND = 0.3  # of a limit: below, neither memory nor arithmetic is what ends it
HEADS = ("what grows", "seconds", "per second", "of bandwidth", "of arithmetic", "ended by")


@dataclass(frozen=True)
class Limits:
    """What the machine does at most: bytes moved and products (a multiplication and an addition) in a second."""

    bytes_per_second: float
    products_per_second: float

    @classmethod
    def measured(cls, device: str, size: int) -> "Limits":
        """Copy much memory, and multiply large matrices; the fastest of some."""
        source, target = torch.rand(size * size, device=device), torch.empty(size * size, device=device)
        square = source.reshape(size, size)
        copied = _fastest(lambda: target.copy_(source), device)
        multiplied = _fastest(lambda: square @ square, device)
        return cls(2 * source.nbytes / copied, size**3 / multiplied)


def _fastest(work, device: str, n_repeats: int = 7) -> float:
    seconds = []
    for _ in range(n_repeats):
        start = perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(perf_counter() - start)
    return min(seconds)


def row_of(what: str, n: int, seconds: float, work: tuple[float, float], limits: Limits) -> tuple[str, ...]:
    """Tell one size: `n` things in `seconds`, whose `work` is bytes and products of all."""
    memory, arithmetic = work[0] / limits.bytes_per_second / seconds, work[1] / limits.products_per_second / seconds
    ended = "memory" if memory >= arithmetic else "arithmetic"
    ended = ended if max(memory, arithmetic) >= BOUND else f"small operations ({ended} next)"
    return what, f"{seconds:.2f}", f"{n / seconds:,.0f}", f"{100 * memory:.1f} %", f"{100 * arithmetic:.1f} %", ended


def episodes_row(what: str, films: Embeddings, limits: Limits, device: str, **shape: int) -> tuple[str, ...]:
    """Measure one size of episodes; its films are those that the shape needs."""
    asked = {"n_way": N_WAY, "n_shot": N_SHOT, "n_query": N_QUERY, "n_episodes": N_EPISODES} | shape
    start = perf_counter()
    evaluate_episodes(films, rule="mean_distance", patient_interval=False, device=device, progress=None, **asked)
    seconds, n, dim = perf_counter() - start, asked["n_episodes"], films.vectors.shape[1]
    n_support, n_asked = asked["n_way"] * asked["n_shot"], asked["n_way"] * asked["n_query"]
    work = 8.0 * n * (n_support + n_asked) * dim, float(n) * n_support * n_asked * dim
    return row_of(what, n, seconds, work, limits)


def exemplars_row(n_exemplars: int, limits: Limits) -> tuple[str, ...]:
    """Measure films decided by that many exemplars; all distances are written once."""
    films = make_films(N_WAY, n_exemplars)
    decider, queries = Decider(films, rule="mean_distance"), make_films(N_WAY, N_ASKED).vectors
    start = perf_counter()
    decider.distances(queries)
    seconds = perf_counter() - start
    work = 4.0 * (n_exemplars * DIM + N_ASKED * n_exemplars), float(N_ASKED) * n_exemplars * DIM
    return row_of(f"{n_exemplars:,} exemplars, {N_ASKED} films", N_ASKED, seconds, work, limits)


def measured(growth: dict[str, tuple[int, ...]], limits: Limits, device: str) -> Iterator[tuple[str, ...]]:
    """Measure all sizes."""
    films, episodes = make_films(), {"n_episodes": min(N_EPISODES, 10 * max(growth["episodes"]))}
    evaluate_episodes(films, n_episodes=20, n_way=N_WAY, device=device, progress=None)  # the first call loads much
    for n in growth["episodes"]:
        yield episodes_row(f"{n:,} episodes", films, limits, device, n_episodes=n)
    for n in growth["ways"]:
        yield episodes_row(f"{n} ways", make_films(n), limits, device, n_way=n, **episodes)
    for n in growth["shots"]:
        yield episodes_row(f"{n} shots", films, limits, device, n_shot=n, **episodes)
    for n in growth["dimensions"]:
        yield episodes_row(f"{n} dimensions", make_films(dim=n), limits, device, **episodes)
    for n in growth["exemplars"]:
        yield exemplars_row(n, limits)


def main() -> None:
    """Measure, and tell."""
    arguments = settings(__doc__).parse_args()
    limits = Limits.measured(arguments.device, 512 if arguments.smoke else 4096)
    rows = list(measured(SMOKE if arguments.smoke else GROWTH, limits, arguments.device))
    note = (
        f"{N_FILMS:,} films of {DIM}, {N_WAY}-way {N_SHOT}-shot, {N_EPISODES:,} episodes with every number unless the "
        f"row says so; `mean_distance`, {torch.get_num_threads()} threads. Here a copy moves "
        f"{limits.bytes_per_second / 1e9:.1f} GB/s and a large product makes "
        f"{2 * limits.products_per_second / 1e9:.0f} GFLOP/s: the shares are of these."
    )
    tell(Answer("How evaluation grows", HEADS, rows, (), note), arguments.json)


if __name__ == "__main__":
    main()

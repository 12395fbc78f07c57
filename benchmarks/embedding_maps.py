"""How long maps of embeddings take: t-SNE, a self-organising map, their figures, and a report with both.

    python benchmarks/embedding_maps.py [--films 5000] [--dims 128 512] [--threads 2]

Embeddings of 15 findings that overlap, drawn by a seed. Seconds on the clock and of the processor; the goal is t-SNE,
map and report together in under 60 s on two cores. The report is made from the start: 1,000 episodes with their
intervals, the page of the result, and both maps drawn anew for light and dark, without films. On a machine that is
busy otherwise take --threads 1 and read the seconds of the processor: threads that wait for each other count, too.
"""

import argparse
import os
from collections.abc import Callable
from time import perf_counter, process_time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

N_FINDINGS = 15
GOAL_SECONDS = 60


def timed(what: str, work: Callable[[], T]) -> tuple[T, float]:
    clock, processor = perf_counter(), process_time()
    result = work()
    seconds = perf_counter() - clock
    print(f"  {what:<24} {seconds:6.1f} s on the clock, {process_time() - processor:6.1f} s of the processor")
    return result, seconds


def measure(n_films: int, dim: int) -> None:
    # After the number of threads is set, which NumPy and scikit-learn read when they are loaded.
    import numpy as np

    from fewshot_cxr.visualise.projection import project
    from fewshot_cxr.visualise.projection_figure import projection_figure
    from fewshot_cxr.visualise.set_apart import silhouette
    from fewshot_cxr.visualise.som import class_proximity, train_som
    from fewshot_cxr.visualise.som_figures import som_distance_figure, som_hits_figure

    draw = np.random.default_rng(0)
    codes = draw.integers(0, N_FINDINGS, n_films)
    vectors = 0.3 * draw.standard_normal((N_FINDINGS, dim))[codes] + draw.standard_normal((n_films, dim))
    findings = [f"finding {code}" for code in codes]
    print(f"{n_films:,} embeddings of {dim} dimensions")
    plane, tsne_seconds = timed("t-SNE", lambda: project(vectors))
    _, apart_seconds = timed("silhouette", lambda: silhouette(vectors, findings))
    _, figure_seconds = timed("projection figure", lambda: projection_figure(plane, findings))
    som, som_seconds = timed("self-organising map", lambda: train_som(vectors))
    _, table_seconds = timed("class proximity", lambda: class_proximity(som, findings))
    _, hits_seconds = timed("map figures", lambda: (som_hits_figure(som, findings), som_distance_figure(som)))
    total = sum((tsne_seconds, apart_seconds, figure_seconds, som_seconds, table_seconds, hits_seconds))
    print(f"  {'together':<24} {total:6.1f} s; the goal, with the report, is {GOAL_SECONDS} s")
    page, _ = timed("report, maps anew", lambda: report(vectors, findings))
    print(f"  the page has {len(page.encode()) / 1e6:.1f} MB")
    print(f"  trustworthiness {plane.trustworthiness:.3f}, topographic error {som.topographic_error:.3f}\n")


def report(vectors: "np.ndarray", findings: list[str]) -> str:
    from fewshot_cxr.embeddings import Embeddings
    from fewshot_cxr.evaluation import evaluate_episodes
    from fewshot_cxr.report import render_page
    from fewshot_cxr.report.map_sections import projection_section, som_section
    from fewshot_cxr.report.run_page import PageParts, run_page
    from fewshot_cxr.report.run_sections import ShownResult

    paths = [f"{row}.png" for row in range(len(vectors))]
    result = evaluate_episodes(Embeddings(vectors, findings, paths=paths), n_way=5, n_episodes=1000)
    sources = [f"hospital {row % 3}" for row in range(len(vectors))]
    films = (projection_section(vectors, findings, sources), som_section(vectors, findings))
    return render_page(run_page(PageParts(results=(ShownResult("episodes", result),), films=films)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=5000)
    parser.add_argument("--dims", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    for dim in options.dims:
        measure(options.films, dim)


if __name__ == "__main__":
    main()

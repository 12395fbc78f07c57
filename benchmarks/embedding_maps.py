"""How long maps of embeddings take: t-SNE and its figure, a self-organising map, its figures and its table.

    python benchmarks/embedding_maps.py [--films 5000] [--dims 128 512] [--threads 2]

Embeddings of 15 findings that overlap, drawn by a seed. Seconds on the clock and of the processor; the goal is t-SNE,
map and report together in under 60 s on two cores. On a machine that is busy otherwise take --threads 1 and read the
seconds of the processor: threads that wait for each other count, too.
"""

import argparse
import os
from collections.abc import Callable
from time import perf_counter, process_time
from typing import TypeVar

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

    from fewshot_cxr.visualise.projection import project, silhouette
    from fewshot_cxr.visualise.projection_figure import projection_figure
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
    print(f"  trustworthiness {plane.trustworthiness:.3f}, topographic error {som.topographic_error:.3f}\n")


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

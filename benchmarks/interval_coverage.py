"""How often the two intervals of an episodic result hold the truth, in simulated worlds of patients.

    python benchmarks/interval_coverage.py [--worlds 2000] [--shots 1 5 10] [--findings 3] [--n-way 3] [--workers 2]

A world is a test set: 3 findings x 40 patients x 1 to 4 films, embeddings of 8 dimensions made of the finding's mean,
the patient's own shift (larger for some patients than for others) and the film's noise. Other worlds have other
patients; the encoder, that is the geometry, is the same. The truth is what the result estimates: the mean accuracy over
all worlds (each world's own accuracy is an unbiased estimate of it).

Of each world the library's `evaluate_episodes` is asked, with 600 and with 10,000 episodes (rule `prototype`, 10
queries per finding). Coverage is the share of worlds whose interval holds the truth; it should be 95 %. For comparison,
in the first `--group-worlds` of them: the delete-a-group jackknife over 10 groups of patients, each replicate from its
own 2,000 episodes, Monte-Carlo variance subtracted, t quantile with 9 degrees of freedom.
"""

import argparse
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial

import numpy as np
import torch
from scipy import stats

from fewshot_cxr import Embeddings, evaluate_episodes

N_PATIENTS, DIM, N_QUERY, N_GROUPS = 40, 8, 10, 10
NUMBERS = ("accuracy", "macro_f1", "auroc", "sensitivity")
LENGTHS = (600, 10_000)


def draw_world(seed, world, n_findings=3):
    """Return the films of one world."""
    draw = np.random.default_rng([seed, world])
    n_films = draw.integers(1, 5, n_findings * N_PATIENTS)
    finding = np.repeat(np.arange(n_findings), N_PATIENTS)
    shift = draw.normal(size=(len(finding), DIM)) * 0.8 * draw.choice([0.7, 1.5], size=(len(finding), 1))
    centre = 1.35 * np.eye(n_findings, DIM)[finding] + shift
    patients = np.repeat(np.arange(len(finding)), n_films)
    vectors = centre[patients] + 0.8 * draw.normal(size=(len(patients), DIM))
    return Embeddings(vectors, finding[patients], patients, paths=[f"{row}.png" for row in range(len(patients))])


def judge_world(world, *, seed, n_shot, n_findings, n_way, with_groups):
    """Return, for each length and number: mean, interval over episodes, interval over patients; and the groups'."""
    torch.set_num_threads(1)
    films = draw_world(seed, world, n_findings)
    ask = partial(evaluate_episodes, n_way=n_way, n_shot=n_shot, n_query=N_QUERY, rule="prototype", device="cpu")
    rows = []
    for n_episodes in LENGTHS:
        result = ask(films, n_episodes=n_episodes, seed=world)
        found = {name: getattr(result.scores, name, None) for name in NUMBERS}
        found["sensitivity"] = result.per_class_recall["0"]
        rows.append([(found[n].mean, *found[n].ci95_episodes, *found[n].ci95_patients) for n in NUMBERS])
    return np.array(rows), by_groups(films, ask, world) if with_groups else None


def by_groups(films, ask, world):
    """Return accuracy and its interval by the delete-a-group jackknife."""
    whole = ask(films, n_episodes=10_000, seed=world, patient_interval=False).accuracy
    group = (
        np.random.default_rng([world, 7])
        .permuted(np.tile(np.arange(N_PATIENTS) % N_GROUPS, (len(films.class_names), 1)), axis=1)
        .ravel()[films.patient_ids]
    )
    means, noise = [], []
    for left_out in range(N_GROUPS):
        kept = group != left_out
        part = Embeddings(films.vectors[kept], films.class_ids[kept], films.patient_ids[kept])
        accuracy = ask(part, n_episodes=2000, seed=world, patient_interval=False).accuracy
        means.append(accuracy.mean)
        noise.append(half_width(accuracy.ci95_episodes) ** 2 / 1.96**2)
    gaps = (np.array(means) - np.mean(means)) ** 2
    variance = (N_GROUPS - 1) / N_GROUPS * (gaps.sum() - (N_GROUPS - 1) / N_GROUPS * np.sum(noise))
    half = stats.t.ppf(0.975, N_GROUPS - 1) * max(variance, 0) ** 0.5
    return whole.mean, whole.mean - half, whole.mean + half


def half_width(interval):
    return (interval[1] - interval[0]) / 2


def main():
    """Print a table for each shot count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=2000)
    parser.add_argument("--group-worlds", type=int, default=200)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5, 10])
    parser.add_argument("--findings", type=int, default=3)
    parser.add_argument("--n-way", type=int, help="findings in an episode; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    machine = platform.processor() or platform.machine()
    print(f"{date.today()}, {machine}, torch {torch.__version__}, seed {arguments.seed}")
    print("shots  number       episodes  interval           worlds  truth   true half-width  mean half-width  coverage")
    with ProcessPoolExecutor(arguments.workers) as pool:
        for n_shot in arguments.shots:
            start = time.perf_counter()
            shape = {"n_shot": n_shot, "n_findings": arguments.findings, "n_way": arguments.n_way}
            ask = partial(judge_world, seed=arguments.seed, **shape)
            grouped = list(pool.map(partial(ask, with_groups=True), range(arguments.group_worlds), chunksize=4))
            others = range(arguments.group_worlds, arguments.worlds)
            every = grouped + list(pool.map(partial(ask, with_groups=False), others, chunksize=10))
            show(n_shot, np.array([rows for rows, _ in every]), np.array([row for _, row in grouped]))
            print(f"       ({time.perf_counter() - start:.0f} s)", flush=True)


def show(n_shot, rows, groups):
    """Print the rows of one shot count; rows (worlds, lengths, numbers, 5), groups (worlds, 3)."""
    truths = rows[:, -1, :, 0].mean(axis=0)
    for place, name in enumerate(NUMBERS):
        for length, n_episodes in enumerate(LENGTHS):
            means = rows[:, length, place, 0]
            true_half = 1.96 * means.std(ddof=1)
            for kind, columns in (("over episodes", (1, 2)), ("over patients", (3, 4))):
                low, high = (rows[:, length, place, column] for column in columns)
                line(n_shot, name, n_episodes, kind, low, high, truths[place], true_half)
    if len(groups):
        true_half = 1.96 * rows[:, -1, 0, 0].std(ddof=1)
        line(n_shot, "accuracy", 10_000, "delete a group", groups[:, 1], groups[:, 2], truths[0], true_half)


def line(n_shot, name, n_episodes, kind, low, high, truth, true_half):
    """Print one row; coverage with its standard error."""
    covered = float(np.mean((low <= truth) & (truth <= high)))
    error = (covered * (1 - covered) / len(low)) ** 0.5
    print(
        f"{n_shot:5d}  {name:11s}  {n_episodes:8,d}  {kind:17s}  {len(low):6,d}  {truth:.4f}  {true_half:15.4f}"
        f"  {np.mean(high - low) / 2:15.4f}  {100 * covered:5.1f} % +- {100 * error:.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()

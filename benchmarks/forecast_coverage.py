"""How often the forecast of a learning curve holds the truth, in simulated worlds of patients.

    python benchmarks/forecast_coverage.py [--worlds 500] [--workers 2]

A world is an encoder and a test set: 2 to 5 findings of 25 to 80 patients of 1 to 3 films, embeddings of 4 to 64
dimensions of unequal spread made of the finding's mean, the patient's own shift (in half of the worlds larger for some
patients than for others) and the film's noise; and a rule, prototype, mean_distance, nearest or simpleshot in turn. The
library measures 1, 2, 5 and 10 shots and forecasts 20 and 40. The truth is the mean over new patients of the same kind:
250 supports of 20 and of 40 films a finding, 20 films of as many patients asked of each.

Coverage is the share of the forecasts given, not refused, whose 95 % interval holds the truth. The worlds are drawn
from seeds that played no part in the choice of the forecast's settings.
"""

import argparse
import os
import platform
import re
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial

import numpy as np
import torch

from fewshot_cxr import Embeddings
from fewshot_cxr.evaluation import measure_learning_curve
from fewshot_cxr.inference import RULES

USED, AHEAD = ("prototype", "mean_distance", "nearest", "simpleshot"), (20, 40)
N_TRUTH, N_ASKED = 250, 20


class World:
    """An encoder's view of some findings: how far apart they lie, and how patients and films scatter."""

    def __init__(self, draw):
        self.n_way, self.dim = int(draw.choice([2, 3, 3, 4, 5])), int(draw.choice([4, 8, 16, 32, 64]))
        self.spread = np.exp(-draw.uniform(0, 3) * np.arange(self.dim) / self.dim)
        apart = draw.uniform(0.5, 2.5) * draw.normal(size=(self.n_way, self.dim))
        self.centres = apart * self.spread / self.dim**0.25
        self.shift, self.film = draw.uniform(0.3, 1, 2)
        self.is_uneven = bool(draw.integers(2))

    def patients(self, draw, finding, n_patients):
        """Return the centres of patients, (n_patients, dim)."""
        size = draw.choice([0.7, 1.5], size=(n_patients, 1)) if self.is_uneven else 1.0
        shifts = draw.normal(size=(n_patients, self.dim)) * size * self.shift * self.spread
        return self.centres[finding] + shifts

    def films(self, draw, patients):
        """Return a film of each patient's centre."""
        return patients + draw.normal(size=patients.shape) * self.film * self.spread

    def test_set(self, draw):
        """Return the films that the curve is measured on."""
        vectors, findings, patients = [], [], []
        for finding in range(self.n_way):
            n_patients = int(draw.integers(25, 81))
            of_patient = np.repeat(np.arange(n_patients), draw.integers(1, 4, n_patients))
            vectors.append(self.films(draw, self.patients(draw, finding, n_patients)[of_patient]))
            findings += [finding] * len(of_patient)
            patients += [f"{finding}-{patient}" for patient in of_patient]
        paths = [f"{row}.png" for row in range(len(findings))]
        return Embeddings(np.concatenate(vectors), findings, patients, paths=paths)

    def truth(self, draw, rule, n_shot):
        """Return the mean accuracy, and the recall of the last finding, of supports of new patients."""
        labels, asked = np.arange(self.n_way).repeat(n_shot), np.arange(self.n_way).repeat(N_ASKED)
        right = []
        for _ in range(N_TRUTH):
            sides = [
                np.concatenate([self.films(draw, self.patients(draw, c, n)) for c in range(self.n_way)])
                for n in (n_shot, N_ASKED)
            ]
            support, query = (torch.from_numpy(side.astype(np.float32)) for side in sides)
            decided = RULES[rule](support, torch.from_numpy(labels), query, distance="euclidean").argmin(dim=-1)
            right.append((decided.numpy() == asked).reshape(self.n_way, N_ASKED).mean(axis=1))
        means = np.mean(right, axis=0)
        return means.mean(), means[-1]


def judge_world(number, seed):
    """Return (rule, number, shots, forecast, truth) of each forecast."""
    torch.set_num_threads(1)
    draw = np.random.default_rng([seed, number])
    world, rule = World(draw), USED[number % len(USED)]
    films = world.test_set(draw)
    ask = partial(measure_learning_curve, films, shots=(1, 2, 5, 10), ahead=AHEAD, novel=(films.class_names[-1],))
    curve = ask(rule=rule, distance="euclidean", n_episodes=300, n_patient_episodes=600, seed=number, progress=None)
    truths = {n_shot: world.truth(draw, rule, n_shot) for n_shot in AHEAD}
    return [
        (rule, one.number.partition(" ")[0], one.n_shot, one, truths[one.n_shot][one.number != "accuracy"])
        for one in curve.forecasts
    ]


def main():
    """Print coverage of accuracy and of recall, at 20 and 40 shots, over all rules and of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    print(f"{date.today()}, {platform.processor() or platform.machine()}, torch {torch.__version__}", end=", ")
    print(f"seed {arguments.seed}, {arguments.worlds} worlds")
    with ProcessPoolExecutor(arguments.workers) as pool:
        judged = pool.map(partial(judge_world, seed=arguments.seed), range(arguments.worlds), chunksize=5)
        rows = []
        for number, some in enumerate(judged, 1):
            rows += some
            if number % 100 == 0:
                print(f"{number} worlds", file=sys.stderr, flush=True)
    print("number    shots  rule           given  refused  coverage        half-width  median error  above the truth")
    for number in ("accuracy", "recall"):
        for n_shot in AHEAD:
            for rule in ("", *USED):
                show([row for row in rows if row[1:3] == (number, n_shot) and rule in ("", row[0])], rule)
    reasons = Counter(re.sub(r"[0-9]+", "N", one.value.reason or "") for *_, one, _ in rows)
    print("\n".join(f"{count:5d}  {reason}" for reason, count in reasons.most_common() if reason))


def show(rows, rule):
    """Print one row; coverage with its standard error."""
    given = [(one.value, truth) for *_, one, truth in rows if one.value.ci95 is not None]
    inside = np.mean([one.ci95[0] <= truth <= one.ci95[1] for one, truth in given])
    half = np.mean([(one.ci95[1] - one.ci95[0]) / 2 for one, _ in given])
    gaps = np.array([one.value - truth for one, truth in given])
    error = (inside * (1 - inside) / len(given)) ** 0.5
    print(
        f"{rows[0][1]:8s}  {rows[0][2]:5d}  {rule or 'all':13s}  {len(given):5d}  {len(rows) - len(given):7d}  "
        f"{100 * inside:5.1f} % +- {100 * error:3.1f}  {half:10.3f}  {np.median(np.abs(gaps)):12.3f}  "
        f"{100 * np.mean(gaps > 0):13.0f} %",
        flush=True,
    )


if __name__ == "__main__":
    main()

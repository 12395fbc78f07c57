"""What each way to choose exemplars is worth: balanced accuracy on films of other patients, from saved embeddings.

    fscxr encoder make efficientnet_lite0 --pretrained --out lite0
    fscxr embed --checkpoint lite0 --data <cxr3>/metadata.csv --out cxr3.safetensors
    python benchmarks/bank_choices.py cxr3.safetensors [--splits 20] [--shots 5 10 20] [--markdown]

In each split half of the patients are labelled, and exemplars are chosen among their films; the films of the others are
asked. "random" is the mean of five draws. Behind each other mean stands how far it is above random on the same split:
the mean, the smallest and the largest.
"""

import argparse
from collections.abc import Sequence
from datetime import date

import numpy as np
import torch

from fewshot_cxr import Embeddings
from fewshot_cxr.inference import RULES
from fewshot_cxr.inference.bank import CHOICES, choose

ASKED = ("mean_distance", "prototype", "nearest")
N_DRAWS = 5


def balanced_accuracy(chosen: Embeddings, films: Embeddings, rule: str) -> float:
    support, labels, queries = (torch.from_numpy(of) for of in (chosen.vectors, chosen.class_ids, films.vectors))
    distance = films.distance or "euclidean"
    answers = RULES[rule](support, labels, queries, distance=distance).argmin(dim=1).numpy()
    return float(np.mean([(answers[films.class_ids == code] == code).mean() for code in np.unique(films.class_ids)]))


def measure(films: Embeddings, seed: int, shots: Sequence[int]) -> dict[tuple[str, int, str], float]:
    patients = np.unique(films.patient_ids)
    is_labelled = np.isin(films.patient_ids, patients[np.random.default_rng(seed).random(len(patients)) < 0.5])
    labelled, asked = (films.take(np.flatnonzero(which)) for which in (is_labelled, ~is_labelled))
    found = {}
    for n_shot in shots:
        for how in CHOICES:
            draws = range(N_DRAWS if how == "random" else 1)
            chosen = [labelled.take(choose(labelled, n_shot, how=how, seed=draw)) for draw in draws]
            for rule in ASKED:
                found[rule, n_shot, how] = float(np.mean([balanced_accuracy(one, asked, rule) for one in chosen]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="file of `fscxr embed`, one finding a film")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--markdown", action="store_true", help="a table for the documentation")
    options = parser.parse_args()
    films = Embeddings.load(options.embeddings)
    splits = [measure(films, seed, options.shots) for seed in range(options.splits)]
    print(f"{date.today()}, {films!r}, {options.splits} splits\n")
    edge, between = ("| {} |", " | ") if options.markdown else ("{}", "  ")
    heads = [f"{'rule':<13}", "exemplars", *(f"{how:>26}" for how in CHOICES)]
    print(edge.format(between.join(heads)))
    if options.markdown:
        print(edge.format(between.join(["---", *["---:"] * (len(heads) - 1)])))
    for rule in ASKED:
        for n_shot in options.shots:
            cells = []
            for how in CHOICES:
                shares = 100 * np.array([split[rule, n_shot, how] for split in splits])
                above = shares - 100 * np.array([split[rule, n_shot, "random"] for split in splits])
                told = "" if how == "random" else f" ({above.mean():+.1f}: {above.min():+.1f} to {above.max():+.1f})"
                cells.append(f"{shares.mean():.1f}{told}".rjust(26))
            print(edge.format(between.join([f"{rule:<13}", f"{n_shot:>9}", *cells])))


if __name__ == "__main__":
    main()

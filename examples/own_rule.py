"""A decision rule of your own, beside the built-in ones, on identical episodes.

python examples/own_rule.py

A rule takes support, labels and queries, with any number of episodes before, and gives a distance to each class.
"""

import argparse

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr import Embeddings
from fewshot_cxr.distances import class_means, pairwise_distances
from fewshot_cxr.evaluation import compare_results, evaluate_plan, plan_episodes
from fewshot_cxr.inference import RULES


def unit_prototype(support: Tensor, labels: Tensor, queries: Tensor, *, distance: str = "euclidean") -> Tensor:
    prototypes = torch.nn.functional.normalize(class_means(support, labels), dim=-1)
    return pairwise_distances(queries, prototypes, distance)


def main(n_patients: int) -> None:
    draw = np.random.default_rng(0)
    patients = np.repeat(np.arange(3 * n_patients), 2)  # two films of each
    findings = np.array(["normal", "pneumonia", "covid19"])[patients % 3]
    own = draw.normal(size=(3 * n_patients, 16))[patients]  # what makes a patient's films look alike
    vectors = 1.5 * np.eye(3, 16)[patients % 3] + own + draw.normal(size=(len(patients), 16))
    films = Embeddings(vectors, findings, patients, paths=[f"{row}.png" for row in range(len(patients))])
    RULES["unit_prototype"] = unit_prototype
    plan = plan_episodes(films, n_shot=5, n_query=5, n_episodes=1000, seed=0)
    results = {rule: evaluate_plan(films, plan, rule=rule) for rule in ("prototype", "knn", "unit_prototype")}
    for rule, result in results.items():
        print(f"{rule}: {result.accuracy.mean:.3f}, 95 % over patients {result.accuracy.ci95_patients}")
    print(compare_results(results["prototype"], results["unit_prototype"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=40, help="of each finding")
    main(parser.parse_args().patients)

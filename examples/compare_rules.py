"""Judge one file of embeddings by several decision rules and distances, on identical episodes.

fscxr embed --checkpoint run --data split.csv --split test --out test.safetensors
python examples/compare_rules.py test.safetensors --rules prototype simpleshot ridge tim
"""

import argparse

from fewshot_cxr import Embeddings
from fewshot_cxr.evaluation import evaluate_plan, plan_episodes
from fewshot_cxr.inference import OWN_DISTANCE, RULES, TRANSDUCTIVE


def main(file: str, rules: list[str], n_shot: int, n_query: int) -> None:
    films = Embeddings.load(file)
    print(f"{len(films)} films, findings {', '.join(films.class_names)}; {n_shot}-shot, {n_query} queries per finding")
    plan = plan_episodes(films, n_shot=n_shot, n_query=n_query, n_episodes=1000)
    for rule in rules:
        for distance in ["euclidean"] if rule in OWN_DISTANCE else ["euclidean", "cosine", "l1"]:
            result = evaluate_plan(films, plan, rule=rule, distance=distance, n_patient_episodes=2000)
            low, high = result.accuracy.ci95_patients
            told = f"{result.accuracy.mean:.3f}, 95 % over patients {low:.3f} to {high:.3f}"
            print(f"{rule:14s} {result.distance:10s} {told}{', transductive' * (rule in TRANSDUCTIVE)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="of `fscxr embed`, or of Embeddings.save")
    parser.add_argument("--rules", nargs="+", choices=sorted(RULES), default=["mean_distance", "prototype", "knn"])
    parser.add_argument("--n-shot", type=int, default=5)
    parser.add_argument("--n-query", type=int, default=5)
    arguments = parser.parse_args()
    main(arguments.file, arguments.rules, arguments.n_shot, arguments.n_query)

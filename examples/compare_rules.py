"""Judge one file of embeddings by every decision rule and distance, on identical episodes.

fscxr embed --checkpoint run --data split.csv --split test --out test.safetensors
python examples/compare_rules.py test.safetensors
"""

import argparse

from fewshot_cxr import Embeddings, evaluate_episodes
from fewshot_cxr.inference import RULES


def main(file: str, n_shot: int, n_query: int) -> None:
    films = Embeddings.load(file)
    print(f"{len(films)} films, findings {', '.join(films.class_names)}; {n_shot}-shot, {n_query} queries per finding")
    for rule in RULES:
        for distance in ("euclidean", "cosine", "l1"):
            result = evaluate_episodes(
                films, n_shot=n_shot, n_query=n_query, n_episodes=1000, rule=rule, distance=distance, seed=0
            )
            low, high = result.accuracy.ci95_episodes
            print(f"{rule:14s} {distance:10s} {result.accuracy.mean:.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="of `fscxr embed`, or of Embeddings.save")
    parser.add_argument("--n-shot", type=int, default=5)
    parser.add_argument("--n-query", type=int, default=5)
    arguments = parser.parse_args()
    main(arguments.file, arguments.n_shot, arguments.n_query)

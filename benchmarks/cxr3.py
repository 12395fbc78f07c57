"""Accuracy on cxr3 (normal, pneumonia, covid19) over split seeds 0 to 4: train, then 3-way 5-shot episodes.

    FSCXR_DATA=<folder with cxr3> python benchmarks/cxr3.py [--judge test] [--epochs 30] [--seeds 0 1 2 3 4]

Beside each accuracy stand its interval over patients, then over episodes, and every floor in the same episodes.

Each seed splits 60/10/30 by patient group, trains with the library's defaults (ResNet-9, 96 px) and draws 1,000
episodes with 5 support and 10 query films per finding. Choose settings with `--judge val`; quote `--judge test`.
"""

import argparse
import os
import platform
import time
from datetime import date
from pathlib import Path
from statistics import mean

import torch

from fewshot_cxr import ImageSpec, SiameseTrainer, evaluate_episodes, read_dataset, split_by_patient
from fewshot_cxr.data import cache_films
from fewshot_cxr.inference import embed_baselines, embed_films


def judge_seed(records, seed, arguments, settings):
    """Train on one split and return (result of the episodes, seconds of training, trained encoder)."""
    train, val, test = split_by_patient(records, (0.6, 0.1, 0.3), seed=seed)
    trainer = SiameseTrainer(image_spec=ImageSpec(size_px=96), n_epochs=arguments.epochs, seed=0, **settings)
    start = time.perf_counter()
    trained = trainer.fit(train, val)
    seconds = time.perf_counter() - start
    films = cache_films(test if arguments.judge == "test" else val, trained.encoder.image_spec)
    n_query = 10 if arguments.judge == "test" else 5
    result = evaluate_episodes(
        embed_films(trained.encoder, films),
        n_way=3,
        n_shot=5,
        n_query=n_query,
        n_episodes=1000,
        rule=arguments.rule,
        distance=trainer.distance,
        seed=0,
        baselines=embed_baselines(films),
    )
    return result, seconds, trained


def main():
    """Print a row per seed, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", default="test", choices=("val", "test"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rule", default="mean_distance")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="SiameseTrainer settings")
    arguments = parser.parse_args()
    settings = {}
    for text in arguments.set:
        name, _, value = text.partition("=")
        try:
            settings[name] = int(value)
        except ValueError:
            try:
                settings[name] = float(value)
            except ValueError:
                settings[name] = {"None": None}.get(value, value)
    root = os.environ.get("FSCXR_DATA")
    if root is None:
        parser.error("set FSCXR_DATA to the folder that holds cxr3/metadata.csv")
    records = read_dataset("manifest", Path(root) / "cxr3" / "metadata.csv")
    print(
        f"{date.today()}, {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {settings}"
    )
    print("split seed  accuracy  95 % over patients  over episodes  best epoch  train s  floors (margin over patients)")
    rows = []
    for seed in arguments.seeds:
        result, seconds, trained = judge_seed(records, seed, arguments, settings)
        over_patients, over_episodes = (
            f"[{100 * low:.1f}, {100 * high:.1f}]"
            for low, high in (result.accuracy.ci95_patients, result.accuracy.ci95_episodes)
        )
        floors = {name: floor.value for name, floor in result.baselines.items()}
        rows.append({"accuracy": result.accuracy.value, **floors})
        print(
            f"{seed:10d}  {100 * result.accuracy.value:8.1f}  {over_patients:>18s}  {over_episodes:>13s}"
            f"  {trained.card['best_epoch']:10d}  {seconds:7.0f}  {floors_text(result)}",
            flush=True,
        )
    means = {name: mean(row[name] for row in rows) for name in rows[0]}
    print("mean: " + ", ".join(f"{name} {100 * value:.1f}" for name, value in means.items()))


def floors_text(result):
    """Return each floor, and how far accuracy lies above it with the interval over patients, in points."""
    told = []
    for name, floor in result.baselines.items():
        gap = result.above_baselines[name]
        low, high = gap.ci95_patients
        told.append(f"{name} {100 * floor.value:.1f} ({100 * gap.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}])")
    return "; ".join(told)


if __name__ == "__main__":
    main()

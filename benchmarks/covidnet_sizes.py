"""COVID-Net as published (flattened map, no batch normalisation) against the library's default of 8 million weights.

    python benchmarks/covidnet_sizes.py [--data cxr3/metadata.csv] [--size 96] [--seconds 40] [--lr 2e-3 2e-4]

Both train on the same films by the same trainer and are judged in the same 3-way 5-shot episodes, with intervals over
patients: after the same number of steps, namely those that the published network takes in `--seconds`, and the default
once more after as many as it takes in that time. Without batch normalisation a network may need a smaller rate, so
each of `--lr` is tried and every one shown. Without `--data` the films are drawn. At 224 px (`--size 224`) the
published network has its 59.6 million weights; it has fewer at smaller sizes, where the table says how many.

Compare rows of one run with each other, not with a run on another machine or day.
"""

import argparse
import platform
import time
from datetime import date
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from fewshot_cxr import ImageSpec, SiameseTrainer, build_encoder, evaluate_episodes, read_dataset, split_by_patient
from fewshot_cxr.data import cache_films
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import COVIDNET_PRESETS
from fewshot_cxr.inference import embed_films, native_precision

OPTIONS = {"published": COVIDNET_PRESETS["siamese-covid-net"], "default": {}}


def seconds_per_step(encoder, arguments):
    """Forward, backward and an optimiser step on one batch, the median of three after one that is not counted."""
    encoder = encoder.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-6)
    images = torch.rand(arguments.batch_size, 1, arguments.size, arguments.size)
    images = images.to(memory_format=torch.channels_last)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=native_precision(torch.device("cpu")) == "bf16-mixed"):
            embeddings = encoder(images)
        embeddings.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def train_and_judge(name, n_steps, lr, parts, arguments):
    """Return (result of the episodes, seconds of training, seconds per embedded film)."""
    train, val, test = parts
    trainer = SiameseTrainer(
        encoder="covidnet",
        encoder_options=OPTIONS[name],
        image_spec=ImageSpec(size_px=arguments.size),
        batch_size=arguments.batch_size,
        n_epochs=1,
        n_batches=n_steps,
        lr=lr,
        averaging=None,  # an average over a hundred steps remembers how training began
        val_n_episodes=20,
        device="cpu",
        seed=arguments.seed,
    )
    start = time.perf_counter()
    encoder = trainer.fit(train, val).encoder
    trained = time.perf_counter()
    films = cache_films(test, encoder.image_spec)
    decoded = time.perf_counter()
    embeddings = embed_films(encoder, films, device="cpu")
    per_film = (time.perf_counter() - decoded) / len(test)
    result = evaluate_episodes(embeddings, n_way=3, n_shot=5, n_query=10, n_episodes=1000, seed=arguments.seed)
    return result, trained - start, per_film


def show(name, n_steps, lr, parts, arguments):
    """Print one row of accuracies."""
    result, seconds, per_film = train_and_judge(name, n_steps, lr, parts, arguments)
    low, high = result.accuracy.ci95_patients
    interval = f"[{100 * low:.1f}, {100 * high:.1f}]"
    print(
        f"{name:10s} {lr:8.0e} {n_steps:6d} {seconds:8.0f} {100 * result.accuracy.value:9.1f}  {interval:>14s}"
        f" {1000 * per_film:8.1f}",
        flush=True,
    )


def main():
    """Print what the two networks weigh and cost, then what they reach."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a manifest; at least three findings")
    parser.add_argument("--patients", type=int, default=60, help="drawn per finding, without --data")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--lr", type=float, nargs="+", default=[2e-3, 2e-4])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(
        f"{date.today()}, {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}, {arguments.size} px, batches of {arguments.batch_size}, seed {arguments.seed}"
    )
    steps = {}
    print("network      weights  at 224 px  s per step")
    for name, options in OPTIONS.items():
        encoder = build_encoder("covidnet", image_spec=ImageSpec(size_px=arguments.size), **options)
        n_weights, n_large = (
            sum(weight.numel() for weight in network.parameters())
            for network in (encoder, build_encoder("covidnet", **options))
        )
        steps[name] = seconds_per_step(encoder, arguments)
        print(f"{name:10s} {n_weights / 1e6:7.1f} M {n_large / 1e6:8.1f} M {steps[name]:11.3f}", flush=True)
    n_steps = max(2, round(arguments.seconds / steps["published"]))
    n_same_time = max(2, round(arguments.seconds / steps["default"]))
    with TemporaryDirectory() as folder:
        if arguments.data is None:
            records = make_synthetic(folder, n_patients=arguments.patients, seed=arguments.seed)
        else:
            records = read_dataset("manifest", arguments.data)
        parts = split_by_patient(records, (0.6, 0.1, 0.3), seed=arguments.seed)
        print("network          lr  steps  train s  accuracy   over patients  ms/film")
        for lr in arguments.lr:
            show("published", n_steps, lr, parts, arguments)
            show("default", n_steps, lr, parts, arguments)
            if n_same_time != n_steps:
                show("default", n_same_time, lr, parts, arguments)


if __name__ == "__main__":
    main()

"""Does cutting the border off keep the network away from markers? Train with and without it, and test in pairs.

    FSCXR_DATA=<folder with cxr3> python benchmarks/crop_border.py [--epochs 30] [--seeds 0 1 2]
    python benchmarks/crop_border.py --synthetic [--epochs 12]

The question of the siamese COVID-Net project (2020), which cut 20 of 224 px off each side and compared heat maps by
eye. Each seed splits 60/10/30 by patient, trains ResNet-9 twice from the same weights, whole films first, then without
their border, and explains both on the same test films, for the decision by all training films as exemplars. The heat
of both is measured in the square of the whole film. Printed are the paired differences (cropped less whole) of the
share of the heat in each place, and of accuracy and AUROC, with intervals over patients. What is cut off has no heat by
itself, and what is left has more: "seen by both" counts the heat in the part of the film that both runs see alone.

In cxr3 class and source are confounded: every covid19 film is from one source, so that a network may know the source,
and neither accuracy nor heat says that it knows the disease. It has no lung masks; with --synthetic films, masks and
markers are drawn, the source is no hint of the finding, and the share in the lungs is known.
"""

import argparse
import os
import platform
import tempfile
import time
from datetime import date
from pathlib import Path

import torch

from fewshot_cxr import ImageSpec, SiameseTrainer, read_dataset, split_by_patient
from fewshot_cxr.data import cache_films
from fewshot_cxr.data.masks import lung_masks
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.evaluation import compare_results, evaluate_closed_set
from fewshot_cxr.explain.focus import film_frame_spec
from fewshot_cxr.inference import embed_films
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.explaining import Explainer, RunFilms
from fewshot_cxr.workflows.explaining.paired_runs import compare_runs
from fewshot_cxr.workflows.judging import Exemplars

CROPS = {"whole": 0.0, "cropped": 20 / 224}
NUMBERS = ("accuracy", "balanced_accuracy", "auroc")


def train_run(name, parts, arguments, seed):
    """Train with one border crop; return the run with its test films, and its result on them."""
    train, val, test = parts
    spec = ImageSpec(size_px=arguments.size, border_crop=CROPS[name])
    trainer = SiameseTrainer(image_spec=spec, n_epochs=arguments.epochs, seed=seed)
    start = time.perf_counter()
    trained = trainer.fit(train, val)
    print(f"seed {seed}, {name}: trained in {time.perf_counter() - start:.0f} s", flush=True)
    encoder = trained.encoder
    exemplars, films = cache_films(train, encoder.image_spec), cache_films(test, encoder.image_spec)
    rule = ExemplarRule(distance=trainer.distance)
    known = Exemplars(exemplars, embed_films(encoder, exemplars), rule)
    explainer = Explainer.of_exemplars(encoder, known, question=arguments.question)
    masks = None
    if any(film.mask_path for film in films.records):
        masks = lung_masks(films.records, film_frame_spec(encoder.image_spec))
    return RunFilms(name, explainer, films, masks), evaluate_closed_set(known.decide(embed_films(encoder, films)))


def judge_seed(records, arguments, seed):
    """Train both runs of one seed and print their paired differences."""
    parts = split_by_patient(records, (0.6, 0.1, 0.3), seed=seed)
    runs, results = zip(*(train_run(name, parts, arguments, seed) for name in CROPS), strict=True)
    paired = compare_runs(*runs, n_films=1, seed=seed)
    for row in paired.rows:
        tell(seed, f"heat: {row.measure}", row.mean_first, row.mean_second, row)
    for row in paired.inner_rows:
        tell(seed, f"seen by both: {row.measure}", row.mean_first, row.mean_second, row)
    comparison = compare_results(results[1], results[0], names=("cropped", "whole"))
    for row in comparison.rows:
        if row.number in NUMBERS:
            # Of two results the first less the second is told, so that the cropped run comes first.
            tell(seed, row.number, row.second, row.first, row)
    for note in dict.fromkeys(note for report in paired.reports for note in report.notes):
        print(f"seed {seed}: {note}")


def tell(seed, name, whole, cropped, row):
    """Print one difference in points."""
    if row.difference is None:
        print(f"{seed:4d}  {name:21s}  {row.reason}")
        return
    interval = "no interval"
    if row.ci95 is not None:
        interval = f"[{100 * row.ci95[0]:+.1f}, {100 * row.ci95[1]:+.1f}]"
    p_text = "none" if row.p_value is None else f"{row.p_value:.2g}"
    print(
        f"{seed:4d}  {name:21s}  whole {100 * whole:5.1f}  cropped {100 * cropped:5.1f}  "
        f"difference {100 * row.difference:+5.1f} {interval}  p {p_text}",
        flush=True,
    )


def main():
    """Print the paired differences of each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--size", type=int, default=96, metavar="PX")
    parser.add_argument("--question", default="contrast")
    parser.add_argument("--synthetic", action="store_true", help="drawn films, with lung masks")
    parser.add_argument("--patients", type=int, default=60, help="of each finding, with --synthetic")
    arguments = parser.parse_args()
    root = os.environ.get("FSCXR_DATA")
    if root is None and not arguments.synthetic:
        parser.error("set FSCXR_DATA to the folder that holds cxr3/metadata.csv, or take --synthetic")
    machine = platform.processor() or platform.machine()
    print(f"{date.today()}, {machine}, {torch.get_num_threads()} threads, {vars(arguments)}")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.synthetic:
            records = make_synthetic(folder, n_patients=arguments.patients)
            print("drawn films: they say nothing of patients")
        else:
            records = read_dataset("manifest", Path(root) / "cxr3" / "metadata.csv")
            print("cxr3: class and source are confounded, and there are no lung masks")
        print("shares in per cent, differences in points: cropped less whole, with 95 % over patients")
        for seed in arguments.seeds:
            judge_seed(records, arguments, seed)


if __name__ == "__main__":
    main()

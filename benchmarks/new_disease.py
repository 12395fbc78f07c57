"""A new disease from a few films: covid19 on cxr3, then SARS, Pneumocystis and Streptococcus on cxr_ieee8023.

    FSCXR_DATA=<folder with cxr3> python benchmarks/new_disease.py [--seeds 5 6 7 8 9] [--methods NAME ...] [--markdown]

On cxr3 each split seed divides 60/10/30 by patient group. No encoder sees covid19: heads are fitted, and encoders
trained, on normal and pneumonia of train. 1,000 episodes of the three findings follow, support and 10 queries a finding
of test, none of a support film's patient; 20 shots take support from val, and covid19 from train too. On cxr_ieee8023
nothing is divided: the joined head is fitted to cxr3's normal and pneumonia, whose patients are in no episode.

Caution: covid19 comes from one source of cxr3 and the other two from another. A method that tells sources apart looks
like one that tells the disease, and the row `source` shows how far that alone goes.

Last come the drawn films of `make demo`, split as there: five known findings and the new one, 6-way, at 96 px.

Films are embedded once for each frozen encoder, whatever the split. A mean over splits stands with the mean of their
intervals over patients: as wide as if the splits met the same patients. An encoder and a head are taken as they are;
other training films would make others.
"""

import argparse
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from new_disease_methods import FREE, KNOWN, LEARNT, METHODS, SIMPLE, Films, View, frozen, joined, say

from fewshot_cxr import evaluate_episodes, read_dataset, split_by_patient
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import measure_learning_curve
from fewshot_cxr.inference.embed import with_facts
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.workflows.demo import NEW_FINDING as DRAWN

NOVEL = "covid19"
RARE = ("SARS", "Pneumocystis", "Streptococcus", "COVID-19")
RULES = ("prototype", "mean_distance", "knn", "linear_probe")  # the first is that of every table but one
SHOTS, USUAL, LARGEST = (1, 2, 5, 10), 5, 20
ASKED = [*((RULES[0], n_shot) for n_shot in (*SHOTS, LARGEST)), *((rule, USUAL) for rule in RULES[1:])]
FITTED = ("fit", 0)


@dataclass(frozen=True)
class Point:
    """What a method reached in one split: accuracy, recalls, accuracy above pixels, seconds of the episodes."""

    accuracy: Estimate
    recalls: dict[str, Estimate]
    above: Estimate | None = None
    seconds: float = 0.0


def rows_of(films: Films, seed: int) -> dict[str, np.ndarray]:
    """Return the rows of each part of a split, and of those that a method may learn from."""
    row_of = {film.path: row for row, film in enumerate(films.records)}
    parts = split_by_patient(films.records, (0.6, 0.1, 0.3), seed=seed)
    rows = {part[0].split: np.array([row_of[film.path] for film in part]) for part in parts}
    return rows | {name: rows[of][np.isin(films.findings[rows[of]], KNOWN)] for name, of in LEARNT.items()}


def facts_of(films: Films, view: View, rows: np.ndarray | None = None) -> Embeddings:
    """Return embeddings of some films, turned into the axes that these span: the same distances, fewer numbers."""
    records = films.records if rows is None else films.records.take(rows.tolist())
    vectors = view.vectors if rows is None else view.vectors[rows]
    if vectors.shape[1] > len(vectors):
        vectors = np.linalg.qr(vectors.T.astype(np.float64), mode="r").T.astype(np.float32)
    return with_facts(vectors, records, distance=view.distance)


def ask(films: Films, view: View, rows: np.ndarray, pixels: View | None = None, **question: Any) -> Point:
    """Return what came of episodes among some films."""
    own, simple = (None if one is None else facts_of(films, one, rows) for one in (view, pixels))
    result = evaluate_episodes(own, baselines=simple, seed=0, progress=None, **question)
    above = result.above_baselines.get("pixels")
    return Point(result.accuracy, result.per_class_recall, above, result.asked.seconds["episodes"])


def ask_train(films: Films, view: View, rows: Mapping[str, np.ndarray], n_episodes: int) -> Point:
    """Return what came of the largest support: films of val, and those of train that no method learns from."""
    everywhere = np.arange(len(films.records))
    may_query = np.isin(everywhere, rows["test"])
    curve = measure_learning_curve(
        facts_of(films, view),
        shots=(LARGEST,),
        novel=(NOVEL,),
        may_support=~may_query & ~np.isin(everywhere, rows["known"]),
        may_query=may_query,
        n_episodes=n_episodes,
        rule=RULES[0],
        progress=None,
    )
    return Point(curve.points[0].accuracy, curve.points[0].recalls)


def judge(films: Films, seed: int, method: str, n_episodes: int) -> dict[tuple[str, int], Point]:
    """Return a point for each rule, and number of shots, that a method is asked in one split; FITTED says its cost."""
    rows = rows_of(films, seed)
    view, pixels = METHODS[method](films, rows), METHODS["pixels"](films, rows)
    question = {"protocol": "novel", "novel": [NOVEL], "n_way": 3, "n_query": 10, "n_episodes": n_episodes}
    new = partial(ask, films, view, rows["test"], **question)
    first = new(pixels, rule=RULES[0], n_shot=USUAL)
    say(f"split {seed}, {method}: {share(first.accuracy)}, {NOVEL} {share(first.recalls[NOVEL])}")
    points = {(RULES[0], USUAL): first, FITTED: replace(first, seconds=view.seconds)}
    points |= {(RULES[0], n_shot): new(rule=RULES[0], n_shot=n_shot) for n_shot in SHOTS if n_shot != USUAL}
    if method not in SIMPLE:
        points |= {(rule, USUAL): new(rule=rule, n_shot=USUAL) for rule in RULES[1:]}
        points[RULES[0], LARGEST] = ask_train(films, view, rows, n_episodes)
    return points


def judge_known(films: Films, seed: int, n_episodes: int) -> Point:
    """Return what the joined embedding reaches where it knows all three findings."""
    rows = rows_of(films, seed)
    view = joined(films, {"known": rows["train"]})
    return ask(films, view, rows["test"], n_way=3, n_shot=USUAL, n_query=10, n_episodes=n_episodes, rule=RULES[0])


def judge_rare(films: Films, others: Films, n_episodes: int) -> dict[tuple[str, int], Point]:
    """Return a point for each method that needs no training, and number of shots, among the rare findings."""
    known = {"known": np.flatnonzero(np.isin(others.findings, KNOWN))}
    makers = {name: make for name, make in FREE.items() if name != "source"} | {"joined": partial(joined, of=others)}
    views = {name: make(films, known) for name, make in makers.items()}
    rows, question = np.arange(len(films.records)), {"n_way": len(RARE), "n_query": 1, "n_episodes": n_episodes}
    return {
        (name, n_shot): ask(films, view, rows, views["pixels"], n_shot=n_shot, rule=RULES[0], **question)
        for name, view in views.items()
        for n_shot in range(1, USUAL + 1)
    }


def judge_drawn(films: Films, seed: int, n_episodes: int) -> dict[tuple[str, int], Point]:
    """Return a point for each method and number of shots among the films of the demo."""
    row_of = {film.path: row for row, film in enumerate(films.records)}
    train, _, test = split_by_patient(films.records, (0.6, 0.1, 0.3), seed=seed)
    known = {"known": np.array([row_of[film.path] for film in train if film.finding != DRAWN])}
    makers = {
        "pixels": METHODS["pixels"],
        "lite0-96": partial(frozen, size_px=96),
        "joined": partial(joined, size_px=96),
    }
    views = {name: make(films, known) for name, make in makers.items()}
    rows = np.array([row_of[film.path] for film in test])
    question = {"protocol": "generalized", "seen": sorted(set(films.findings[known["known"]])), "n_query": 10}
    question |= {"n_episodes": n_episodes, "if_too_small": "shrink_query", "rule": RULES[0]}
    return {
        (name, n_shot): ask(films, view, rows, views["pixels"], n_shot=n_shot, **question)
        for name, view in views.items()
        for n_shot in SHOTS
    }


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean over splits, between the means of the intervals' ends."""
    ends = [one.ci95_patients for one in estimates]
    middle = float(np.mean([one.value for one in estimates]))
    return Estimate(middle, ci95_patients=None if None in ends else tuple(np.mean(ends, axis=0).tolist()))


def share(one: Estimate | None, sign: str = "") -> str:
    """Return a share in per cent, with its interval over patients."""
    if one is None:
        return ""
    low, high = (f"{100 * end:{sign}.1f}" for end in one.ci95_patients or (np.nan, np.nan))
    return f"{100 * one.value:{sign}.1f}" + (f" ({low} to {high})" if one.ci95_patients else "")


def show(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool) -> None:
    """Print a table."""
    print(f"\n{title}\n")
    if markdown:
        rows = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
        print("\n".join(f"| {' | '.join(row)} |" for row in rows), flush=True)
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip(), flush=True)


def in_short(points: Sequence[Point]) -> str:
    """Return accuracy and the new finding's recall, means over the splits, in one cell; "-" where it was not asked."""
    if not points:
        return "-"
    recall = mean([one.recalls[NOVEL] for one in points])
    return f"{share(mean([one.accuracy for one in points]))}; {100 * recall.value:.1f}"


def mean_row(method: str, points: Sequence[Point], seconds: Sequence[float]) -> tuple[str, ...]:
    """Return a method's row of the first table."""
    return (
        method,
        share(mean([one.accuracy for one in points])),
        *(share(mean([one.recalls[name] for one in points])) for name in (NOVEL, *KNOWN)),
        "" if method == "pixels" else share(mean([one.above for one in points]), "+"),
        f"{np.mean(seconds):.1f}",
        f"{np.mean([one.seconds for one in points]):.1f}",
    )


def show_cxr3(points: Mapping[str, Sequence[Mapping[tuple[str, int], Point]]], seeds: Sequence[int], table) -> None:
    """Print what each method reached, on the mean over splits and in each."""
    cells = {(name, cell): [one[cell] for one in own if cell in one] for name, own in points.items() for cell in ASKED}
    first = {name: cells[name, (RULES[0], USUAL)] for name in points}
    rows = [mean_row(name, first[name], [one[FITTED].seconds for one in own]) for name, own in points.items()]
    heads = ("method", "accuracy", *(f"recall {name}" for name in (NOVEL, *KNOWN)), "above pixels")
    table(f"3-way {USUAL}-shot, rule {RULES[0]}, mean over the splits", (*heads, "fit, s", "episodes, s"), rows)
    for what, text in (
        ("Accuracy", lambda one: share(one.accuracy)),
        ("Above pixels", lambda one: share(one.above, "+")),
    ):
        names = [name for name in points if (what, name) != ("Above pixels", "pixels")]
        rows = [(str(seed), *(text(first[name][place]) for name in names)) for place, seed in enumerate(seeds)]
        table(f"{what} in each split", ("split seed", *names), rows)
    for what, columns in (("shots", ASKED[: len(SHOTS) + 1]), ("rule", ASKED[len(SHOTS) + 1 :])):
        rows = [(name, *(in_short(cells[name, cell]) for cell in columns)) for name in points]
        table(f"By {what}: accuracy; recall of {NOVEL}", ("method", *(f"{rule}, {n}" for rule, n in columns)), rows)


def show_drawn(points: Mapping[tuple[str, int], Point], table) -> None:
    """Print what each method reached on the demo's films."""
    rows = [
        (
            name,
            f"{n_shot}",
            share(one.accuracy),
            share(one.recalls[DRAWN]),
            "" if name == "pixels" else share(one.above, "+"),
        )
        for (name, n_shot), one in points.items()
    ]
    heads = ("method", "shots", "accuracy of all six", f"recall {DRAWN}", "above pixels")
    table(f"Drawn films of the demo, 6-way, rule {RULES[0]}", heads, rows)


def show_rare(points: Mapping[tuple[str, int], Point], films: Films, table) -> None:
    """Print what each method reached among the rare findings."""
    patients = {name: {film.group for film in films.records if film.finding == name} for name in RARE}
    counts = (f"{name} {(films.findings == name).sum()} films of {len(patients[name])} patients" for name in RARE)
    rows = []
    for (name, n_shot), one in points.items():
        recalls, above = (share(one.recalls[of]) for of in RARE), "" if name == "pixels" else share(one.above, "+")
        rows.append((name, f"{n_shot}", share(one.accuracy), *recalls, above))
    heads = ("method", "shots", "accuracy", *(f"recall {name}" for name in RARE), "above pixels")
    table(f"One source, {len(RARE)}-way, 1 query a finding, rule {RULES[0]}: {', '.join(counts)}", heads, rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7, 8, 9], help="of the splits of cxr3")
    parser.add_argument(
        "--methods", nargs="+", default=[*FREE, "resnet9"], choices=METHODS, metavar="NAME", help=" ".join(METHODS)
    )
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--only", choices=("cxr3", "known", "rare", "drawn"), help="one of the parts")
    parser.add_argument("--markdown", action="store_true", help="tables as docs/new-disease-measured.md has them")
    arguments = parser.parse_args()
    root = os.environ.get("FSCXR_DATA")
    if root is None:
        parser.error("set FSCXR_DATA to the folder that holds cxr3/metadata.csv")
    table = partial(show, markdown=arguments.markdown)
    print(
        f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; split seeds {arguments.seeds}, episode seed 0"
    )
    folder = os.environ.get("FSCXR_CACHE")
    films = Films(read_dataset("manifest", Path(root) / "cxr3" / "metadata.csv"), folder)
    if arguments.only in (None, "cxr3"):
        points = {
            method: [judge(films, seed, method, arguments.episodes) for seed in arguments.seeds]
            for method in arguments.methods
        }
        show_cxr3(points, arguments.seeds, table)
    if arguments.only in (None, "known"):
        own = [judge_known(films, seed, arguments.episodes) for seed in arguments.seeds]
        rows = [(str(seed), share(one.accuracy)) for seed, one in zip(arguments.seeds, own, strict=True)]
        rows.append(("mean", share(mean([one.accuracy for one in own]))))
        table(f"joined, with {NOVEL} among the known findings", ("split seed", "accuracy"), rows)
    if arguments.only in (None, "rare"):
        records = read_dataset("manifest", Path(root) / "cxr_ieee8023" / "metadata.csv")
        rare = Films(
            records.where(lambda film: len(film.findings) == 1 and film.finding in RARE and film.view != "L"), folder
        )
        show_rare(judge_rare(rare, films, arguments.episodes), rare, table)
    if arguments.only in (None, "drawn"):
        with tempfile.TemporaryDirectory() as drawn:
            own = Films(make_synthetic(drawn, n_patients=100, seed=0), folder)
            show_drawn(judge_drawn(own, 0, arguments.episodes), table)


if __name__ == "__main__":
    main()

"""Five folds of cxr3 (normal, pneumonia, covid19): DarkCovidNet and this library answer the same films.

    export FSCXR_DATA=<folder with cxr3>
    python benchmarks/reproduce/cxr3_folds.py darkcovidnet --folds grouped --fold 0 --epochs 100 --out answers
    python benchmarks/reproduce/cxr3_folds.py ours --folds grouped --out answers
    python benchmarks/reproduce/cxr3_folds.py ours --folds images --chosen-alone --out answers
    python benchmarks/reproduce/cxr3_folds.py tables --out answers [--markdown]

`--folds images` divides film by film, as published: films of one patient lie in training and test. `--folds grouped`
keeps a patient, joined with near-duplicates, on one side. Each film is answered once, by what was trained on the four
other folds; a number is of all answers together, its interval over patients.

Ours takes no step: EfficientNet-Lite0 as published (ImageNet) at 320 px, its pooled features, beside them what the
training films teach (the joined embedding), and a rule among all training films. Of the rules in CHOICES that one
answers a fold which does best among its training films alone, five folds of them, grouped as the outer ones are.

Caution: covid19 is of one source, the other two of another, in every fold; the source alone tells covid19 wholly.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from time import process_time, strftime

import numpy as np
import torch
from darkcovidnet import SPEC, answers_of_darkcovidnet
from sklearn.model_selection import StratifiedKFold
from torch.nn import functional

sys.path.append(str(Path(__file__).parents[1]))
from new_disease import mean, share, show
from new_disease_methods import LITE0, LITE0_SPEC, Films, View, frozen, joined, shown

from fewshot_cxr import build_encoder, read_dataset
from fewshot_cxr.data import k_folds, patient_ids
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import Answers, Result, compare_results, decide_by_exemplars, evaluate_closed_set
from fewshot_cxr.inference.baselines import embed_pixels, embed_source
from fewshot_cxr.inference.embed import film_vectors, with_facts
from fewshot_cxr.objectives import build_loss
from fewshot_cxr.records import Records
from fewshot_cxr.samplers import BalancedBatchSampler
from fewshot_cxr.whole_files import write_json

N_FOLDS, SEED = 5, 0
CHOICES = ("prototype", "mean_distance", "knn", "ridge", "linear_probe")
TRANSDUCTIVE = ("bd_cspn", "laplacian_shot")  # those that do not expect as many queries of each finding
EXEMPLARS = (1, 2, 5, 10, 20, 50)
DRAWS = 10  # of so many exemplars
LOSSES_TRIED = dict.fromkeys(("supcon", "multi_similarity", "proxy_anchor"), "cosine")
LOSSES_TRIED |= {"triplet": "euclidean", "contrastive": "euclidean"}
CLASSIFIER, HEAD_DIM, HEAD_EPOCHS = "cross_entropy", 64, 15
OURS, THEIRS = "joined, rule chosen", "DarkCovidNet"
Parts = Iterator[tuple[np.ndarray, np.ndarray]]  # rows to learn from, rows to answer


def fold_rows(records: Records, kind: str) -> list[np.ndarray]:
    """Return the rows of each fold, grouped by patient or film by film."""
    if kind == "grouped":
        row_of = {film.path: row for row, film in enumerate(records)}
        return [np.array([row_of[film.path] for film in fold]) for fold in k_folds(records, N_FOLDS, seed=SEED)]
    findings = [film.finding for film in records]
    return [rows for _, rows in StratifiedKFold(N_FOLDS, shuffle=True, random_state=SEED).split(findings, findings)]


def parts(folds: Sequence[np.ndarray]) -> Parts:
    """Yield for each fold the rows of all others and its own."""
    for place, own in enumerate(folds):
        yield np.concatenate([rows for other, rows in enumerate(folds) if other != place]), own


def facts(films: Films, view: View, rows: np.ndarray) -> Embeddings:
    """Return the embeddings of some films."""
    return with_facts(view.vectors[rows], films.records.take(rows.tolist()), distance=view.distance)


def by_rule(films: Films, view: View, learnt: np.ndarray, asked: np.ndarray, rule: str) -> np.ndarray:
    """Return what a rule says of films, given others: float, shape (n asked, 3), findings in alphabetical order."""
    told = decide_by_exemplars(facts(films, view, asked), facts(films, view, learnt), rule=rule, fits_temperature=False)
    place = {path: row for row, path in enumerate(told.paths)}
    return told.probabilities[[place[films.records[row].path] for row in asked]]


def right(films: Films, said: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return whether each film was answered rightly."""
    return np.array(sorted(set(films.findings)))[said.argmax(axis=1)] == films.findings[asked]


def chosen(films: Films, learnt: np.ndarray, asked: np.ndarray, kind: str) -> np.ndarray:
    """Answer by the rule that does best among the films to learn from, the first of equals."""
    hits = dict.fromkeys(CHOICES, 0)
    for fewer, other in parts(fold_rows(films.records.take(learnt.tolist()), kind)):
        view = joined(films, {"known": learnt[fewer]})
        for rule in CHOICES:
            said = by_rule(films, view, learnt[fewer], learnt[other], rule)
            hits[rule] += int(right(films, said, learnt[other]).sum())
    best = max(hits, key=lambda rule: hits[rule])
    say(f"chosen: {best} ({', '.join(f'{rule} {n / len(learnt):.3f}' for rule, n in hits.items())})")
    return by_rule(films, joined(films, {"known": learnt}), learnt, asked, best)


def drawn(films: Films, learnt: np.ndarray, n_each: int, seed: int) -> np.ndarray:
    """Draw so many films of each finding, each of another patient."""
    draw, people = np.random.default_rng([seed, n_each]), patient_ids(films.records)
    rows: list[int] = []
    for finding in np.unique(films.findings):
        mixed = draw.permutation(learnt[films.findings[learnt] == finding])
        _, firsts = np.unique(np.array([people[row] for row in mixed]), return_index=True)
        rows += mixed[np.sort(firsts)][:n_each].tolist()
    return np.array(rows)


def cropped(films: Films, crop: str) -> np.ndarray:
    """Embed the films by Lite0 at 224 px, all of a film in the square: "pad" or "none" (squeezed)."""
    spec = replace(LITE0_SPEC, size_px=224, crop=crop)
    return film_vectors(build_encoder(LITE0, image_spec=spec, pretrained=True, output="pooled"), films.decoded(spec))


def by_loss(films: Films, learnt: np.ndarray, asked: np.ndarray, loss: str) -> np.ndarray:
    """Train a linear head on the pooled features; by a metric loss prototypes answer, by CLASSIFIER its own logits."""
    vectors, codes = films.pooled(320)[0], np.unique(films.findings, return_inverse=True)[1]
    vectors = (vectors - vectors[learnt].mean(0)) / vectors[learnt].std(0).clamp(min=1e-6)
    class_ids, is_siamese = torch.from_numpy(codes), loss != CLASSIFIER
    torch.manual_seed(SEED)
    head = torch.nn.Linear(vectors.shape[1], HEAD_DIM if is_siamese else 3)
    distance = LOSSES_TRIED.get(loss, "cosine")
    measure = build_loss(loss, n_classes=3, embedding_dim=HEAD_DIM, distance=distance) if is_siamese else None
    weights = [*head.parameters(), *(measure.parameters() if measure else ())]
    optimizer = torch.optim.AdamW(weights, 1e-3, weight_decay=1e-2)
    people = patient_ids(films.records)
    groups = np.unique([people[row] for row in learnt], return_inverse=True)[1]
    sampler = BalancedBatchSampler(codes[learnt], groups, batch_size=48)
    for _ in range(HEAD_EPOCHS):
        for batch in sampler:
            rows = learnt[batch]
            said = head(vectors[rows])
            cost = (
                functional.cross_entropy(said, class_ids[rows]) if measure is None else measure(said, class_ids[rows])
            )
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()
    with torch.inference_mode():
        if measure is None:
            return head(vectors[asked]).softmax(1).numpy()
        return by_rule(films, View(head(vectors).numpy(), distance), learnt, asked, "prototype")


def methods(films: Films, kind: str, *, all_of_them: bool) -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Name each way of answering, or the chosen one alone: (rows to learn from, rows to answer) -> what it says."""
    found: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {OURS: partial(chosen, films, kind=kind)}
    if not all_of_them:
        return found
    made: dict[bytes, View] = {}

    def view_of(learnt: np.ndarray) -> View:
        key = learnt.tobytes()
        if key not in made:
            made[key] = joined(films, {"known": learnt})
        return made[key]

    def by_view(learnt: np.ndarray, asked: np.ndarray, rule: str) -> np.ndarray:
        return by_rule(films, view_of(learnt), learnt, asked, rule)

    def by_few(learnt: np.ndarray, asked: np.ndarray, rule: str, n_each: int, seed: int) -> np.ndarray:
        return by_rule(films, view_of(learnt), drawn(films, learnt, n_each, seed), asked, rule)

    found |= {f"joined, {rule}": partial(by_view, rule=rule) for rule in (*CHOICES, *TRANSDUCTIVE)}
    plain = {f"Lite0 {size} px": frozen(films, {}, size_px=size) for size in (224, 320)}
    plain |= {f"Lite0 224 px, {crop}": View(cropped(films, crop), "cosine") for crop in ("pad", "none")}
    plain |= {"pixels": shown(films, {}, what=embed_pixels), "source": shown(films, {}, what=embed_source)}
    found |= {
        f"{name}, {rule}": lambda learnt, asked, view=view, rule=rule: by_rule(films, view, learnt, asked, rule)
        for name, view in plain.items()
        for rule in ("prototype", "linear_probe")
    }
    found |= {f"head by {loss}": partial(by_loss, films, loss=loss) for loss in (*LOSSES_TRIED, CLASSIFIER)}
    found |= {
        f"joined, {rule}, {n_each} exemplars, draw {seed}": partial(by_few, rule=rule, n_each=n_each, seed=seed)
        for rule in ("prototype", "mean_distance")
        for n_each in EXEMPLARS
        for seed in range(DRAWS)
    }
    return found


def run_ours(films: Films, kind: str, folder: Path, *, all_of_them: bool) -> None:
    """Answer every fold by each method, or the chosen one alone; what is answered already stays."""
    folds = fold_rows(films.records, kind)
    for name, answer in methods(films, kind, all_of_them=all_of_them).items():
        for place, (learnt, asked) in enumerate(parts(folds)):
            if answer_file(folder, name, kind, place).exists():
                continue
            start = process_time()
            said = answer(learnt, asked)
            keep(films.records, folder, name, kind, place, asked, said, process_time() - start)


def run_darkcovidnet(films: Films, kind: str, fold: int, n_epochs: int, folder: Path) -> None:
    """Train DarkCovidNet on all folds but one, and answer that."""
    rows = list(parts(fold_rows(films.records, kind)))[fold]
    class_ids, start = np.unique(films.findings, return_inverse=True)[1], process_time()

    def tell(epoch: int, loss: float) -> None:
        say(f"{kind}, fold {fold}: epoch {epoch} of {n_epochs}, loss {loss:.3f}, {process_time() - start:.0f} s")

    said = answers_of_darkcovidnet(films.decoded(SPEC), class_ids, rows, n_epochs=n_epochs, tell=tell)
    keep(films.records, folder, f"{THEIRS}, {n_epochs} epochs", kind, fold, rows[1], said, process_time() - start)


def answer_file(folder: Path, name: str, kind: str, fold: int) -> Path:
    """Return where a method's answers to a fold are kept."""
    return folder / f"{kind}-{''.join(letter if letter.isalnum() else '-' for letter in name)}-{fold}.json"


def keep(
    records: Records, folder: Path, name: str, kind: str, fold: int, asked: np.ndarray, said: np.ndarray, seconds: float
) -> None:
    """Write what a method says of a fold."""
    answers = {records[row].path: [round(float(one), 6) for one in said[at]] for at, row in enumerate(asked)}
    about = {
        "method": name,
        "folds": kind,
        "fold": fold,
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    about |= {"threads": torch.get_num_threads(), "date": f"{date.today()}", "answers": answers}
    write_json(answer_file(folder, name, kind, fold), about)
    say(f"{kind}, fold {fold}, {name}: {seconds:.0f} s")


def results(records: Records, folder: Path) -> dict[tuple[str, str], tuple[Result, float]]:
    """Return result and processor seconds of the dearest fold of each (folds, method) that has answered every film."""
    told: dict[tuple[str, str], list[Mapping]] = {}
    for file in sorted(folder.glob("*.json")):
        one = json.loads(file.read_text("utf-8"))
        told.setdefault((one["folds"], one["method"]), []).append(one)
    names = sorted({film.finding for film in records})
    found = {}
    for key, folds in told.items():
        said = {path: numbers for one in folds for path, numbers in one["answers"].items()}
        if len(said) != len(records):
            say(f"left out: {', '.join(key)}: {len(said)} of {len(records)} films are answered")
            continue
        table = np.array([said[film.path] for film in records])
        answers = Answers(
            findings=tuple(names),
            truth=[names.index(film.finding) for film in records],
            probabilities=table / table.sum(axis=1, keepdims=True),
            paths=tuple(film.path for film in records),
            patient_ids=patient_ids(records),
        )
        found[key] = evaluate_closed_set(answers), max(one["seconds"] for one in folds)
    return found


def tables(records: Records, folder: Path, *, markdown: bool) -> None:
    """Print what each method reached, and how far ours is from each other on the same films."""
    found = results(records, folder)
    names = sorted({film.finding for film in records})
    for kind in ("images", "grouped"):
        drawn_ones: dict[str, list[Result]] = {}
        rows, ours = [], found.get((kind, OURS))
        for (folds, method), (result, seconds) in found.items():
            if folds == kind and ", draw " in method:
                drawn_ones.setdefault(method.split(", draw ")[0], []).append(result)
            elif folds == kind:
                recalls = (share(result.per_class_recall[name]) for name in names)
                rows.append((method, share(result.accuracy), *recalls, less(ours, result), f"{seconds:.0f}"))
        rows.sort(key=lambda row: -float(row[1].split()[0]))
        heads = ("method", "accuracy", *(f"recall {name}" for name in names), f"{OURS}, less it", "CPU s, slowest fold")
        show(f"Five folds, {kind}", heads, rows, markdown=markdown)
        few = [(name, share(mean([one.accuracy for one in own]))) for name, own in drawn_ones.items()]
        show(
            f"Five folds, {kind}: few exemplars, mean of {DRAWS} draws", ("method", "accuracy"), few, markdown=markdown
        )


def less(ours: tuple[Result, float] | None, other: Result) -> str:
    """Return how much more accurate ours is, with the interval over patients of the paired difference."""
    if ours is None or ours[0] is other:
        return ""
    row = compare_results(ours[0], other).rows[0]
    ends = "no interval" if row.ci95 is None else " to ".join(f"{100 * end:+.1f}" for end in row.ci95)
    return f"{100 * row.difference:+.1f} ({ends})"


def say(text: str) -> None:
    """Say on the other channel how far it is."""
    print(f"{strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Run a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("darkcovidnet", "ours", "tables"))
    parser.add_argument("--folds", choices=("grouped", "images"), default="grouped")
    parser.add_argument("--fold", type=int, choices=range(N_FOLDS), default=0, help="which DarkCovidNet answers")
    parser.add_argument("--epochs", type=int, default=100, help="of DarkCovidNet")
    parser.add_argument("--chosen-alone", action="store_true", help="of ours, the rule that is chosen and no other")
    parser.add_argument("--out", type=Path, required=True, help="folder of the answers")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    root = os.environ.get("FSCXR_DATA")
    if root is None:
        parser.error("set FSCXR_DATA to the folder that holds cxr3/metadata.csv")
    say(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    films = Films(read_dataset("manifest", Path(root) / "cxr3" / "metadata.csv"), os.environ.get("FSCXR_CACHE"))
    if arguments.part == "darkcovidnet":
        run_darkcovidnet(films, arguments.folds, arguments.fold, arguments.epochs, arguments.out)
    elif arguments.part == "ours":
        run_ours(films, arguments.folds, arguments.out, all_of_them=not arguments.chosen_alone)
    else:
        tables(films.records, arguments.out, markdown=arguments.markdown)


if __name__ == "__main__":
    main()

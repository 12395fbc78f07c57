"""Classes told from features, cross-validated by patient: balanced accuracy with an interval over patients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fewshot_cxr.data.splits import k_folds
from fewshot_cxr.evaluation.audit.result import Measure
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.records import Record, Records
from fewshot_cxr.seeding import generator, hashed_bits, text_key

Classify = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]
"""(features, labels, other features, seed) -> labels of the others"""
See = Callable[[np.ndarray], np.ndarray]
"""rows of films -> what a classifier sees of them, shape (N, n_features)"""

MAX_FILMS = 20_000
N_FOLDS = 5
FEWEST_GROUPS = 5  # of each class, below which resampled patients say nothing of others
_N_DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Case:
    """Films that can be classified: their row, class, group, and the fold each is tested in.

    `too_few` says why there can be no interval: classes of few patients; "" where there can.
    """

    rows: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    too_few: str = ""


def sampled_rows(paths: Sequence[str], seed: int, max_films: int = MAX_FILMS) -> list[int]:
    """Return so many rows at most, drawn by path, in the order in which they stand."""
    if len(paths) <= max_films:
        return list(range(len(paths)))
    keys = np.array([text_key(path) for path in paths], dtype=np.uint64)
    kept = np.argsort(hashed_bits(seed, text_key("confounding"), keys), kind="stable")[:max_films]
    return [int(place) for place in np.sort(kept)]


def make_case(rows: Sequence[int], names: Sequence[str], groups: np.ndarray, seed: int, what: str) -> Case | str:
    """Leave out classes of one group and draw the folds; a text says why that is impossible.

    Args:
        rows: of the films, in an order that does not depend on how they were listed.
        names: class of each of these rows.
        groups: of every film, by row.
        seed: of the folds.
        what: a class is, in a word.
    """
    members: dict[str, set[int]] = {}
    for row, name in zip(rows, names, strict=True):
        members.setdefault(name, set()).add(int(groups[row]))
    # Classes of few patients would cost all others their folds and their interval.
    fewest = FEWEST_GROUPS if sum(len(own) >= FEWEST_GROUPS for own in members.values()) > 1 else 2
    classes = tuple(sorted(name for name, own in members.items() if len(own) >= fewest))
    if len(classes) < 2:
        return f"fewer than two {what}s have films of two patients"
    lone = [f"{name} {len(members[name])}" for name in sorted(set(members) - set(classes))]
    notes: tuple[str, ...] = (f"left out, films of fewer than {fewest} patients: {', '.join(lone)}",) if lone else ()
    kept = [(row, name) for row, name in zip(rows, names, strict=True) if name in classes]
    own_rows = np.array([row for row, _ in kept], dtype=np.int64)
    labels = np.array([classes.index(name) for _, name in kept], dtype=np.int64)
    # Renumbered by first film: the folds are then the same in whatever order the films were listed.
    first_of = {group: number for number, group in enumerate(dict.fromkeys(groups[own_rows].tolist()))}
    own_groups = np.array([first_of[group] for group in groups[own_rows].tolist()], dtype=np.int64)
    n_folds = min(N_FOLDS, *(len(members[name]) for name in classes))
    if n_folds < N_FOLDS:
        notes += (f"{n_folds} folds instead of {N_FOLDS}: a {what} has no more groups of patients",)
    films = tuple(
        Record(str(place), (name,), group_id=str(group))
        for place, ((_, name), group) in enumerate(zip(kept, own_groups.tolist(), strict=True))
    )
    parts = k_folds(Records(films, Path()), n_folds, seed=drawn_number(seed, "folds"))
    folds = np.empty(len(kept), dtype=np.int64)
    for fold, part in enumerate(parts):
        folds[[int(film.path) for film in part]] = fold
    few = [f"{name} {len(members[name])}" for name in classes if len(members[name]) < FEWEST_GROUPS]
    too_few = f"no interval, patients are too few: {', '.join(few)} ({FEWEST_GROUPS} are needed)" if few else ""
    return Case(own_rows, labels, own_groups, folds, classes, notes, too_few)


def measure(case: Case | str, see: See, classify: Classify, name: str, seed: int) -> Measure:
    """Return the balanced accuracy of predictions for films of patients that the classifier did not see.

    Args:
        case: films with their folds; a text: why it cannot be assessed.
        see: what the classifier sees of films.
        classify: the rule; it weighs all classes alike.
        name: of the measure, a key of what is drawn.
        seed: of what is drawn.
    """
    if isinstance(case, str):
        return Measure.impossible(case)
    features, predicted = see(case.rows), np.empty_like(case.labels)
    for fold in np.unique(case.folds).tolist():
        test = case.folds == fold
        rule_seed = drawn_number(seed, name, fold)
        predicted[test] = classify(features[~test], case.labels[~test], features[test], rule_seed)
    number = _balanced_accuracy(case, predicted == case.labels, generator(seed, "resample", name))
    if case.too_few:
        number = replace(number, ci95_patients=None, reason=case.too_few)
    return Measure(
        number,
        chance=1 / len(case.classes),
        n_films=len(case.labels),
        n_groups=int(case.groups.max()) + 1,
        findings=case.classes,
        notes=case.notes,
    )


def _balanced_accuracy(case: Case, is_hit: np.ndarray, draw: np.random.Generator) -> Estimate:
    """Return the mean recall, and its 95 % interval over groups resampled within their rarest finding.

    Resampling alone takes the classifiers as given, though the folds share their films: where nothing can be learned,
    its interval misses chance in about one set of seven. So it is stretched, as Nadeau and Bengio correct the variance.

    Source: Nadeau, Bengio, "Inference for the Generalization Error", 2003, section 3.
    """
    n_classes, n_groups = len(case.classes), int(case.groups.max()) + 1
    cells = case.groups * n_classes + case.labels
    counts = np.bincount(cells, minlength=n_groups * n_classes).reshape(n_groups, n_classes)
    hits = np.bincount(cells, weights=is_hit, minlength=n_groups * n_classes).reshape(n_groups, n_classes)
    value = float((hits.sum(axis=0) / counts.sum(axis=0)).mean())
    rarest = np.where(counts > 0, counts.sum(axis=0), np.inf).argmin(axis=1)
    table = np.concatenate([hits, counts], axis=1)
    drawn = np.zeros((_N_DRAWS, 2 * n_classes))
    for class_id in range(n_classes):
        own = table[rarest == class_id]
        for number in range(_N_DRAWS if len(own) else 0):
            drawn[number] += np.bincount(draw.integers(0, len(own), len(own)), minlength=len(own)) @ own
    drawn_hits, drawn_counts = np.split(drawn, 2, axis=1)
    # A finding whose films all hang on patients of a rarer one may be missing from a draw; it then does not count.
    is_there = drawn_counts > 0
    recalls = np.divide(drawn_hits, drawn_counts, out=np.zeros_like(drawn_hits), where=is_there)
    low, high = np.quantile(recalls.sum(axis=1) / is_there.sum(axis=1), (0.025, 0.975))
    n_folds = len(np.unique(case.folds))
    stretch = (1 + n_folds / (n_folds - 1)) ** 0.5
    ends = max(0.0, value - stretch * (value - float(low))), min(1.0, value + stretch * (float(high) - value))
    return Estimate(value, ci95_patients=ends)


def drawn_number(seed: int, *key: int | str) -> int:
    """Return a number that follows from seed and key, for libraries that take no generator."""
    return int(generator(seed, *key).integers(2**31))

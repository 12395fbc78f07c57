"""Does the finding follow from what is no sign of it? Trivial classifiers try."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.tree import DecisionTreeClassifier

from fewshot_cxr.data import patient_groups
from fewshot_cxr.evaluation.audit.film_pass import FilmFacts
from fewshot_cxr.evaluation.audit.patients import association, tabulate
from fewshot_cxr.evaluation.audit.result import Confounding, Measure
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.records import Record, Records
from fewshot_cxr.seeding import generator, hashed_bits, text_key

Classify = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Shortcut:
    """What is seen of films, shape (N, n_features), and the rule (features, labels, other features, seed) -> labels.

    A rule weighs all classes alike, however many films they have, and knows any labels 0 or more, one class included.
    """

    see: Callable[[Sequence[Record], Sequence[FilmFacts]], np.ndarray]
    classify: Classify


def by_look_up(features: np.ndarray, labels: np.ndarray, others: np.ndarray, seed: int) -> np.ndarray:
    """Give each name the class in which it is most frequent; a name never seen gets the first class.

    Args:
        features: names (str), shape (N, 1).
        labels: int64, shape (N,).
        others: names of the films to classify, shape (M, 1).
        seed: nothing is drawn.

    Returns:
        int64, shape (M,); of classes that tie, the first.
    """
    classes, class_ids = np.unique(labels, return_inverse=True)
    names, name_ids = np.unique(features[:, 0], return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (name_ids, class_ids), 1)
    best = dict(zip(names.tolist(), classes[(counts / counts.sum(axis=0)).argmax(axis=1)].tolist(), strict=True))
    return np.array([best.get(name, classes[0]) for name in others[:, 0].tolist()], dtype=np.int64)


def by_tree(features: np.ndarray, labels: np.ndarray, others: np.ndarray, seed: int) -> np.ndarray:
    """Ask a decision tree: exact sizes are the mark of a source, which no straight line would read.

    Args:
        features: float, shape (N, n_features).
        labels: int64, shape (N,).
        others: of the films to classify, float, shape (M, n_features).
        seed: of the order in which features are tried.
    """
    tree = DecisionTreeClassifier(min_samples_leaf=5, class_weight="balanced", random_state=seed)
    predicted: np.ndarray = tree.fit(features, labels).predict(others)
    return predicted


def by_discriminant(features: np.ndarray, labels: np.ndarray, others: np.ndarray, seed: int) -> np.ndarray:
    """Give each film the class of the nearest mean, by the Mahalanobis distance within classes.

    Linear discriminant analysis with equal priors. Its one dial, the shrinkage of the covariance, has a closed form.

    Args:
        features: float, shape (N, n_features).
        labels: int64, shape (N,).
        others: of the films to classify, float, shape (M, n_features).
        seed: nothing is drawn.

    Source: Ledoit, Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004.
    """
    centre, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread == 0] = 1
    features, others = (features - centre) / spread, (others - centre) / spread
    classes, class_ids = np.unique(labels, return_inverse=True)
    means = np.stack([features[class_ids == number].mean(axis=0) for number in range(len(classes))])
    within = LedoitWolf(assume_centered=True, store_precision=False).fit(features - means[class_ids]).covariance_
    # Where films of a class do not differ at all the covariance is 0; any small one serves then.
    weights = np.linalg.solve(within + 1e-6 * np.eye(len(within)), means.T)
    scores = others @ weights - 0.5 * (means.T * weights).sum(axis=0)
    nearest: np.ndarray = classes[scores.argmax(axis=1)]
    return nearest


def _source(films: Sequence[Record], facts: Sequence[FilmFacts]) -> np.ndarray:
    return np.array([[film.source or ""] for film in films], dtype=str)


def _size(films: Sequence[Record], facts: Sequence[FilmFacts]) -> np.ndarray:
    sizes = np.array([(found.width_px, found.height_px) for found in facts], dtype=float)
    return np.column_stack([sizes, sizes[:, 0] / sizes[:, 1]])


def _border(films: Sequence[Record], facts: Sequence[FilmFacts]) -> np.ndarray:
    return np.stack([found.border for found in facts]).astype(float)


def _thumbnail(films: Sequence[Record], facts: Sequence[FilmFacts]) -> np.ndarray:
    return np.stack([found.thumbnail.ravel() for found in facts]).astype(float)


SHORTCUTS: dict[str, Shortcut] = {
    "source": Shortcut(_source, by_look_up),
    "size": Shortcut(_size, by_tree),
    "border": Shortcut(_border, by_discriminant),
    "thumbnail": Shortcut(_thumbnail, by_discriminant),
}


MAX_FILMS = 20_000
N_FOLDS = 5
FEWEST_GROUPS = 5  # of each finding, below which resampled patients say nothing of others
_N_DRAWS = 1000


@dataclass(frozen=True, eq=False)
class _Case:
    """Films that can be classified: class of each, group of each, the fold it is tested in.

    `too_few` says why there can be no interval: findings of few patients; "" where there can.
    """

    films: tuple[Record, ...]
    facts: tuple[FilmFacts, ...]
    labels: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    too_few: str = ""


def assess_confounding(
    records: Records, facts: Sequence[FilmFacts | None], *, seed: int = 0, max_films: int = MAX_FILMS
) -> Confounding:
    """Measure how well the finding follows from source, size, border and thumbnail.

    Cramer's V is over all single-label films with a source. Each balanced accuracy (mean recall of the findings; chance
    is 1 / their number) is of predictions for films of patients that the classifier did not see: 5 folds, grouped by
    patient and stratified by finding, fewer where a finding has fewer groups. Its interval is over resampled groups
    of patients, widened for the films that the folds share. Neither row order nor names of patients change a number.

    Args:
        records: the films; those of several findings do not take part.
        facts: of each film, None for an unreadable one, which does not take part in the balanced accuracies.
        seed: of sample, folds, trees and resampling.
        max_films: of more readable ones, so many are sampled for the balanced accuracies.
    """
    single = [row for row, film in enumerate(records) if len(film.findings) == 1]
    notes = _notes(records, len(single))
    stated = [(records[row].finding, source) for row in single if (source := records[row].source)]
    v = association([name for name, _ in stated], [source for _, source in stated], what="source")
    groups = patient_groups(records)
    usable = sorted((row for row in single if facts[row] is not None), key=lambda row: records[row].path)
    sample = _sample(records, usable, seed, max_films)
    if len(sample) < len(usable):
        notes += (f"balanced accuracies are from {len(sample)} films, sampled from {len(usable)}",)
    with_source = [row for row in sample if records[row].source]
    everything = _case(records, facts, groups, sample, seed)
    sourced = everything if with_source == sample else _case(records, facts, groups, with_source, seed)
    why = v.number.reason
    by_source = Measure.impossible(why.partition(": ")[2]) if why else _measure(sourced, "source", seed)
    accuracies = {"source": by_source}
    accuracies |= {name: _measure(everything, name, seed) for name in ("size", "border", "thumbnail")}
    return Confounding(v, tabulate(records, "source"), accuracies, notes)


def _notes(records: Records, n_single: int) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if n_single < len(records):
        notes += (f"{len(records) - n_single} films of several findings take no part in V and balanced accuracies",)
    n_silent = sum(film.source is None for film in records)
    if 0 < n_silent < len(records):
        notes += (f"{n_silent} films state no source and take no part in what is said of sources",)
    if records and not any(film.patient_id or film.group_id for film in records):
        notes += ("no patient is stated: every film counts as one, so balanced accuracies may be too high",)
    return notes


def _sample(records: Records, rows: list[int], seed: int, max_films: int) -> list[int]:
    if len(rows) <= max_films:
        return rows
    keys = np.array([text_key(records[row].path) for row in rows], dtype=np.uint64)
    kept = np.argsort(hashed_bits(seed, text_key("confounding"), keys), kind="stable")[:max_films]
    return [rows[place] for place in np.sort(kept).tolist()]


def _case(
    records: Records, facts: Sequence[FilmFacts | None], groups: np.ndarray, rows: list[int], seed: int
) -> _Case | str:
    """Leave out findings of one group and draw the folds; a text says why that is impossible."""
    members: dict[str, set[int]] = {}
    for row in rows:
        members.setdefault(records[row].finding, set()).add(int(groups[row]))
    # Findings of few patients would cost all others their folds and their interval.
    fewest = FEWEST_GROUPS if sum(len(own) >= FEWEST_GROUPS for own in members.values()) > 1 else 2
    findings = tuple(sorted(name for name, own in members.items() if len(own) >= fewest))
    if len(findings) < 2:
        return "fewer than two findings have films of two patients"
    lone = [f"{name} {len(members[name])}" for name in sorted(set(members) - set(findings))]
    notes: tuple[str, ...] = (f"left out, films of fewer than {fewest} patients: {', '.join(lone)}",) if lone else ()
    kept = [row for row in rows if records[row].finding in findings]
    labels = np.array([findings.index(records[row].finding) for row in kept], dtype=np.int64)
    # Renumbered by first film: the folds are then the same in whatever order the films were listed.
    first_of = {group: number for number, group in enumerate(dict.fromkeys(groups[kept].tolist()))}
    own_groups = np.array([first_of[group] for group in groups[kept].tolist()], dtype=np.int64)
    n_folds = min(N_FOLDS, *(len(members[name]) for name in findings))
    if n_folds < N_FOLDS:
        notes += (f"{n_folds} folds instead of {N_FOLDS}: a finding has no more groups of patients",)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=_number(seed, "folds"))
    folds = np.empty(len(kept), dtype=np.int64)
    for fold, (_, test) in enumerate(splitter.split(labels, labels, own_groups)):
        folds[test] = fold
    films = tuple(records[row] for row in kept)
    known = tuple(found for row in kept if (found := facts[row]) is not None)
    few = [f"{name} {len(members[name])}" for name in findings if len(members[name]) < FEWEST_GROUPS]
    too_few = f"no interval, patients are too few: {', '.join(few)} ({FEWEST_GROUPS} are needed)" if few else ""
    return _Case(films, known, labels, own_groups, folds, findings, notes, too_few)


def _measure(case: _Case | str, name: str, seed: int) -> Measure:
    if isinstance(case, str):
        return Measure.impossible(case)
    shortcut = SHORTCUTS[name]
    features = shortcut.see(case.films, case.facts)
    predicted = np.empty_like(case.labels)
    for fold in np.unique(case.folds).tolist():
        test = case.folds == fold
        rule_seed = _number(seed, name, fold)
        predicted[test] = shortcut.classify(features[~test], case.labels[~test], features[test], rule_seed)
    number = _balanced_accuracy(case, predicted == case.labels, generator(seed, "resample", name))
    if case.too_few:
        number = replace(number, ci95_patients=None, reason=case.too_few)
    return Measure(
        number,
        chance=1 / len(case.findings),
        n_films=len(case.labels),
        n_groups=int(case.groups.max()) + 1,
        findings=case.findings,
        notes=case.notes,
    )


def _balanced_accuracy(case: _Case, is_hit: np.ndarray, draw: np.random.Generator) -> Estimate:
    """Return the mean recall, and its 95 % interval over groups resampled within their rarest finding.

    Resampling alone takes the classifiers as given, though the folds share their films: where nothing can be learned,
    its interval misses chance in about one set of seven. So it is stretched, as Nadeau and Bengio correct the variance.

    Source: Nadeau, Bengio, "Inference for the Generalization Error", 2003, section 3.
    """
    n_classes, n_groups = len(case.findings), int(case.groups.max()) + 1
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


def _number(seed: int, *key: int | str) -> int:
    return int(generator(seed, *key).integers(2**31))

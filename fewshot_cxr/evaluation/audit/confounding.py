"""Does the finding follow from what is no sign of it? Trivial classifiers try."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.tree import DecisionTreeClassifier

from fewshot_cxr.data import patient_groups
from fewshot_cxr.evaluation.audit.cross_validation import MAX_FILMS, Case, Classify, make_case, measure, sampled_rows
from fewshot_cxr.evaluation.audit.film_pass import FilmFacts
from fewshot_cxr.evaluation.audit.patients import association, tabulate
from fewshot_cxr.evaluation.audit.result import Confounding, Measure
from fewshot_cxr.records import Record, Records


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
    sample = [usable[place] for place in sampled_rows([records[row].path for row in usable], seed, max_films)]
    if len(sample) < len(usable):
        notes += (f"balanced accuracies are from {len(sample)} films, sampled from {len(usable)}",)
    everything = _case(records, groups, sample, seed)
    with_source = [row for row in sample if records[row].source]
    sourced = everything if with_source == sample else _case(records, groups, with_source, seed)

    def measured(case: Case | str, name: str) -> Measure:
        return measure(case, partial(_seen, records, facts, name), SHORTCUTS[name].classify, name, seed)

    why = v.number.reason
    accuracies = {"source": Measure.impossible(why.partition(": ")[2]) if why else measured(sourced, "source")}
    accuracies |= {name: measured(everything, name) for name in ("size", "border", "thumbnail")}
    return Confounding(v, tabulate(records, "source"), accuracies, notes)


def _case(records: Records, groups: np.ndarray, rows: list[int], seed: int) -> Case | str:
    return make_case(rows, [records[row].finding for row in rows], groups, seed, "finding")


def _seen(records: Records, facts: Sequence[FilmFacts | None], name: str, rows: np.ndarray) -> np.ndarray:
    places = rows.tolist()
    known = [found for row in places if (found := facts[row]) is not None]
    return SHORTCUTS[name].see([records[row] for row in places], known)


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

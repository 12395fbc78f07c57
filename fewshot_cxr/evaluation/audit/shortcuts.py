"""Trivial classifiers: each sees one thing that is no sign of a finding, and has nothing to tune."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.tree import DecisionTreeClassifier

from fewshot_cxr.evaluation.audit.film_pass import FilmFacts
from fewshot_cxr.records import Record

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

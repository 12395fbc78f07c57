"""Name the finding of a new film by its distance to a few labelled exemplars, and show which ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.data import patient_groups
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference.bank.turns import draw_in_turns, smallest_keys
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.inference.neighbours import Neighbours, nearest_among, told_prediction
from fewshot_cxr.inference.prediction import Prediction
from fewshot_cxr.inference.rules import TRANSDUCTIVE
from fewshot_cxr.records import Records
from fewshot_cxr.seeding import text_key


def sample_exemplars(records: Records, n_exemplars: int, *, seed: int = 0) -> Records:
    """Draw up to n_exemplars films of each finding, one of each patient before a second one of any.

    The draw follows from seed, findings and paths alone, not from the order of rows.

    Args:
        records: single-label films.
        n_exemplars: per finding; a finding with fewer films gives all it has.
        seed: of the draw.

    Examples:
        >>> from fewshot_cxr import Record
        >>> patients = {"a1.png": "a", "a2.png": "a", "b1.png": "b"}
        >>> films = Records(tuple(Record(path, ("normal",), patient) for path, patient in patients.items()), ".")
        >>> sorted(film.patient_id for film in sample_exemplars(films, 2))
        ['a', 'b']
    """
    check_at_least(n_exemplars, 1, "n_exemplars")
    keys = [text_key(film.path) for film in records]
    patient_keys = smallest_keys(patient_groups(records).tolist(), keys)
    rows_of: dict[str, list[int]] = {}
    for row, film in enumerate(records):
        rows_of.setdefault(film.finding, []).append(row)
    rows: list[int] = []
    for own in rows_of.values():
        own_keys, own_patients = ([of[row] for row in own] for of in (keys, patient_keys))
        rows += [own[at] for at in draw_in_turns(own_keys, own_patients, n_exemplars, seed=seed)]
    return records.take(sorted(rows))


def predict(
    queries: np.ndarray,
    paths: list[str],
    support: Embeddings,
    *,
    rule: str = "mean_distance",
    distance: str | None = None,
    options: Mapping[str, Any] | None = None,
    n_nearest: int = 3,
) -> list[Prediction]:
    """Classify embedded films by their distance to labelled ones.

    An exemplar with the very embedding of the film is the film itself: it is left out for that film, and this is noted.

    Args:
        queries: embeddings of the new films, float32, shape (N, dim).
        paths: their N names.
        support: the labelled films, of the same encoder.
        rule: a name in RULES.
        distance: a name in DISTANCES; None: the one that the support's encoder was trained with, else euclidean.
        options: further keyword arguments of the rule; see `template_options`.
        n_nearest: how many exemplars a prediction shows.

    Raises:
        ValueError: unknown rule or distance, a transductive rule, embeddings of another dim, not as many as paths, or
            not finite; fewer than two findings.

    Examples:
        >>> support = Embeddings([[3, 0], [0, 4]], ["normal", "covid19"], paths=["17.png", "23.png"])
        >>> (film,) = predict(np.float32([[0, 0]]), ["new.png"], support)
        >>> film.findings, film.distances, film.exemplars[0]
        (('normal',), {'covid19': 4.0, 'normal': 3.0}, Exemplar(path='17.png', finding='normal', distance=3.0))
    """
    if rule in TRANSDUCTIVE:
        raise ValueError(
            f"rule {rule!r} judges all films together, so that one film's answer would depend on the others; "
            "take an inductive rule such as mean_distance"
        )
    decider = Decider(support, rule=rule, distance=distance, options=options)
    return predict_by(decider, queries, paths, n_nearest=n_nearest)


def predict_by(decider: Decider, queries: np.ndarray, paths: Sequence[str], *, n_nearest: int = 3) -> list[Prediction]:
    """Classify embedded films by what decides already; see `predict`."""
    return compare_by(decider, queries, paths, n_nearest=n_nearest)[0]


def compare_by(
    decider: Decider, queries: np.ndarray, paths: Sequence[str], *, n_nearest: int = 3
) -> tuple[list[Prediction], np.ndarray]:
    """Return predictions, and the distances to all findings with no exemplar left out, float64 (N, n_way)."""
    _check_queries(queries, paths)
    distances, neighbours = decider.distances(queries), _neighbours(decider, queries, n_nearest)

    def predict_one(row: int) -> Prediction:
        by, is_same, values = decider, decider.same_film(queries[row]), distances[row]
        if is_same.any():
            by = decider.without(is_same)
            values = by.distances(queries[row : row + 1])[0]
        told = dict(zip(by.findings, values.tolist(), strict=True))
        return told_prediction(paths[row], told, row, is_same, neighbours)

    return [predict_one(row) for row in range(len(paths))], distances.numpy()


def _check_queries(queries: np.ndarray, paths: Sequence[str]) -> None:
    if np.ndim(queries) != 2 or len(queries) != len(paths):
        raise ValueError(f"queries must be a row for each of {len(paths)} paths, (N, dim), got {np.shape(queries)}")
    if len(broken := np.flatnonzero(~np.isfinite(queries).all(axis=1))):
        raise ValueError(
            f"the embedding of {paths[broken[0]]} is not finite; a diverged encoder? Lower the learning rate"
        )


def _neighbours(decider: Decider, queries: np.ndarray, n: int) -> Neighbours:
    """Return the nearest exemplars: by the decider's index, if it has one, else every exemplar is measured."""
    whose = (n, decider.findings, decider.labels.numpy(), decider.support.film_names)
    if (index := decider.index) is None:
        return Neighbours(nearest_among(decider.to_exemplars(queries).double().numpy()), *whose)
    found = index.search(queries, n)  # together, which is faster than one by one

    def nearest(film: int, n: int, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if n == whose[0] and among.all():
            return found[0][film], found[1][film]
        rows, distances = index.search(queries[film : film + 1], n, among=among)
        return rows[0], distances[0]

    return Neighbours(nearest, *whose)

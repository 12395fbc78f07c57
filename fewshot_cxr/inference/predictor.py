"""Name the finding of a new film by its distance to a few labelled exemplars, and show which ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_at_least
from fewshot_cxr._html import facts_text, html_table, short_name
from fewshot_cxr.data import patient_groups
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference.bank.turns import draw_in_turns, smallest_keys
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.inference.neighbours import Neighbours
from fewshot_cxr.inference.rules import TRANSDUCTIVE
from fewshot_cxr.records import Records
from fewshot_cxr.seeding import text_key

_MOST_DISTANCES = 6  # that a line shows


@dataclass(frozen=True)
class Exemplar:
    """One labelled film that a prediction was compared with."""

    path: str
    finding: str
    distance: float


@dataclass(frozen=True)
class Prediction:
    """What is nearest to one film.

    `findings` holds one name, or several that are tied for the smallest distance. `distances` gives the rule's value
    for every finding (smaller is closer, in the unit of the embedding; not a probability). `exemplars` are the
    nearest, closest first; where none of them is of the answered finding, its nearest one stands last, so that what
    decided can be looked at. `notes` says what was left out and why.
    """

    path: str
    findings: tuple[str, ...]
    distances: dict[str, float]
    exemplars: tuple[Exemplar, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return facts_text("Prediction", self._facts())

    def _repr_html_(self) -> str:
        rows = [(one.path, one.finding, f"{one.distance:.4g}") for one in self.exemplars]
        nearest = html_table(rows, head=("exemplar", "finding", "distance"), caption="Nearest first")
        return html_table(self._facts(), caption="Prediction") + nearest

    def _facts(self) -> list[tuple[str, str]]:
        ranked = sorted(self.distances.items(), key=lambda one: one[1])
        told = [f"{short_name(name)} {distance:.4g}" for name, distance in ranked[:_MOST_DISTANCES]]
        told += [f"and {len(ranked) - len(told):,} more"] * (len(ranked) > len(told))
        facts = [("film", self.path), ("finding", " or ".join(self.findings)), ("distances", ", ".join(told))]
        return [*facts, ("exemplars", f"{len(self.exemplars):,}"), *(("note", note) for note in self.notes)]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "path": self.path,
            "findings": list(self.findings),
            "distances": self.distances,
            "exemplars": [exemplar.__dict__ for exemplar in self.exemplars],
            "notes": list(self.notes),
        }


def sample_exemplars(records: Records, n_exemplars: int, *, seed: int = 0) -> Records:
    """Draw up to n_exemplars films of each finding, one of each patient before a second one of any.

    The draw follows from seed, findings and paths alone, not from the order of rows.

    Args:
        records: single-label films.
        n_exemplars: per finding; a finding with fewer films gives all it has.
        seed: of the draw.
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
        ValueError: unknown rule or distance, a transductive rule, embeddings of another dim, fewer than two findings.
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
    distances, neighbours = decider.distances(queries), Neighbours(decider, queries, n_nearest)

    def predict_one(row: int) -> Prediction:
        by, is_same, values = decider, decider.same_film(queries[row]), distances[row]
        if is_same.any():
            by = decider.without(is_same)
            values = by.distances(queries[row : row + 1])[0]
        is_nearest = (values == values.min()).tolist()
        answered = tuple(name for name, is_tied in zip(by.findings, is_nearest, strict=True) if is_tied)
        return Prediction(
            path=paths[row],
            findings=answered,
            distances=dict(zip(by.findings, values.tolist(), strict=True)),
            exemplars=tuple(_exemplar(decider.support, *one) for one in neighbours.of(row, ~is_same, answered)),
            notes=("the film itself is among the exemplars: left out",) if is_same.any() else (),
        )

    return [predict_one(row) for row in range(len(paths))]


def _exemplar(support: Embeddings, row: int, distance: float) -> Exemplar:
    return Exemplar(support.film_names[row], support.class_names[support.class_ids[row]], distance)

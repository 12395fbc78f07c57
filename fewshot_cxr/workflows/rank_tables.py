"""Test films beside exemplars in the order of their distance, as the ResNet-9 report shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fewshot_cxr.data import CachedFilms
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference import sample_exemplars
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.seeding import generator
from fewshot_cxr.visualise import Figure, rank_table_figure
from fewshot_cxr.workflows.judging import Exemplars

_MOST_EXEMPLARS = 60
_SAMPLED_PER_FINDING = 3  # where all training films are exemplars: too many to look at


@dataclass(frozen=True, eq=False)
class RankTable:
    """A film, and exemplars it was compared with.

    Attributes:
        film: uint8 (S, S).
        name: its path.
        rows: (film uint8 (S, S), finding, distance) of each exemplar in any order.
        means: finding -> what the rule compares, the closest first, over all `n_exemplars`, of which the rows may be
            some.
        paths: names of the exemplars in the order of the rows, where they are known.
        rule: that compared them.
        truth: the finding of the film; "": not known.
        decision: the finding that the rule takes it for; "": not known.
        n_exemplars: all that were compared; None: those of the rows.
    """

    film: np.ndarray
    name: str
    rows: Sequence[tuple[np.ndarray, str, float]]
    means: Mapping[str, float]
    paths: Sequence[str] = ()
    rule: str = "mean_distance"
    truth: str = ""
    decision: str = ""
    n_exemplars: int | None = None


def rank_tables(
    exemplars: Exemplars, films: CachedFilms, embedded: Embeddings, n_tables: int, *, seed: int
) -> tuple[RankTable, ...]:
    """Measure a few test films, drawn by seed, against exemplars.

    The distance to each finding is the rule's own, over all exemplars; the decision is the finding at the smallest.

    Args:
        exemplars: of which a few of each finding are in the tables where they are more than 60; its rule.
        films: the test films.
        embedded: the same films.
        n_tables: how many.
        seed: of both draws.
    """
    order = generator(seed, "rank tables").permutation(len(films))[:n_tables]
    if not len(order):
        return ()
    place = {film.path: row for row, film in enumerate(exemplars.films.records)}
    some = exemplars.films.records
    if len(some) > _MOST_EXEMPLARS:
        some = sample_exemplars(some, _SAMPLED_PER_FINDING, seed=seed)
    kept = [place[film.path] for film in some]
    pixels, findings = exemplars.films.rows(kept), [film.finding for film in some]
    by = exemplars.rule
    decider = Decider(exemplars.embeddings, rule=by.name, distance=by.distance, options=by.options)
    distances = decider.to_exemplars(embedded.vectors[order])[:, kept].tolist()
    tables = []
    for row, own_distances, means in zip(
        order.tolist(), distances, _to_findings(decider, embedded, order), strict=True
    ):
        record = films.records[row]
        table = RankTable(
            films.rows([row])[0],
            record.path,
            tuple(zip(pixels, findings, own_distances, strict=True)),
            means,
            paths=[film.path for film in some],
            rule=by.name,
            truth=record.finding,
            decision=next(iter(means)),
            n_exemplars=len(exemplars.films),
        )
        tables.append(table)
    return tuple(tables)


def draw_rank_table(table: RankTable, *, title: str = "", theme: str = "light") -> Figure:
    """Draw a table; see `rank_table_figure`."""
    return rank_table_figure(
        table.film,
        table.name,
        table.rows,
        table.means,
        rule=table.rule,
        truth=table.truth,
        decision=table.decision,
        n_exemplars=table.n_exemplars,
        title=title,
        theme=theme,
    )


def _to_findings(decider: Decider, films: Embeddings, order: np.ndarray) -> list[dict[str, float]]:
    """Return finding -> what the rule compares, over all exemplars, the closest first, of each film in this order."""
    # A transductive rule looks at all test films at once: a few of them alone would be decided otherwise.
    if decider.is_transductive:
        found = decider.distances(films.vectors)[torch.from_numpy(order)]
    else:
        found = decider.distances(films.vectors[order])
    named = (zip(decider.findings, own, strict=True) for own in found.tolist())
    return [dict(sorted(own, key=lambda item: item[1])) for own in named]

"""Test films beside exemplars in the order of their distance, as the ResNet-9 report shows them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.data import CachedFilms
from fewshot_cxr.distances import pairwise_distances
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference import RULES, TRANSDUCTIVE, sample_exemplars
from fewshot_cxr.seeding import generator
from fewshot_cxr.visualise import Figure, rank_table_figure
from fewshot_cxr.workflows.exemplar_judge import ExemplarJudge

_MOST_EXEMPLARS = 60
_DRAWN_PER_FINDING = 3  # where all training films are exemplars: too many to look at


@dataclass(frozen=True, eq=False)
class RankTable:
    """A film, and exemplars it was compared with.

    `film` and the films of `rows` are uint8 (S, S); `rows` holds (film, finding, distance) of each exemplar in any
    order, `paths` their names in the same order, where they are known. `means` are what the rule compares (finding ->
    score, smaller is closer), over all `n_exemplars`, of which the rows may be some; None: the mean over the rows.
    `truth` and `decision` are the film's finding and the one that the rule takes it for; "": not known.
    """

    film: np.ndarray
    name: str
    rows: Sequence[tuple[np.ndarray, str, float]]
    paths: Sequence[str] = ()
    means: Mapping[str, float] | None = None
    rule: str = "mean_distance"
    truth: str = ""
    decision: str = ""
    n_exemplars: int | None = None

    def mean_distances(self) -> dict[str, float]:
        """Return finding -> what the rule compares, closest first."""
        found: dict[str, list[float]] = {}
        for _, finding, distance in self.rows:
            found.setdefault(finding, []).append(float(distance))
        means = (
            {name: math.fsum(some) / len(some) for name, some in found.items()} if self.means is None else self.means
        )
        return dict(sorted(means.items(), key=lambda item: item[1]))


def rank_tables(
    judge: ExemplarJudge, films: CachedFilms, embedded: Embeddings, n_tables: int, *, seed: int
) -> tuple[RankTable, ...]:
    """Measure a few test films, drawn by seed, against exemplars.

    The distance to each finding is the rule's own, over all exemplars; the decision is the finding at the smallest.

    Args:
        judge: its exemplars, of which a few of each finding are shown where they are more than 60; its rule.
        films, embedded: the test films.
        n_tables: how many.
        seed: of both draws.
    """
    order = generator(seed, "rank tables").permutation(len(films))[:n_tables]
    if not len(order):
        return ()
    place = {film.path: row for row, film in enumerate(judge.films.records)}
    shown = judge.films.records
    if len(shown) > _MOST_EXEMPLARS:
        shown = sample_exemplars(shown, _DRAWN_PER_FINDING, seed=seed)
    kept = [place[film.path] for film in shown]
    pixels, findings = judge.films.rows(kept), [film.finding for film in shown]
    distances = _to_exemplars(judge, torch.from_numpy(embedded.vectors[order]), kept).tolist()
    names, to_findings = _to_findings(judge, embedded, order)
    tables = []
    for number, row in enumerate(order.tolist()):
        record, own = films.records[row], to_findings[number]
        table = RankTable(
            films.rows([row])[0],
            record.path,
            tuple(zip(pixels, findings, distances[number], strict=True)),
            paths=[film.path for film in shown],
            means=dict(zip(names, own.tolist(), strict=True)),
            rule=judge.rule,
            truth=record.finding,
            decision=names[int(own.argmin())],
            n_exemplars=len(judge.films),
        )
        tables.append(table)
    return tuple(tables)


def draw_rank_table(table: RankTable, *, title: str = "", theme: str = "light") -> Figure:
    """Draw a table; see `rank_table_figure`."""
    return rank_table_figure(
        table.film,
        table.name,
        table.rows,
        table.mean_distances(),
        rule=table.rule,
        truth=table.truth,
        decision=table.decision,
        n_exemplars=table.n_exemplars,
        title=title,
        theme=theme,
    )


def _to_exemplars(judge: ExemplarJudge, asked: Tensor, kept: list[int]) -> Tensor:
    exemplars = torch.from_numpy(judge.known.vectors[kept])
    if "weights" in judge.options:  # a template of one exemplar each is that exemplar
        return RULES["template"](exemplars, torch.arange(len(kept)), asked, **judge.options)
    return pairwise_distances(asked, exemplars, judge.distance)


def _to_findings(judge: ExemplarJudge, films: Embeddings, order: np.ndarray) -> tuple[list[str], Tensor]:
    """Return the findings, and what the rule compares: (n_tables, n_findings), over all exemplars."""
    held, labels = np.unique(judge.known.class_ids, return_inverse=True)
    # Such a rule looks at all test films at once: a few of them alone would be decided otherwise.
    rows = np.arange(len(films)) if judge.rule in TRANSDUCTIVE else order
    known, asked = torch.from_numpy(judge.known.vectors), torch.from_numpy(films.vectors[rows])
    with torch.inference_mode():
        found = RULES[judge.rule](known, torch.from_numpy(labels), asked, distance=judge.distance, **judge.options)
    names = judge.known.class_names
    return [names[index] for index in held], found[torch.from_numpy(order)] if judge.rule in TRANSDUCTIVE else found

"""Test films beside exemplars in the order of their distance, as the ResNet-9 report shows them."""

import torch
from torch import Tensor

from fewshot_cxr.data import CachedFilms
from fewshot_cxr.distances import pairwise_distances
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference import RULES, sample_exemplars
from fewshot_cxr.seeding import generator
from fewshot_cxr.workflows.recipes.judging import ExemplarJudge
from fewshot_cxr.workflows.recipes.shows import RankTable

_MOST_EXEMPLARS = 60
_DRAWN_PER_FINDING = 3  # where all training films are exemplars: too many to look at


def rank_tables(
    judge: ExemplarJudge, films: CachedFilms, embedded: Embeddings, n_tables: int, *, seed: int
) -> tuple[RankTable, ...]:
    """Measure a few test films, drawn by seed, against exemplars.

    Args:
        judge: its exemplars, or a few of each finding where they are more than 60; its distance.
        films, embedded: the test films.
        n_tables: how many.
        seed: of both draws.
    """
    place = {film.path: row for row, film in enumerate(judge.films.records)}
    shown = judge.films.records
    if len(shown) > _MOST_EXEMPLARS:
        shown = sample_exemplars(shown, _DRAWN_PER_FINDING, seed=seed)
    kept = [place[film.path] for film in shown]
    pixels, findings = judge.films.rows(kept), [film.finding for film in shown]
    order = generator(seed, "rank tables").permutation(len(films))[:n_tables]
    asked = torch.from_numpy(embedded.vectors[order])
    tables = []
    for row, distances in zip(order.tolist(), _distances(judge, asked, kept).tolist(), strict=True):
        record, exemplars = films.records[row], tuple(zip(pixels, findings, distances, strict=True))
        name = f"{record.path} ({record.finding})"
        tables.append(RankTable(films.rows([row])[0], name, exemplars, paths=[film.path for film in shown]))
    return tuple(tables)


def _distances(judge: ExemplarJudge, asked: Tensor, kept: list[int]) -> Tensor:
    exemplars = torch.from_numpy(judge.known.vectors[kept])
    if "weights" in judge.options:  # a template of one exemplar each is that exemplar
        return RULES["template"](exemplars, torch.arange(len(kept)), asked, **judge.options)
    return pairwise_distances(asked, exemplars, judge.distance)

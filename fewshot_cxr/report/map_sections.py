"""Maps of an embedding: films on a plane by finding and by source, and on a self-organising map."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from fewshot_cxr._progress import Bar
from fewshot_cxr.report.html import Section
from fewshot_cxr.report.pictures import Picture
from fewshot_cxr.report.tables import Table, number_text
from fewshot_cxr.visualise.projection import project
from fewshot_cxr.visualise.projection_figure import projection_figure, projections_figure
from fewshot_cxr.visualise.som import Proximity, Som, class_proximity, train_som
from fewshot_cxr.visualise.som_figures import som_hits_figure

_NOT_STATED = "not stated"
_FILMS_OF_A_CELL = 5  # on average; a grid of more cells than that is mostly empty
_MOST_CELLS = 10  # along a side
_MOST_FINDINGS = 4  # of which every pair is listed
_CHANCE = (
    "where findings dealt out at random among these films would lie: below this range two findings lie nearer to each "
    "other than chance, above it they are set apart; films of one patient count as independent here, so that the true "
    "range is wider"
)


def projection_section(
    vectors: np.ndarray,
    findings: Sequence[str],
    sources: Sequence[str],
    *,
    distance: str = "euclidean",
    seed: int = 0,
    heading: str = "The films on a map",
) -> Section:
    """Show the same points by finding and, where there are several, by source.

    Args:
        vectors: embeddings, float, shape (N, dim).
        findings: of the N films.
        sources: of the N films; "" where one is not stated.
        distance: "euclidean" or "cosine", as the encoder was trained.
        seed: of the map.
        heading: of the section.

    Raises:
        ValueError: too few films for a map, or vectors that are all the same.
    """
    projection = project(vectors, method="tsne", seed=seed, distance=distance)
    places = [source or _NOT_STATED for source in sources]
    told = (
        "Films that lie side by side are near each other in the embedding; how far groups lie apart, and how large "
        "they are drawn, means nothing. The map is drawn from the embedding alone: the colours are put on afterwards."
    )
    if len(set(places)) == 1:
        draw = partial(projection_figure, projection, findings, group_name="finding")
        by_source = ""
    else:
        draw = partial(projections_figure, [("by finding", projection, findings), ("by source", projection, places)])
        by_source = " Where the colours of the sources part as the findings do, the embedding may tell hospitals apart."
    picture = Picture.drawn(
        draw,
        alt=f"t-SNE of {len(findings):,} films by {'finding' if len(set(places)) == 1 else 'finding and by source'}; "
        f"trustworthiness {number_text(projection.trustworthiness, 'short')}.",
    )
    return Section(heading, (told + by_source,), (picture,))


def som_section(
    vectors: np.ndarray,
    findings: Sequence[str],
    *,
    distance: str = "euclidean",
    seed: int = 0,
    heading: str = "Which findings lie next to which",
    progress: Bar | None = None,
) -> Section:
    """Show the majority finding of each cell of a self-organising map, and how near findings lie on it.

    Args:
        vectors: embeddings, float, shape (N, dim).
        findings: of the N films.
        distance: "euclidean" or "cosine", as the encoder was trained.
        seed: of the training of the map.
        heading: of the section.
        progress: called with (epochs done, epochs in all).

    Raises:
        ValueError: vectors that are all the same.
    """
    side = int(np.clip(np.sqrt(len(findings) / _FILMS_OF_A_CELL), 3, _MOST_CELLS))
    som = train_som(vectors, grid=(side, side), seed=seed, distance=distance, progress=progress)
    told = (
        f"Every film is at the cell of a {side} x {side} grid that is most like its embedding; cells side by side are "
        f"alike. Quantisation error {som.quantisation_error:.3g} (mean distance of a film from its cell), topographic "
        f"error {number_text(som.topographic_error)} (films whose second best cell does not touch the best: where the "
        "map is torn)."
    )
    picture = Picture.drawn(
        partial(som_hits_figure, som, findings),
        alt=f"Self-organising map, {side} x {side} cells, of {len(findings):,} films; each cell shows how many films "
        "it holds and their most frequent finding.",
    )
    tables = (_proximity_table(som, findings, seed),) if len(set(findings)) > 1 else ()
    return Section(heading, (told,), (picture,), tables=tables)


def _proximity_table(som: Som, findings: Sequence[str], seed: int) -> Table:
    pairs = class_proximity(som, findings, seed=seed)
    is_short = len(set(findings)) > _MOST_FINDINGS
    shown = [pair for pair in pairs if pair.rank == 1] if is_short else pairs
    caption = "Mean distance between films of two findings on the map, in cells"
    return Table(
        ("finding", "other finding", "cells apart", "by chance", "95 % of chance"),
        tuple(map(_row, shown)),
        caption=f"{caption}; of each finding the nearest other" if is_short else caption,
        below=(("95 % of chance", _CHANCE),),
    )


def _row(pair: Proximity) -> tuple[str, ...]:
    low, high = pair.chance95
    chance = f"{pair.chance_distance:.2f}"
    return pair.finding, pair.other, f"{pair.mean_distance:.2f}", chance, f"{low:.2f} to {high:.2f}"

"""Maps of an embedding: films on a plane by finding and by source, and on a self-organising map."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from fewshot_cxr.report.html import Section
from fewshot_cxr.report.pictures import Picture
from fewshot_cxr.report.tables import UNKNOWN
from fewshot_cxr.visualise.projection import project
from fewshot_cxr.visualise.projection_figure import projection_figure, projections_figure

_NOT_STATED = "not stated"


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
        findings, sources: of the N films; "" where a source is not stated.
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
    trusted = projection.trustworthiness
    picture = Picture.drawn(
        draw,
        alt=f"t-SNE of {len(findings):,} films by {'finding' if len(set(places)) == 1 else 'finding and by source'}; "
        f"trustworthiness {UNKNOWN if trusted is None else f'{trusted:.2f}'}.",
    )
    return Section(heading, (told + by_source,), (picture,))

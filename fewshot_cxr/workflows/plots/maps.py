"""Figures of all embeddings at once: projections and self-organising maps."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress

import numpy as np

from fewshot_cxr._checks import lookup
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.report.projection_page import projection_page
from fewshot_cxr.visualise import (
    PROJECTIONS,
    TSNE_PUBLISHED,
    Figure,
    Projection,
    Som,
    project,
    projection_figure,
    projections_figure,
    published_rows,
    som_distance_figure,
    som_hits_figure,
    train_som,
)
from fewshot_cxr.workflows.plots.films import decoded, matched_films
from fewshot_cxr.workflows.plots.inputs import PlotInputs, PlotOptions

PUBLISHED = "tsne-published"  # t-SNE with the settings of a published figure, of the first films of each finding
METHODS = (*PROJECTIONS, PUBLISHED)
COLOURS = ("finding", "source", "patient", "split")
_NOT_STATED = "not stated"
_THUMBNAIL_PX = 40


def draw_projection(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw the embeddings in the plane, coloured by what films have in common; before and after training, too."""
    lookup(dict.fromkeys(METHODS), options.method, what="method")
    embedded, rows, other = _embedded(inputs), *_rows_and_before(inputs, options)
    names = _groups(embedded, inputs, options.colour)
    groups = [names[row] for row in rows]
    projection = _project(embedded, rows, options)
    if other is None:
        return projection_figure(
            projection, groups, group_name=options.colour, title=options.title, theme=options.theme
        )
    before = _project(other, rows, options)
    panels = [("before", before, groups), ("after", projection, groups)]
    return projections_figure(panels, title=options.title, theme=options.theme)


def explore_projection(inputs: PlotInputs, options: PlotOptions) -> str:
    """Return the same projection as an interactive page: every kind of group, thumbnails where films are at hand."""
    lookup(dict.fromkeys(METHODS), options.method, what="method")
    embedded, rows, before = _embedded(inputs), *_rows_and_before(inputs, options)
    if embedded.paths is None:
        raise ValueError(f"{inputs.name}: its films have no names to show; `fscxr embed` writes embeddings that have")
    projection = _project(embedded, rows, options)
    kinds = (options.colour, *(colour for colour in COLOURS if colour != options.colour))
    groups = {}
    for kind in kinds:
        # What the films do not state is no fault of the page, unless it was asked for.
        with nullcontext() if kind == options.colour else suppress(ValueError):
            names = _groups(embedded, inputs, kind)
            groups[kind] = [names[row] for row in rows]
    return projection_page(
        projection.points,
        groups=groups,
        paths=[embedded.paths[row] for row in rows],
        thumbnails=None if inputs.films is None else _thumbnails(embedded, inputs, rows, options),
        title=options.title or f"{len(rows):,} films on a map",
        lead=(_how_drawn(projection),),
        before=None if before is None else _project(before, rows, options).points,
    )


def draw_som(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw which finding has the majority in each cell of a self-organising map."""
    embedded = _embedded(inputs)
    groups = _groups(embedded, inputs, options.colour)
    som = _trained(embedded, options)
    return som_hits_figure(som, groups, group_name=options.colour, title=options.title, theme=options.theme)


def draw_som_distance(inputs: PlotInputs, options: PlotOptions) -> Figure:
    """Draw how far each cell of a self-organising map lies from its neighbours."""
    som = _trained(_embedded(inputs), options)
    return som_distance_figure(som, title=options.title, theme=options.theme)


def _rows_and_before(inputs: PlotInputs, options: PlotOptions) -> tuple[list[int], Embeddings | None]:
    """Return which films are drawn, and the other embeddings of the same films."""
    embedded = _embedded(inputs)
    is_published = options.method == PUBLISHED
    rows = published_rows(embedded.class_ids.tolist()).tolist() if is_published else list(range(len(embedded)))
    return rows, None if inputs.before is None else _same_films(inputs.before, embedded)


def _how_drawn(projection: Projection) -> str:
    told = f"Each point is a film; films that the encoder finds alike lie together ({projection.method})."
    if projection.method != "pca":
        told += " How large a cluster is and how far two lie apart means nothing."
    if projection.trustworthiness is not None:
        told += f" Trustworthiness {projection.trustworthiness:.2f}: 1 where films that lie side by side here are alike"
        told += " to the encoder; it is no share of the neighbours."
    return told


def _thumbnails(embedded: Embeddings, inputs: PlotInputs, rows: list[int], options: PlotOptions) -> np.ndarray:
    films = matched_films(embedded, inputs.films, "a page with films").take(rows)
    return decoded(films, _THUMBNAIL_PX, options).rows(range(len(films)))


def _project(embedded: Embeddings, rows: list[int], options: PlotOptions) -> Projection:
    vectors, distance = embedded.vectors[rows], _distance(options)
    if options.method == PUBLISHED:
        if len(rows) <= TSNE_PUBLISHED["perplexity"]:
            raise ValueError(
                f"{PUBLISHED} draws the first films of each finding, {len(rows)} here, and needs more than "
                f"{TSNE_PUBLISHED['perplexity']:g}; take --method tsne"
            )
        return project(vectors, method="tsne", distance=distance, **TSNE_PUBLISHED)
    return project(vectors, method=options.method, seed=options.seed, distance=distance)


def _trained(embedded: Embeddings, options: PlotOptions) -> Som:
    return train_som(embedded.vectors, seed=options.seed, distance=_distance(options), progress=options.progress)


def _distance(options: PlotOptions) -> str:
    # The squares order films as the distances do.
    return "euclidean" if options.distance == "squared_euclidean" else options.distance


def _embedded(inputs: PlotInputs) -> Embeddings:
    if inputs.embeddings is None:
        raise ValueError(f"{inputs.name} holds no embeddings; `fscxr embed` writes them")
    if inputs.embeddings.is_multi_label:
        raise ValueError(f"{inputs.name}: its films may show several findings; embed films of one finding each")
    return inputs.embeddings


def _groups(embedded: Embeddings, inputs: PlotInputs, colour: str) -> Sequence[str]:
    lookup(dict.fromkeys(COLOURS), colour, what="colour")
    if colour == "source":
        if embedded.sources is None or not any(embedded.sources):
            raise ValueError(f"{inputs.name} states no source of any film; take another --colour")
        return [source or _NOT_STATED for source in embedded.sources]
    if colour == "patient":
        return [f"patient {number}" for number in embedded.patient_ids.tolist()]
    if colour == "split":
        films = matched_films(embedded, inputs.films, "--colour split")
        if not any(film.split for film in films):
            raise ValueError("--colour split: the films of --data are in no split; `fscxr data split` makes some")
        return [film.split or _NOT_STATED for film in films]
    return [embedded.class_names[index] for index in embedded.class_ids.tolist()]


def _same_films(before: Embeddings, after: Embeddings) -> Embeddings:
    """Return the rows of `before` in the order of `after`."""
    place = {path: row for row, path in enumerate(before.paths or ())}
    lacking = [path for path in after.paths or ("a film without a path",) if path not in place]
    if lacking:
        raise ValueError(
            f"--before: {len(lacking)} of {len(after)} films are not in it, the first: {lacking[0]}; embed the very "
            "same films with both encoders"
        )
    return before.take([place[path] for path in after.paths or ()])

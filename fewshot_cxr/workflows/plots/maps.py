"""Figures of all embeddings at once: projections and self-organising maps."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress

import numpy as np

from fewshot_cxr import visualise
from fewshot_cxr._checks import lookup
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.report.projection_page import projection_page
from fewshot_cxr.workflows.plots.films import decoded, matched_films
from fewshot_cxr.workflows.plots.inputs import PlotInputs, PlotOptions, given_embeddings

PUBLISHED = "tsne-published"  # t-SNE with the settings of a published figure, of the first films of each finding
METHODS = (*visualise.PROJECTIONS, PUBLISHED)
COLOURS = ("finding", "source", "patient", "split")
_NOT_STATED = "not stated"
_THUMBNAIL_PX = 40


def draw_projection(inputs: PlotInputs, options: PlotOptions) -> visualise.Figure:
    """Draw the embeddings in the plane, coloured by what films have in common; before and after training, too."""
    embedded, before = _chosen(inputs, options)
    groups, projection = _groups(embedded, inputs, options.colour), _project(embedded, options)
    if before is None:
        return visualise.projection_figure(projection, groups, group_name=options.colour, **options.look)
    return visualise.projections_figure(
        [("before", _project(before, options), groups), ("after", projection, groups)], **options.look
    )


def explore_projection(inputs: PlotInputs, options: PlotOptions) -> str:
    """Return the same projection as an interactive page: every kind of group, thumbnails where films are at hand."""
    embedded, before = _chosen(inputs, options)
    if embedded.paths is None:
        raise ValueError(f"{inputs.name}: its films have no names to show; `fscxr embed` writes embeddings that have")
    projection = _project(embedded, options)
    kinds = (options.colour, *(colour for colour in COLOURS if colour != options.colour))
    groups = {}
    for kind in kinds:
        # What the films do not state is no fault of the page, unless it was asked for.
        with nullcontext() if kind == options.colour else suppress(ValueError):
            groups[kind] = _groups(embedded, inputs, kind)
    return projection_page(
        projection.points,
        groups=groups,
        paths=embedded.paths,
        thumbnails=None if inputs.films is None else _thumbnails(embedded, inputs, options),
        title=options.title or f"{len(embedded):,} films on a map",
        lead=(_how_drawn(projection),),
        before=None if before is None else _project(before, options).points,
    )


def draw_som(inputs: PlotInputs, options: PlotOptions) -> visualise.Figure:
    """Draw which finding has the majority in each cell of a self-organising map."""
    embedded = _embedded(inputs)
    groups = _groups(embedded, inputs, options.colour)
    som = _trained(embedded, options)
    return visualise.som_hits_figure(som, groups, group_name=options.colour, **options.look)


def draw_som_distance(inputs: PlotInputs, options: PlotOptions) -> visualise.Figure:
    """Draw how far each cell of a self-organising map lies from its neighbours."""
    som = _trained(_embedded(inputs), options)
    return visualise.som_distance_figure(som, **options.look)


def _chosen(inputs: PlotInputs, options: PlotOptions) -> tuple[Embeddings, Embeddings | None]:
    """Return the films that are drawn, and the other embeddings of the same films."""
    lookup(dict.fromkeys(METHODS), options.method, what="method")
    embedded = _embedded(inputs)
    if options.method == PUBLISHED:
        embedded = embedded.take(visualise.published_rows(embedded.class_ids.tolist()))
    return embedded, None if inputs.before is None else _same_films(inputs.before, embedded)


def _how_drawn(projection: visualise.Projection) -> str:
    told = f"Each point is a film; films that the encoder finds alike lie together ({projection.method})."
    if projection.method != "pca":
        told += " How large a cluster is and how far two lie apart means nothing."
    if projection.trustworthiness is not None:
        told += f" Trustworthiness {projection.trustworthiness:.2f}: 1 where films that lie side by side here are alike"
        told += " to the encoder; it is no share of the neighbours."
    return told


def _thumbnails(embedded: Embeddings, inputs: PlotInputs, options: PlotOptions) -> np.ndarray:
    films = matched_films(embedded, inputs.films, "a page with films")
    return decoded(films, _THUMBNAIL_PX, options).rows(range(len(films)))


def _project(embedded: Embeddings, options: PlotOptions) -> visualise.Projection:
    vectors, distance = embedded.vectors, _distance(options)
    if options.method == PUBLISHED:
        if len(vectors) <= visualise.TSNE_PUBLISHED["perplexity"]:
            raise ValueError(
                f"{PUBLISHED} draws the first films of each finding, {len(vectors)} here, and needs more than "
                f"{visualise.TSNE_PUBLISHED['perplexity']:g}; take --method tsne"
            )
        return visualise.project(vectors, method="tsne", distance=distance, **visualise.TSNE_PUBLISHED)
    return visualise.project(vectors, method=options.method, seed=options.seed, distance=distance)


def _trained(embedded: Embeddings, options: PlotOptions) -> visualise.Som:
    return visualise.train_som(
        embedded.vectors, seed=options.seed, distance=_distance(options), progress=options.progress
    )


def _distance(options: PlotOptions) -> str:
    # The squares order films as the distances do.
    return "euclidean" if options.distance == "squared_euclidean" else options.distance


def _embedded(inputs: PlotInputs) -> Embeddings:
    embedded = given_embeddings(inputs)
    if embedded.is_multi_label:
        raise ValueError(f"{inputs.name}: its films may show several findings; embed films of one finding each")
    return embedded


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

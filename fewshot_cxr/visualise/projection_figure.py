"""Embeddings on a plane as a picture: films marked by group, and what may be read from it."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from fewshot_cxr.visualise.groups import (
    LINE_INCHES,
    LINE_LETTERS,
    MARKS,
    Looks,
    drawing_over_words,
    group_names,
    largest_groups,
    legend_rows,
    put_legend,
)
from fewshot_cxr.visualise.projection import Projection
from fewshot_cxr.visualise.set_apart import N_SILHOUETTE, silhouette
from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, Theme, looks_of
from fewshot_cxr.visualise.text import percent, wrapped

Panel = tuple[str, Projection, Sequence[Hashable]]  # title, the plane, the group of each film

_MOST_PANELS = 4
_SIDE = 5.4  # inches; the height of a single panel with its numbers
_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
_TRUST = "Trustworthiness: 1 where films that lie side by side here are alike to the encoder, too."
_APART = "Silhouette: 1 where groups lie apart for the encoder, 0 where they overlap, below 0 mixed."
_NEIGHBOURS_ONLY = "Only who lies beside whom has a meaning: axes, places and gaps between groups have none."
_OTHERS = ""  # the groups beyond the largest


def projection_figure(
    projection: Projection,
    groups: Sequence[Hashable],
    *,
    group_name: str = "finding",
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Draw films on the plane, by finding, source, patient or split, with trustworthiness and silhouette in words.

    Of more than 15 groups the 15 with the most films are named; the others are grey, and their number is said.

    Args:
        projection: N films, of `project`.
        groups: N names.
        group_name: what they are, above the legend.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: groups and films do not pair up; unknown theme.

    Examples:
        >>> from fewshot_cxr.visualise import project
        >>> vectors = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
        >>> figure = projection_figure(project(vectors, method="pca"), ["normal", "normal", "covid19", "covid19"])
        >>> figure.axes[0].get_xlabel()
        'trustworthiness 1.00, silhouette 0.89'
    """
    return _draw([("", projection, groups)], group_name, title, theme)


def projections_figure(panels: Sequence[Panel], *, title: str = "", theme: str = "light") -> Figure:
    """Draw two to four planes side by side: before and after training, or the same plane by finding and by source.

    Panels of the same groups share their colours and one legend; of others, each has its own. What is said of more
    than 15 groups in `projection_figure` holds in each panel.

    Args:
        panels: (title, projection of N films, their N groups) each.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no panel or more than four; groups and films do not pair up; unknown theme.

    Examples:
        >>> from fewshot_cxr.visualise import project
        >>> plane = project(np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]]), method="pca")
        >>> findings, sources = ["normal", "normal", "covid19", "covid19"], ["lyon", "oslo", "lyon", "oslo"]
        >>> figure = projections_figure([("by finding", plane, findings), ("by source", plane, sources)])
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['by finding', 'by source']
    """
    if not 1 <= len(panels) <= _MOST_PANELS:
        raise ValueError(f"panels must be 1 to {_MOST_PANELS}, got {len(panels)}")
    return _draw(panels, "", title, theme)


def _draw(panels: Sequence[Panel], group_name: str, title: str, theme: str) -> Figure:
    named = [group_names(groups, len(projection.points)) for _, projection, groups in panels]
    legends = [_legend(names) for names in named]
    is_shared = all(legend.keys() == legends[0].keys() for legend in legends)
    if is_shared and any(legend != legends[0] for legend in legends):
        legends = [{name: "" if name else "others" for name in legends[0]}] * len(panels)
    n_columns = min(2, len(panels))
    n_letters = LINE_LETTERS if is_shared else LINE_LETTERS // n_columns
    legend_inches = [0.2 + 0.19 * legend_rows(legend, n_letters) for legend in legends]
    panel_inches = _SIDE if n_columns == 1 else PAGE_WIDTH / 2 + 0.6
    firsts = range(0, len(panels), n_columns)
    rows = [panel_inches + (0 if is_shared else max(legend_inches[one : one + n_columns])) for one in firsts]
    inches = sum(rows) + (legend_inches[0] + LINE_INCHES * bool(group_name) if is_shared else 0)
    words = _words([projection for _, projection, _ in panels])
    with drawing_over_words(theme, inches, words, title) as (figure, films, colours):
        looks = _looks(legends, colours)
        if is_shared:
            grid = list(films.subplots(len(rows), n_columns, squeeze=False).flat)
            put_legend(films, legends[0], looks, title=group_name, n_letters=n_letters)
        else:
            holders = list(films.subfigures(len(rows), n_columns, height_ratios=rows, squeeze=False).flat)
            grid = [holder.subplots() for holder in holders]
            for holder, legend in zip(holders, legends, strict=False):
                put_legend(holder, legend, looks, n_letters=n_letters)
        for axes, (name, projection, _), names, legend in zip(grid, panels, named, legends, strict=False):
            _draw_films(axes, projection, [name if name in legend else _OTHERS for name in names], looks, colours)
            axes.set_title(wrapped(name, 60 // n_columns, n_lines=2))
            axes.set_xlabel(_readings(projection, names, n_columns), color=colours.ink, fontsize=9.5)
            if n_columns > 1:
                axes.set(box_aspect=1, anchor="N")
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
    return figure


def _legend(names: Sequence[str]) -> dict[str, str]:
    """Return name -> number of films, and last what is said of those beyond the largest."""
    counts = Counter(names)
    legend = {name: f" ({counts[name]:,})" for name in largest_groups(names)}
    others = [name for name in counts if name not in legend]
    if others:
        legend[_OTHERS] = f"{len(others):,} others ({sum(counts[name] for name in others):,} films)"
    return legend


def _looks(legends: Sequence[dict[str, str]], colours: Theme) -> Looks:
    names = dict.fromkeys(name for legend in legends for name in legend if name)
    looks = dict(zip(names, looks_of(colours, MARKS, len(names)), strict=True))
    return looks | {_OTHERS: (colours.quiet, ".")}


def _draw_films(axes: Axes, projection: Projection, names: Sequence[str], looks: Looks, colours: Theme) -> None:
    size = float(np.clip(7000 / len(names), 9, 36))
    groups, counts = np.array(names), Counter(names)
    # The grey ones first and the small groups last, so that a large one does not hide them.
    for name in sorted(counts, key=lambda group: (group != _OTHERS, -counts[group])):
        colour, marker = looks[name]
        points = projection.points[groups == name]
        look: dict[str, Any] = {"color": colour, "marker": marker, "alpha": 0.8 if name else 0.45}
        axes.scatter(points[:, 0], points[:, 1], s=size, edgecolors=colours.paper, linewidths=0.3, **look)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.margins(0.04)


def _readings(projection: Projection, names: Sequence[str], n_columns: int) -> str:
    trusted, settings = projection.trustworthiness, projection.settings
    apart = silhouette(projection.vectors, names, distance=settings["distance"], seed=settings["seed"])
    trusted_text = "unknown (too few films)" if trusted is None else f"{trusted:.2f}"
    why = "one group" if len(set(names)) == 1 else "a group per film"
    apart_text = f"unknown ({why})" if apart is None else f"{apart:.2f}"
    return f"trustworthiness {trusted_text}" + (", " if n_columns == 1 else "\n") + f"silhouette {apart_text}"


def _words(projections: Sequence[Projection]) -> list[str]:
    """Return the sentences below the films: how they were laid out, and what may be read from it."""
    words = list(dict.fromkeys(_how(projection) for projection in projections))
    if any(projection.method != "pca" for projection in projections):
        words.append(_NEIGHBOURS_ONLY)
    words += [_TRUST, _APART]
    n_trusted = min(projection.settings["n_trusted"] for projection in projections)
    if 0 < n_trusted < max(len(projection.points) for projection in projections):
        words.append(f"Both numbers are of at most {n_trusted:,} and {N_SILHOUETTE:,} films, drawn by the seed.")
    return words + list(dict.fromkeys(note for projection in projections for note in projection.notes))


def _how(projection: Projection) -> str:
    settings, name = projection.settings, _NAMES.get(projection.method, projection.method)
    how = f"{name} of {len(projection.points):,} films by {settings['distance']} distance"
    if projection.method == "pca":
        across, up = settings["variance_shares"]
        return f"{how}: {percent(across)} of the variance across, {percent(up)} up."
    asked = "perplexity" if projection.method == "tsne" else "n_neighbors"
    return f"{how}, {asked.replace('n_neighbors', 'neighbours')} {settings[asked]:.3g}, seed {settings['seed']}."

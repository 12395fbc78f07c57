"""Embeddings on a plane as a picture: films marked by group, and what may be read from it."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D

from fewshot_cxr.visualise.projection import N_SILHOUETTE, Projection, silhouette
from fewshot_cxr.visualise.style import (
    PAGE_WIDTH,
    Figure,
    Theme,
    drawing,
    group_names,
    largest_groups,
    legend_columns,
    mark_looks,
    percent,
    put_title,
    wrapped,
)

Panel = tuple[str, Projection, Sequence[Hashable]]  # title, the plane, the group of each film

_MOST_PANELS = 4
_NAME_LETTERS, _LINE_LETTERS = 30, 92
_LINE_INCHES = 0.18
_SIDE = 5.4  # inches; the height of a single panel with its numbers
_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
_TRUST = "Trustworthiness: 1 where films that lie side by side here are alike to the encoder, too."
_APART = "Silhouette: 1 where groups lie apart for the encoder, 0 where they overlap, below 0 mixed."
_NEIGHBOURS_ONLY = "Only who lies beside whom has a meaning: axes, places and gaps between groups have none."

Looks = dict[str, tuple[str, str]]  # name of a group -> (colour, marker)


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
    """
    if not 1 <= len(panels) <= _MOST_PANELS:
        raise ValueError(f"panels must be 1 to {_MOST_PANELS}, got {len(panels)}")
    return _draw(panels, "", title, theme)


def _draw(panels: Sequence[Panel], group_name: str, title: str, theme: str) -> Figure:
    named = [group_names(groups, len(projection.points)) for _, projection, groups in panels]
    legends = [_legend(names) for names in named]
    is_shared = all(legend.keys() == legends[0].keys() for legend in legends)
    if is_shared and any(legend != legends[0] for legend in legends):
        legends = [dict.fromkeys(legends[0], "")] * len(panels)
    n_columns = min(2, len(panels))
    n_letters = _LINE_LETTERS if is_shared else _LINE_LETTERS // n_columns
    panel_inches = _SIDE if n_columns == 1 else PAGE_WIDTH / 2 + 0.6
    row_inches = [panel_inches] * -(-len(panels) // n_columns)
    if not is_shared:
        for place, legend in enumerate(legends):
            row = place // n_columns
            row_inches[row] = max(row_inches[row], panel_inches + _legend_inches(legend, n_letters))
    shared_inches = _legend_inches(legends[0], n_letters) + _LINE_INCHES * bool(group_name) if is_shared else 0.0
    lines = _words([projection for _, projection, _ in panels])
    heights = [sum(row_inches) + shared_inches, 0.1 + _LINE_INCHES * len(lines)]
    with drawing(theme, PAGE_WIDTH, sum(heights) + 0.35 * bool(title)) as (figure, colours):
        films, words = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
        looks = _looks(legends, colours)
        places = _places(films, row_inches, n_columns, is_shared=is_shared)
        for (axes, holder), (name, projection, _), names, legend in zip(places, panels, named, legends, strict=False):
            _draw_films(axes, projection, [name if name in legend else "" for name in names], looks, colours)
            axes.set_title(wrapped(name, 60 // n_columns, n_lines=2))
            axes.set_xlabel(_readings(projection, names, n_columns), color=colours.ink, fontsize=9.5)
            if n_columns > 1:
                axes.set(box_aspect=1, anchor="N")
            if holder is not None:
                _put_legend(holder, legend, looks, n_letters)
        for axes, _ in places[len(panels) :]:
            axes.set_visible(False)
        if is_shared:
            _put_legend(films, legends[0], looks, n_letters, group_name)
        words.text(0.015, 1, "\n".join(lines), va="top", color=colours.quiet, fontsize=9, linespacing=1.25)
        put_title(figure, title)
    return figure


def _legend(names: Sequence[str]) -> dict[str, str]:
    """Return name -> number of films, and last, under "", what is said of those beyond the largest."""
    counts = Counter(names)
    legend = {name: f" ({counts[name]:,})" for name in largest_groups(names)}
    others = [name for name in counts if name not in legend]
    if others:
        legend[""] = f"{len(others):,} others ({sum(counts[name] for name in others):,} films)"
    return legend


def _looks(legends: Sequence[dict[str, str]], colours: Theme) -> Looks:
    names = dict.fromkeys(name for legend in legends for name in legend if name)
    looks = dict(zip(names, mark_looks(colours, len(names)), strict=True))
    return looks | {"": (colours.quiet, ".")}


def _places(
    films: SubFigure, row_inches: Sequence[float], n_columns: int, *, is_shared: bool
) -> list[tuple[Axes, SubFigure | None]]:
    n_rows = len(row_inches)
    if is_shared:
        return [(axes, None) for axes in films.subplots(n_rows, n_columns, squeeze=False).flat]
    parts = films.subfigures(n_rows, n_columns, height_ratios=row_inches, squeeze=False).flat
    return [(part.subplots(), part) for part in parts]


def _draw_films(axes: Axes, projection: Projection, names: Sequence[str], looks: Looks, colours: Theme) -> None:
    size = float(np.clip(7000 / len(names), 9, 36))
    groups, counts = np.array(names), Counter(names)
    # The grey ones first and the small groups last, so that a large one does not hide them.
    for name in sorted(counts, key=lambda group: (group != "", -counts[group])):
        colour, marker = looks[name]
        points = projection.points[groups == name]
        look: dict[str, Any] = {"color": colour, "marker": marker, "alpha": 0.8 if name else 0.45}
        axes.scatter(points[:, 0], points[:, 1], s=size, edgecolors=colours.paper, linewidths=0.3, **look)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.margins(0.04)


def _readings(projection: Projection, names: Sequence[str], n_columns: int) -> str:
    trusted, apart = projection.trustworthiness, _silhouette(projection, names)
    trusted_text = "none (too few films)" if trusted is None else f"{trusted:.2f}"
    why = "one group" if len(set(names)) == 1 else "a group per film"
    apart_text = f"none ({why})" if apart is None else f"{apart:.2f}"
    return f"trustworthiness {trusted_text}" + (", " if n_columns == 1 else "\n") + f"silhouette {apart_text}"


def _silhouette(projection: Projection, names: Sequence[str]) -> float | None:
    settings = projection.settings
    return silhouette(projection.vectors, names, distance=settings["distance"], seed=settings["seed"])


def _words(projections: Sequence[Projection]) -> list[str]:
    """Return the lines below the films: how they were laid out, and what may be read from it."""
    said = list(dict.fromkeys(_how(projection) for projection in projections))
    if any(projection.method != "pca" for projection in projections):
        said.append(_NEIGHBOURS_ONLY)
    said += [_TRUST, _APART]
    n_trusted = min(projection.settings["n_trusted"] for projection in projections)
    if 0 < n_trusted < max(len(projection.points) for projection in projections):
        said.append(f"Both numbers are of at most {n_trusted:,} and {N_SILHOUETTE:,} films, drawn by the seed.")
    said += dict.fromkeys(note for projection in projections for note in projection.notes)
    return [line for sentence in said for line in wrapped(sentence, _LINE_LETTERS, n_lines=9).split("\n")]


def _how(projection: Projection) -> str:
    settings, name = projection.settings, _NAMES.get(projection.method, projection.method)
    how = f"{name} of {len(projection.points):,} films by {settings['distance']} distance"
    if projection.method == "pca":
        across, up = settings["variance_shares"]
        return f"{how}: {percent(across)} of the variance across, {percent(up)} up."
    asked = "perplexity" if projection.method == "tsne" else "n_neighbors"
    return f"{how}, {asked.replace('n_neighbors', 'neighbours')} {settings[asked]:.3g}, seed {settings['seed']}."


def _labels(legend: dict[str, str]) -> list[str]:
    return [wrapped(name, _NAME_LETTERS, n_lines=1) + said or "others" for name, said in legend.items()]


def _legend_inches(legend: dict[str, str], n_letters: int) -> float:
    return 0.2 + 0.19 * -(-len(legend) // legend_columns(_labels(legend), n_letters))


def _put_legend(holder: SubFigure, legend: dict[str, str], looks: Looks, n_letters: int, group_name: str = "") -> None:
    marks = [Line2D([], [], linestyle="", markersize=7, color=looks[name][0], marker=looks[name][1]) for name in legend]
    holder.legend(
        marks,
        _labels(legend),
        loc="outside lower center",
        ncols=legend_columns(_labels(legend), n_letters),
        title=group_name or None,
        fontsize=9,
        title_fontsize=9,
        handletextpad=0.3,
        columnspacing=1.2,
        frameon=False,
    )

"""One film beside the exemplars it was compared with, and its distance to each finding."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from fewshot_cxr.visualise.films import check_images, draw_film
from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, Theme, drawing, put_title, wrapped

_MOST_COLUMNS = 3
_RANK_COLUMNS = 4
_MANY = 16  # exemplars; of more, smaller pictures stand closer
_SMALL_COLUMNS = 5
_RANKS_WIDTH = 4.8  # inches for all exemplars


def exemplar_figure(
    query_image: np.ndarray,
    query_title: str,
    exemplar_images: Sequence[np.ndarray],
    exemplar_titles: Sequence[tuple[str, float]],
    *,
    mean_distances: Mapping[str, float],
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Draw a film beside its nearest exemplars, and below them its distance to each finding, the smallest filled in.

    Args:
        query_image: uint8 (H, W).
        query_title: below it, such as the name of the file.
        exemplar_images: closest first, uint8 (H, W) each.
        exemplar_titles: (finding, distance) of each exemplar.
        mean_distances: finding -> what the rule compares (smaller is closer).
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no exemplar; images and titles that do not pair up; an image that is no uint8 (H, W); no
            distance; unknown theme.
    """
    check_images([query_image, *exemplar_images])
    if not exemplar_images or len(exemplar_images) != len(exemplar_titles):
        n_images, n_titles = len(exemplar_images), len(exemplar_titles)
        raise ValueError(f"each exemplar needs an image and a title, got {n_images} images and {n_titles} titles")
    if not mean_distances:
        raise ValueError("mean_distances must hold at least one finding, got none")
    n_lines = -(-len(exemplar_images) // _MOST_COLUMNS)
    films_inches, bars_inches = 2.1 * n_lines + 0.3, 0.9 + 0.38 * len(mean_distances)
    with drawing(theme, PAGE_WIDTH, films_inches + bars_inches + 0.4) as (figure, colours):
        films, bars = figure.subfigures(2, 1, height_ratios=[films_inches, bars_inches], squeeze=False)[:, 0]
        asked, shown = films.subfigures(1, 2, width_ratios=[1, 2], squeeze=False)[0]
        axes = asked.subplots()
        _frame_film(axes, query_image, colours.contrast)
        axes.set_title("this film")
        axes.set_xlabel(wrapped(query_title, 22), color=colours.ink)
        _draw_exemplars(shown, exemplar_images, exemplar_titles, colours)
        put_title(bars, "Distance to each finding (smaller is closer)", size=11.5)
        _draw_distances(bars.subplots(), mean_distances, colours)
        put_title(figure, title)
    return figure


def rank_table_figure(
    query_film: np.ndarray,
    query_name: str,
    rows: Sequence[tuple[np.ndarray, str, float]],
    means: Mapping[str, float],
    *,
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Draw a film beside all exemplars it was compared with, closest first, and below them the mean of each finding.

    The exemplars of the nearest finding are framed, those at one distance share a rank, and a tie of findings is said.

    Args:
        query_film: uint8 (H, W).
        query_name: below it, such as the name of the file.
        rows: (film uint8 (H, W), finding, distance) of each exemplar, in any order.
        means: finding -> its mean distance, which the rule compares (smaller is closer).
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no exemplar or no mean; an image that is no uint8 (H, W); a distance that is not finite; unknown
            theme.

    Source: Ayik, report on a siamese ResNet-9 for CoronaHack, Istanbul Technical University, 2021, figures 6 to 8.
    """
    check_images([query_film, *(film for film, _, _ in rows)])
    if not rows or not means:
        raise ValueError(f"a rank table needs exemplars and means, got {len(rows)} and {len(means)}")
    if not np.isfinite([*(distance for _, _, distance in rows), *means.values()]).all():
        raise ValueError(f"{query_name}: distances must be finite; look at the embeddings they come from")
    ranked = sorted(rows, key=lambda row: row[2])
    n_columns = min(len(ranked), _RANK_COLUMNS if len(ranked) <= _MANY else _SMALL_COLUMNS)
    n_lines = -(-len(ranked) // n_columns)
    films_inches = max(2.6, n_lines * (_RANKS_WIDTH / max(n_columns, _RANK_COLUMNS) + 0.62)) + 0.1
    bars_inches = 0.6 + 0.36 * len(means)
    with drawing(theme, PAGE_WIDTH, films_inches + bars_inches + 0.4) as (figure, colours):
        films, bars = figure.subfigures(2, 1, height_ratios=[films_inches, bars_inches], squeeze=False)[:, 0]
        asked, shown = films.subfigures(1, 2, width_ratios=[PAGE_WIDTH - _RANKS_WIDTH, _RANKS_WIDTH], squeeze=False)[0]
        axes = asked.subplots()
        _frame_film(axes, query_film, colours.contrast)
        axes.set_anchor("N")
        axes.set_title("this film")
        axes.set_xlabel(wrapped(query_name, 17, n_lines=7), color=colours.ink, fontsize=9.5)
        _draw_ranks(shown, ranked, _nearest(means), n_columns, colours)
        put_title(bars, "Mean distance to each finding (smaller is closer)", size=11.5)
        _draw_distances(bars.subplots(), means, colours)
        put_title(figure, title)
    return figure


def _frame_film(axes: Axes, image: np.ndarray, colour: str) -> None:
    draw_film(axes, image)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=colour, linewidth=2.5)


def _draw_exemplars(
    figure: SubFigure, images: Sequence[np.ndarray], titles: Sequence[tuple[str, float]], colours: Theme
) -> None:
    n_columns = min(len(images), _MOST_COLUMNS)
    grid = figure.subplots(-(-len(images) // n_columns), n_columns, squeeze=False).ravel()
    for rank, (axes, image, (finding, distance)) in enumerate(zip(grid, images, titles, strict=False), start=1):
        _frame_film(axes, image, colours.line)
        axes.set_title(f"nearest {rank}")
        axes.set_xlabel(f"{wrapped(finding, 13)}\n{distance:.4f}", color=colours.ink)
    for axes in grid[len(images) :]:
        axes.set_axis_off()


def _draw_ranks(
    figure: SubFigure,
    ranked: Sequence[tuple[np.ndarray, str, float]],
    nearest: Sequence[str],
    n_columns: int,
    colours: Theme,
) -> None:
    is_small = n_columns > _RANK_COLUMNS
    size, letters = (7.5, 14) if is_small else (9, 14)
    grid = figure.subplots(-(-len(ranked) // n_columns), n_columns, squeeze=False).ravel()
    distances = [distance for _, _, distance in ranked]
    for axes, (film, finding, distance) in zip(grid, ranked, strict=False):
        is_nearest = finding in nearest
        _frame_film(axes, film, colours.accent if is_nearest else colours.line)
        is_tied = distances.count(distance) > 1
        axes.set_title(f"{distances.index(distance) + 1}{' tied' * is_tied}", fontsize=size, pad=3)
        label = f"{wrapped(finding, letters, n_lines=2)}\n{distance:.4f}"
        weight = "bold" if is_nearest else "normal"
        axes.set_xlabel(label, color=colours.ink, fontsize=size, fontweight=weight, labelpad=3)
    for axes in grid[len(ranked) :]:
        axes.set_axis_off()


def _nearest(distances: Mapping[str, float]) -> list[str]:
    smallest = min(distances.values())
    return [name for name, distance in distances.items() if distance == smallest]


def _draw_distances(axes: Axes, distances: Mapping[str, float], colours: Theme) -> None:
    ranked = sorted(distances.items(), key=lambda item: item[1])
    values = [value for _, value in ranked]
    is_nearest = [value == values[0] for value in values]
    word = "  nearest, tied" if sum(is_nearest) > 1 else "  nearest"
    bars = axes.barh(
        range(len(values)),
        values,
        height=0.62,
        color=[colours.accent if nearest else colours.paper for nearest in is_nearest],
        edgecolor=[colours.accent if nearest else colours.quiet for nearest in is_nearest],
    )
    labels = [f"{value:.4f}" + word * nearest for value, nearest in zip(values, is_nearest, strict=True)]
    axes.bar_label(bars, labels, padding=5)
    axes.set_yticks(range(len(values)), [wrapped(name, 24, n_lines=2) for name, _ in ranked])
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)

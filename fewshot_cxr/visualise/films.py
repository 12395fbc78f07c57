"""Pictures of films: a sample of each finding, and one film beside the exemplars it was compared with."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, Theme, drawing, put_title, wrapped

_MOST_COLUMNS = 3


def sample_grid_figure(rows: Mapping[str, Sequence[np.ndarray]], *, title: str = "", theme: str = "light") -> Figure:
    """Draw a row of films for each finding, its name to the left.

    Args:
        rows: finding -> images, uint8 (H, W); rows may differ in length.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no image at all; one that is no uint8 (H, W); unknown theme.
    """
    for images in rows.values():
        _check_images(images)
    n_columns = max((len(images) for images in rows.values()), default=0)
    if n_columns == 0:
        raise ValueError("rows must hold at least one image, got none")
    cell_inches = (PAGE_WIDTH - 1.4) / n_columns
    with drawing(theme, PAGE_WIDTH, min(cell_inches, 1.6) * len(rows) + 0.5) as (figure, colours):
        grid = figure.subplots(len(rows), n_columns, squeeze=False)
        for line, (name, images) in zip(grid, rows.items(), strict=True):
            for axes in line:
                axes.set_axis_off()
            for axes, image in zip(line, images, strict=False):
                _draw_film(axes, image)
            label = {"ha": "right", "va": "center", "color": colours.ink}
            line[0].text(-0.08, 0.5, wrapped(name, 15), transform=line[0].transAxes, **label)
        put_title(figure, title)
    return figure


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
    _check_images([query_image, *exemplar_images])
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


def _check_images(images: Sequence[np.ndarray]) -> None:
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 2 or image.size == 0:
            raise ValueError(f"an image must be uint8 (H, W), got {image.dtype} {image.shape}")


def _draw_film(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)


def _frame_film(axes: Axes, image: np.ndarray, colour: str) -> None:
    _draw_film(axes, image)
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


def _draw_distances(axes: Axes, distances: Mapping[str, float], colours: Theme) -> None:
    ranked = sorted(distances.items(), key=lambda item: item[1])
    values = [value for _, value in ranked]
    is_nearest = [value == values[0] for value in values]
    bars = axes.barh(
        range(len(values)),
        values,
        height=0.62,
        color=[colours.accent if nearest else colours.paper for nearest in is_nearest],
        edgecolor=[colours.accent if nearest else colours.quiet for nearest in is_nearest],
    )
    labels = [f"{value:.4f}" + "  nearest" * nearest for value, nearest in zip(values, is_nearest, strict=True)]
    axes.bar_label(bars, labels, padding=5)
    axes.set_yticks(range(len(values)), [wrapped(name, 24, n_lines=2) for name, _ in ranked])
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)

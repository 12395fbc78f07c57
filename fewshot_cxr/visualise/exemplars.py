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
_NAME_LETTERS, _NAME_WIDTH = 60, 17  # of the name below the film, and of a line of it
_LINE_INCHES = 0.17
_CLOSER = " (smaller is closer)"
_RULE_TITLES = {"mean_distance": "Mean distance to each finding"}  # of any other rule, a longer title in two lines


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
        put_title(bars, f"Distance to each finding{_CLOSER}", size=11.5)
        _draw_distances(bars.subplots(), mean_distances, colours)
        put_title(figure, title)
    return figure


def rank_table_figure(
    query_film: np.ndarray,
    query_name: str,
    rows: Sequence[tuple[np.ndarray, str, float]],
    means: Mapping[str, float],
    *,
    rule: str = "mean_distance",
    truth: str = "",
    decision: str = "",
    n_exemplars: int | None = None,
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Draw a film beside exemplars it was compared with, closest first, and below them how far each finding is.

    The exemplars of the decision, or else of the nearest finding, are framed, those at one distance share a rank, and a
    tie of findings is said.

    Args:
        query_film: uint8 (H, W).
        query_name: below it, such as the path of the file; a long one is shortened in its middle.
        rows: (film uint8 (H, W), finding, distance) of each exemplar, in any order.
        means: finding -> what the rule compares (smaller is closer): of the rule mean_distance its mean distance.
        rule: that decided, named above `means`.
        truth: the finding of the film; "": not said.
        decision: the finding that the film is taken for, one of `means`; "": not said.
        n_exemplars: all that the rule compared, where `rows` are some of them; None: these.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no exemplar or no mean; an image that is no uint8 (H, W); a distance that is not finite; a decision
            without a mean; unknown theme.

    Source: Ayik, report on a siamese ResNet-9 for CoronaHack, Istanbul Technical University, 2021, figures 6 to 8.
    """
    check_images([query_film, *(film for film, _, _ in rows)])
    _check_ranks(query_name, rows, means, decision)
    ranked = sorted(rows, key=lambda row: row[2])
    n_columns = min(len(ranked), _RANK_COLUMNS if len(ranked) <= _MANY else _SMALL_COLUMNS)
    n_lines = -(-len(ranked) // n_columns)
    label, is_part = _film_label(query_name, truth, decision), n_exemplars not in (None, len(rows))
    films_inches = n_lines * (_RANKS_WIDTH / max(n_columns, _RANK_COLUMNS) + 0.62) + 0.3 * is_part
    films_inches = max(films_inches, 1.8 + _LINE_INCHES * (label.count("\n") + 1)) + 0.1
    bars_inches = 0.6 + 0.36 * len(means) + 0.2 * (rule not in _RULE_TITLES)
    with drawing(theme, PAGE_WIDTH, films_inches + bars_inches + 0.4) as (figure, colours):
        films, bars = figure.subfigures(2, 1, height_ratios=[films_inches, bars_inches], squeeze=False)[:, 0]
        asked, shown = films.subfigures(1, 2, width_ratios=[PAGE_WIDTH - _RANKS_WIDTH, _RANKS_WIDTH], squeeze=False)[0]
        axes = asked.subplots()
        _frame_film(axes, query_film, colours.contrast)
        axes.set_anchor("N")
        axes.set_title("this film")
        axes.set_xlabel(label, color=colours.ink, fontsize=9.5)
        put_title(shown, f"{len(rows)} of {n_exemplars} exemplars shown" if is_part else "", size=9.5)
        _draw_ranks(shown, ranked, [decision] if decision else _nearest(means), n_columns, colours)
        put_title(bars, _RULE_TITLES.get(rule, f"Score of each finding by the rule {rule}") + _CLOSER, size=11.5)
        _draw_distances(bars.subplots(), means, colours, decision)
        put_title(figure, title)
    return figure


def _check_ranks(
    name: str, rows: Sequence[tuple[np.ndarray, str, float]], means: Mapping[str, float], decision: str
) -> None:
    if not rows or not means:
        raise ValueError(f"a rank table needs exemplars and means, got {len(rows)} and {len(means)}")
    if not np.isfinite([*(distance for _, _, distance in rows), *means.values()]).all():
        raise ValueError(f"{name}: distances must be finite; look at the embeddings they come from")
    if decision and decision not in means:
        raise ValueError(
            f"decision must be a finding that has a mean, got {decision!r}; choose from {', '.join(means)}"
        )


def _film_label(name: str, truth: str, decision: str) -> str:
    half = _NAME_LETTERS // 2
    short = name if len(name) <= _NAME_LETTERS else f"{name[:half]}…{name[-half:]}"
    lines = [wrapped(short, _NAME_WIDTH, n_lines=len(short))]
    for what, finding in (("truth", truth), ("decision", decision)):
        gap = " " if len(f"{what}: {finding}") <= _NAME_WIDTH else "\n"
        lines += [f"{what}:{gap}{wrapped(finding, _NAME_WIDTH, n_lines=len(finding))}"] if finding else []
    return "\n".join(lines)


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
        axes.set_xlabel(f"{wrapped(finding, 13)}\n{_digits(distance)}", color=colours.ink)
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
        label = f"{wrapped(finding, letters, n_lines=2)}\n{_digits(distance)}"
        weight = "bold" if is_nearest else "normal"
        axes.set_xlabel(label, color=colours.ink, fontsize=size, fontweight=weight, labelpad=3)
    for axes in grid[len(ranked) :]:
        axes.set_axis_off()


def _nearest(distances: Mapping[str, float]) -> list[str]:
    smallest = min(distances.values())
    return [name for name, distance in distances.items() if distance == smallest]


def _digits(distance: float) -> str:
    """Return four significant digits: distances are of any size, from 1e-6 to thousands."""
    return f"{distance:#.4g}".rstrip(".")


def _draw_distances(axes: Axes, distances: Mapping[str, float], colours: Theme, decision: str = "") -> None:
    ranked = sorted(distances.items(), key=lambda item: item[1])
    values = [value for _, value in ranked]
    near = _nearest(distances)
    chosen = [decision] if decision else near
    is_nearest = [name in chosen for name, _ in ranked]
    words = []
    for name, _ in ranked:
        said = ["decision" if decision else "nearest"] * (name in chosen) + ["tied"] * (name in near and len(near) > 1)
        words.append("  " * bool(said) + ", ".join(said))
    bars = axes.barh(
        range(len(values)),
        values,
        height=0.62,
        color=[colours.accent if nearest else colours.paper for nearest in is_nearest],
        edgecolor=[colours.accent if nearest else colours.quiet for nearest in is_nearest],
    )
    labels = [_digits(value) + word for value, word in zip(values, words, strict=True)]
    axes.bar_label(bars, labels, padding=5)
    axes.set_yticks(range(len(values)), [wrapped(name, 24, n_lines=2) for name, _ in ranked])
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)

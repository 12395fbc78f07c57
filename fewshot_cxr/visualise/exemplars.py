"""One film beside the exemplars it was compared with, and its distance to each finding."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from fewshot_cxr.visualise.films import check_images, draw_framed_film, film_axes
from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, Theme, drawing, fitted, put_title
from fewshot_cxr.visualise.text import wrapped

_MOST_COLUMNS = 3
_RANK_COLUMNS = 4
_MANY = 16  # exemplars; of more, smaller pictures stand closer
_SMALL_COLUMNS = 5
_RANKS_WIDTH = 4.8  # inches for all exemplars
_NAME_INCHES = PAGE_WIDTH - _RANKS_WIDTH - 0.15
_NAME_LETTERS, _NAME_SIZE = 60, 9.5  # of the name below the film, and their size in points
_LINE_INCHES = 0.17
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

    Examples:
        >>> film = np.zeros((8, 8), dtype=np.uint8)
        >>> means = {"normal": 0.75, "covid19": 0.25}
        >>> figure = exemplar_figure(film, "7.png", [film], [("covid19", 0.25)], mean_distances=means)
        >>> [tick.get_text() for tick in figure.axes[-1].get_yticklabels()]  # the closest first
        ['covid19', 'normal']
    """
    check_images([query_image, *exemplar_images])
    if not exemplar_images or len(exemplar_images) != len(exemplar_titles):
        n_images, n_titles = len(exemplar_images), len(exemplar_titles)
        raise ValueError(f"each exemplar needs an image and a title, got {n_images} images and {n_titles} titles")
    if not mean_distances:
        raise ValueError("mean_distances must hold at least one finding, got none")
    n_exemplars, n_columns = len(exemplar_images), min(len(exemplar_images), _MOST_COLUMNS)
    heights = 2.1 * -(-n_exemplars // _MOST_COLUMNS) + 0.3, 0.9 + 0.38 * len(mean_distances)
    bars = "Distance to each finding", mean_distances, ""
    with _drawing(heights, (1, 2), bars, theme=theme, title=title) as (figure, colours, axes, others):
        draw_framed_film(axes, query_image, wrapped(query_title, 22), frame=colours.contrast, ink=colours.ink)
        framed = zip(film_axes(others, n_exemplars, n_columns), exemplar_images, exemplar_titles, strict=True)
        for rank, (axes, image, (finding, distance)) in enumerate(framed, start=1):
            label = f"{wrapped(finding, 13)}\n{_digits(distance)}"
            draw_framed_film(axes, image, label, frame=colours.line, ink=colours.ink)
            axes.set_title(f"exemplar {rank}")
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

    Examples:
        >>> film = np.zeros((8, 8), dtype=np.uint8)
        >>> rows = [(film, "normal", 0.75), (film, "covid19", 0.25)]
        >>> figure = rank_table_figure(film, "7.png", rows, {"normal": 0.75, "covid19": 0.25}, truth="normal")
        >>> [axes.get_xlabel().split() for axes in figure.axes[1:3]]  # the exemplars, the closest first
        [['covid19', '0.2500'], ['normal', '0.7500']]

    Source: Ayik, report on a siamese ResNet-9 for CoronaHack, Istanbul Technical University, 2021, figures 6 to 8.
    """
    check_images([query_film, *(film for film, _, _ in rows)])
    _check_ranks(query_name, rows, means, decision)
    ranked = sorted(rows, key=lambda row: row[2])
    n_columns = min(len(ranked), _RANK_COLUMNS if len(ranked) <= _MANY else _SMALL_COLUMNS)
    label, is_part = _film_label(query_name, truth, decision), n_exemplars not in (None, len(rows))
    films_inches = -(-len(ranked) // n_columns) * (_RANKS_WIDTH / max(n_columns, _RANK_COLUMNS) + 0.62) + 0.3 * is_part
    films_inches = max(films_inches, 1.8 + _LINE_INCHES * (label.count("\n") + 1)) + 0.1
    heights = films_inches, 0.6 + 0.36 * len(means) + 0.2 * (rule not in _RULE_TITLES)
    bars = _RULE_TITLES.get(rule, f"Score of each finding by the rule {rule}"), means, decision
    widths = PAGE_WIDTH - _RANKS_WIDTH, _RANKS_WIDTH
    with _drawing(heights, widths, bars, theme=theme, title=title) as (figure, colours, axes, others):
        draw_framed_film(axes, query_film, label, frame=colours.contrast, ink=colours.ink, size=_NAME_SIZE)
        axes.set_anchor("N")
        put_title(others, f"{len(rows)} of {n_exemplars} exemplars shown" if is_part else "", size=9.5)
        _draw_ranks(others, ranked, [decision] if decision else _nearest(means), n_columns, colours)
    return figure


@contextmanager
def _drawing(
    heights: tuple[float, float],
    widths: tuple[float, float],
    bars: tuple[str, Mapping[str, float], str],
    *,
    theme: str,
    title: str,
) -> Iterator[tuple[Figure, Theme, Axes, SubFigure]]:
    """Yield a figure, its colours, the place of the film, and the part for its exemplars; see `drawing`.

    Args:
        heights: inches of the films and of the bars below them.
        widths: shares of the film and of its exemplars.
        bars: what stands above the bars, the distance to each finding, and the finding that was decided, or "".
        theme: a name in THEMES.
        title: above the figure.
    """
    with drawing(theme, sum(heights) + 0.4, title) as (figure, colours):
        films, below = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
        asked, others = films.subfigures(1, 2, width_ratios=widths, squeeze=False)[0]
        axes = asked.subplots()
        axes.set_title("this film")
        yield figure, colours, axes, others
        heading, distances, decision = bars
        put_title(below, f"{heading} (smaller is closer)", size=11.5)
        _draw_distances(below.subplots(), distances, colours, decision)


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
    told = [f"{what}: {finding}" for what, finding in (("truth", truth), ("decision", decision)) if finding]
    lines = [fitted(text, _NAME_INCHES, size=_NAME_SIZE, n_lines=len(text)) for text in (short, *told)]
    return "\n".join(lines)


def _draw_ranks(
    figure: SubFigure,
    ranked: Sequence[tuple[np.ndarray, str, float]],
    nearest: Sequence[str],
    n_columns: int,
    colours: Theme,
) -> None:
    size = 7.5 if n_columns > _RANK_COLUMNS else 9
    distances = [distance for _, _, distance in ranked]
    for axes, (film, finding, distance) in zip(film_axes(figure, len(ranked), n_columns), ranked, strict=True):
        frame, weight = (colours.accent, "bold") if finding in nearest else (colours.line, "normal")
        name = fitted(finding, _RANKS_WIDTH / max(n_columns, _RANK_COLUMNS) - 0.15, size=size, weight=weight)
        label = f"{name}\n{_digits(distance)}"
        draw_framed_film(axes, film, label, frame=frame, ink=colours.ink, size=size, weight=weight, gap=3)
        is_tied = distances.count(distance) > 1
        axes.set_title(f"{distances.index(distance) + 1}{' tied' * is_tied}", fontsize=size, pad=3)


def _nearest(distances: Mapping[str, float]) -> list[str]:
    smallest = min(distances.values())
    return [name for name, distance in distances.items() if distance == smallest]


def _digits(distance: float) -> str:
    """Return four significant digits: distances are of any size, from 1e-6 to thousands."""
    return f"{distance:#.4g}".rstrip(".")


def _draw_distances(axes: Axes, distances: Mapping[str, float], colours: Theme, decision: str) -> None:
    names, near = sorted(distances, key=distances.__getitem__), _nearest(distances)
    chosen, word = ([decision], "decision") if decision else (near, "nearest")
    labels = []
    for name in names:
        words = [word] * (name in chosen) + ["tied"] * (name in near and len(near) > 1)
        labels.append(f"{_digits(distances[name])}  {', '.join(words)}".rstrip())
    bars = axes.barh(
        range(len(names)),
        [distances[name] for name in names],
        height=0.62,
        color=[colours.accent if name in chosen else colours.paper for name in names],
        edgecolor=[colours.accent if name in chosen else colours.quiet for name in names],
    )
    axes.bar_label(bars, labels, padding=5)
    axes.set_yticks(range(len(names)), [wrapped(name, 24, n_lines=2) for name in names])
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xticks([])

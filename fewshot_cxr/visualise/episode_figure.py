"""Films in rows: one few-shot episode, and the nearest neighbours of a film."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from fewshot_cxr.visualise.films import caption_lines, check_images, draw_film, draw_framed_film, film_axes
from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, Theme, drawing, fitted, put_title
from fewshot_cxr.visualise.text import wrapped

_COLUMNS = 4
_MOST_SHOTS = 10  # labelled films of a finding that are drawn
_NAME_INCHES = PAGE_WIDTH / _COLUMNS - 0.2  # of room for a line beside a film's neighbours


@dataclass(frozen=True, eq=False)
class QueryTile:
    """A film that was asked: uint8 (H, W), its finding, what it was taken for (several where they tie).

    `distances`: finding -> what the rule compares, smaller is closer; it holds the finding and those taken for.
    """

    film: np.ndarray
    finding: str
    predicted: tuple[str, ...]
    distances: Mapping[str, float]

    @property
    def is_right(self) -> bool:
        """Whether it was taken for its finding and for no other."""
        return self.predicted == (self.finding,)


def episode_figure(
    support: Mapping[str, Sequence[np.ndarray]], queries: Sequence[QueryTile], *, title: str = "", theme: str = "light"
) -> Figure:
    """Draw the labelled films of an episode, a row for each finding, and below them the films that were asked.

    A film decided wrongly is framed in the second colour and marked with a cross; below each stand its finding, its
    distance to what it was taken for and, where that was wrong, its distance to its own finding.

    Args:
        support: finding -> its labelled films, uint8 (H, W) each; of more than ten the first ten are drawn.
        queries: in the order in which they are drawn.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no labelled film or none asked; a film that is no uint8 (H, W); unknown theme.
    """
    if not any(len(films) for films in support.values()) or not queries:
        raise ValueError("an episode has labelled films and films that are asked, got none of one of them")
    check_images([film for films in support.values() for film in films] + [query.film for query in queries])
    n_shots = min(_MOST_SHOTS, max(map(len, support.values())))
    n_rows = -(-len(queries) // _COLUMNS)
    shot_inches = min(1.0, (PAGE_WIDTH - 1.5) / n_shots)
    above, below = shot_inches * len(support) + 0.45, 2.3 * n_rows + 0.3
    with drawing(theme, above + below + (0.4 if title else 0), title) as (figure, colours):
        known, asked = figure.subfigures(2, 1, height_ratios=[above, below], squeeze=False)[:, 0]
        put_title(known, "Labelled films", size=11)
        _draw_support(known, support, n_shots, colours)
        put_title(asked, "Films that were asked", size=11)
        for axes, query in zip(film_axes(asked, len(queries), _COLUMNS), queries, strict=True):
            _draw_query(axes, query, colours)
    return figure


def _draw_support(figure: SubFigure, support: Mapping[str, Sequence[np.ndarray]], n_shots: int, colours: Theme) -> None:
    # The first column holds the names: as text of the films they would take their width from the films.
    widths = [1.4, *([1.0] * n_shots)]
    grid = figure.subplots(len(support), n_shots + 1, squeeze=False, gridspec_kw={"width_ratios": widths})
    for line, (name, films) in zip(grid, support.items(), strict=True):
        for axes in line:
            axes.set_axis_off()
        place = {"ha": "left", "va": "center", "color": colours.ink, "fontsize": 9.5}
        line[0].text(0, 0.5, wrapped(name, 15), transform=line[0].transAxes, **place)
        for axes, film in zip(line[1:], films, strict=False):
            draw_film(axes, film)


def _draw_query(axes: Axes, query: QueryTile, colours: Theme) -> None:
    names = query.predicted if query.finding in query.predicted else (*query.predicted, query.finding)
    label = "\n".join(_line(query, name) for name in names[:3])
    mark, frame, width = ("✓", colours.accent, 1.5) if query.is_right else ("✗", colours.contrast, 3)
    draw_framed_film(axes, query.film, label, frame=frame, ink=colours.ink, size=9, gap=3, width=width)
    name = fitted(f"{mark} {query.finding}", _NAME_INCHES, size=9.5, weight="bold", n_lines=3)
    axes.set_title(name, fontsize=9.5, pad=3)


def _line(query: QueryTile, name: str) -> str:
    distance = f"{query.distances[name]:#.3g}".rstrip(".")
    whole = fitted(f"{name} {distance}", _NAME_INCHES, size=9)
    is_short = not whole.endswith("…")
    return whole if is_short else f"{fitted(name, _NAME_INCHES, size=9, n_lines=2)}\n{distance}"


_MOST_ROWS, _MOST_NEIGHBOURS = 12, 6
_LETTERS_PER_INCH = 13.5
_LEGEND = "= same finding as the film on the left      ≠ another finding      distance: smaller is closer"


@dataclass(frozen=True, eq=False)
class NeighbourRow:
    """A film, uint8 (H, W), and the (film, finding, distance) of others, closest first.

    Examples:
        >>> film = np.zeros((8, 8), dtype=np.uint8)
        >>> row = NeighbourRow(film, "7.png", "covid19", [(film, "covid19", 0.5), (film, "normal", 0.75)])
        >>> [finding == row.finding for _, finding, _ in row.neighbours]
        [True, False]
    """

    film: np.ndarray
    name: str
    finding: str
    neighbours: Sequence[tuple[np.ndarray, str, float]]


def neighbours_figure(rows: Sequence[NeighbourRow], *, title: str = "", theme: str = "light") -> Figure:
    """Draw each film at the left of a row, and its nearest films after it, closest first.

    Those of the film's own finding have a full frame and "=", others a dashed one and "≠".

    Args:
        rows: 1 to 12, of 1 to 6 neighbours each.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: too few or too many rows or neighbours; an image that is no uint8 (H, W); a distance that is not
            finite, or below the one before; unknown theme.

    Examples:
        >>> film = np.zeros((8, 8), dtype=np.uint8)
        >>> row = NeighbourRow(film, "7.png", "covid19", [(film, "covid19", 0.5), (film, "normal", 0.75)])
        >>> [axes.get_xlabel().split() for axes in neighbours_figure([row]).axes]
        [['7.png', 'covid19'], ['=', 'covid19', '0.5000'], ['≠', 'normal', '0.7500']]
    """
    if not 1 <= len(rows) <= _MOST_ROWS:
        raise ValueError(f"neighbours of 1 to {_MOST_ROWS} films fit a figure, got {len(rows)}")
    for row in rows:
        _check(row)
    n_columns = 1 + max(len(row.neighbours) for row in rows)
    side = (PAGE_WIDTH - 0.3) / n_columns - 0.1
    width = max(8, int(side * _LETTERS_PER_INCH))
    with drawing(theme, len(rows) * (min(side, 1.7) + 0.7) + 0.65, title) as (figure, colours):
        grid = figure.subplots(len(rows), n_columns, squeeze=False)
        draw = partial(draw_framed_film, ink=colours.ink, size=8)
        same, other = ("=", colours.accent, "-"), ("≠", colours.contrast, (0, (2, 1.2)))
        for line, row in zip(grid, rows, strict=True):
            label = f"{caption_lines(row.name, width, n_lines=2)}\n{fitted(row.finding, side - 0.05, size=8)}"
            draw(line[0], row.film, label, frame=colours.ink)
            for axes, (film, finding, distance) in zip(line[1:], row.neighbours, strict=False):
                sign, frame, dashes = same if finding == row.finding else other
                words = fitted(f"{sign} {finding}", side - 0.05, size=8)
                draw(axes, film, f"{words}\n{distance:#.4g}", frame=frame, dashes=dashes)
            for axes in line[: 1 + len(row.neighbours)]:
                axes.set_anchor("N")
            for axes in line[1 + len(row.neighbours) :]:
                axes.set_axis_off()
        grid[0, 0].set_title("film", fontsize=9.5)
        grid[0, 1].set_title("nearest first", fontsize=9.5)
        figure.supxlabel(_LEGEND, fontsize=8.5, color=colours.quiet)
    return figure


def _check(row: NeighbourRow) -> None:
    check_images([row.film, *(film for film, _, _ in row.neighbours)])
    if not 1 <= len(row.neighbours) <= _MOST_NEIGHBOURS:
        raise ValueError(f"{row.name}: 1 to {_MOST_NEIGHBOURS} neighbours fit a row, got {len(row.neighbours)}")
    distances = np.array([distance for _, _, distance in row.neighbours])
    if not np.isfinite(distances).all() or (np.diff(distances) < 0).any():
        raise ValueError(f"{row.name}: distances must be finite, the smallest first, got {distances.tolist()}")

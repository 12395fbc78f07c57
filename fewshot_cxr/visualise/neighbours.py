"""Films beside the films that lie nearest to them among the embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fewshot_cxr.visualise.films import caption_lines, check_images, draw_framed_film
from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, drawing

_MOST_ROWS, _MOST_NEIGHBOURS = 12, 6
_LETTERS_PER_INCH = 13.5
_LEGEND = "= same finding as the film on the left      ≠ another finding      distance: smaller is closer"


@dataclass(frozen=True, eq=False)
class NeighbourRow:
    """A film, uint8 (H, W), and the (film, finding, distance) of others, closest first."""

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
            label = f"{caption_lines(row.name, width, n_lines=2)}\n{caption_lines(row.finding, width, n_lines=2)}"
            draw(line[0], row.film, label, frame=colours.ink)
            for axes, (film, finding, distance) in zip(line[1:], row.neighbours, strict=False):
                sign, frame, dashes = same if finding == row.finding else other
                words = caption_lines(f"{sign} {finding}", width, n_lines=2)
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

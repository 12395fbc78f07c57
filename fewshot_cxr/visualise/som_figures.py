"""A self-organising map as pictures: what each cell holds, and how far cells are from their neighbours."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D

from fewshot_cxr.visualise.som import Som, cell_distances
from fewshot_cxr.visualise.style import (
    PAGE_WIDTH,
    Figure,
    Theme,
    drawing,
    group_names,
    largest_groups,
    legend_columns,
    mark_looks,
    put_title,
    wrapped,
)

_LINE_INCHES, _LINE_LETTERS, _NAME_LETTERS = 0.18, 92, 30
_TEXT_INCHES = 0.42  # the least side of a cell that has room for its share
_TIED, _OTHER = "tied", "other"
_PALEST = 0.35  # of a mark's own colour; paler, and hues are not told apart
_MARK_POINTS = (4.0, 20.0)  # across: of the fewest films, and of the most where cells are large
_SHADES = {"light": "cividis_r", "dark": "cividis"}  # near is the colour of the paper

Looks = dict[str, tuple[str, str]]  # name of a group -> (colour, marker)


@dataclass(frozen=True)
class _Cell:
    place: tuple[int, int]  # row, column
    name: str  # the group that most films have
    share: float  # of its films that have it
    n_films: int


def som_hits_figure(
    som: Som, groups: Sequence[Hashable], *, group_name: str = "finding", title: str = "", theme: str = "light"
) -> Figure:
    """Draw which finding most films of each cell have: its mark, as large as the cell has films, and its share.

    A cell without films is a dot; one in which findings tie has a grey star. Of more than 15 findings the 15 with the
    most films are told apart, the others are grey.

    Args:
        som: of N films.
        groups: N findings, or what `group_name` says they are.
        group_name: above the legend.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: groups and films do not pair up; unknown theme.
    """
    names = group_names(groups, len(som.winners))
    named = largest_groups(names)
    cells, side = _cells(som, names, named), _side(som)
    winning = {cell.name for cell in cells}
    legend = [name for name in (*named, _TIED, _OTHER) if name in winning]
    lines = _hit_words(cells, group_name or "group", has_text=side >= _TEXT_INCHES)
    lines += _lines(_errors(som), *_unseen([name for name in named if name not in winning]))
    legend_inches = 0.5 + 0.2 * -(-len(legend) // legend_columns(legend, _LINE_LETTERS))
    heights = [side * som.weights.shape[0] + 0.2 + legend_inches, 0.1 + _LINE_INCHES * len(lines)]
    with drawing(theme, PAGE_WIDTH, sum(heights) + 0.35 * bool(title)) as (figure, colours):
        part, words = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
        looks = dict(zip(named, mark_looks(colours, len(named)), strict=True))
        looks |= {_TIED: (colours.quiet, "*"), _OTHER: (colours.quiet, "h")}
        axes = part.subplots()
        _draw_cells(axes, cells, looks, side, colours)
        _draw_empty(axes, som, colours)
        _finish_axes(axes, som)
        _put_legend(part, legend, looks, group_name)
        words.text(0.015, 1, "\n".join(lines), va="top", color=colours.quiet, fontsize=9, linespacing=1.25)
        put_title(figure, title)
    return figure


def som_distance_figure(som: Som, *, title: str = "", theme: str = "light") -> Figure:
    """Draw the U-matrix: how far each cell is from those around it; a ridge parts films that differ.

    Args:
        som: of `train_som`.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: unknown theme.
    """
    lines = _lines(
        "The shade of a cell is its mean distance, in the embedding, from the cells around it: films on one side of a "
        "ridge differ from those on the other.",
        _errors(som),
    )
    heights = [_side(som) * som.weights.shape[0] + 0.3, 0.1 + _LINE_INCHES * len(lines)]
    with drawing(theme, PAGE_WIDTH, sum(heights) + 0.35 * bool(title)) as (figure, colours):
        part, words = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
        axes = part.subplots()
        shades = axes.imshow(cell_distances(som), cmap=colormaps[_SHADES[theme]])
        bar = part.colorbar(shades, ax=axes, fraction=0.046, pad=0.02)
        bar.set_label(
            f"mean {som.settings['distance']} distance from the cells around", color=colours.ink, fontsize=9.5
        )
        bar.ax.tick_params(labelsize=9, length=0)
        bar.outline.set_visible(False)
        _finish_axes(axes, som)
        words.text(0.015, 1, "\n".join(lines), va="top", color=colours.quiet, fontsize=9, linespacing=1.25)
        put_title(figure, title)
    return figure


def _cells(som: Som, names: Sequence[str], named: Sequence[str]) -> list[_Cell]:
    films: dict[tuple[int, int], Counter[str]] = {}
    for (row, column), name in zip(som.winners.tolist(), names, strict=True):
        films.setdefault((row, column), Counter())[name] += 1
    cells = []
    for place, counts in sorted(films.items()):
        (name, most), *others = counts.most_common()
        is_tied = bool(others) and others[0][1] == most
        shown = _TIED if is_tied else name if name in named else _OTHER
        cells.append(_Cell(place, shown, most / counts.total(), counts.total()))
    return cells


def _side(som: Som) -> float:
    n_rows, n_columns, _ = som.weights.shape
    side: float = (PAGE_WIDTH - 0.9) / max(n_rows, n_columns)
    return side


def _hit_words(cells: Sequence[_Cell], group_name: str, *, has_text: bool) -> list[str]:
    sizes = [cell.n_films for cell in cells]
    share = "the number below it their share in per cent" if has_text else "paler where their share is smaller"
    return _lines(
        f"A mark is the {group_name} of most films of a cell, {share}; the larger it is, the more films "
        f"({min(sizes):,} to {max(sizes):,}). A dot is a cell without films."
    )


def _unseen(names: Sequence[str]) -> list[str]:
    return [f"The most in no cell: {', '.join(names)}."] if names else []


def _errors(som: Som) -> str:
    torn = f"{100 * som.topographic_error:.1f} %"
    return (
        f"Map of {len(som.winners):,} films: they lie {som.quantisation_error:.3g} from their cell on average "
        f"(quantisation error); of {torn} the second nearest cell is not beside the nearest (topographic error)."
    )


def _lines(*sentences: str) -> list[str]:
    return [line for sentence in sentences for line in wrapped(sentence, _LINE_LETTERS, n_lines=9).split("\n")]


def _draw_cells(axes: Axes, cells: Sequence[_Cell], looks: Looks, side: float, colours: Theme) -> None:
    has_text = side >= _TEXT_INCHES
    least, most = _MARK_POINTS[0], min(_MARK_POINTS[1], 72 * side * (0.5 if has_text else 0.85))
    largest = max(cell.n_films for cell in cells)
    for cell in cells:
        row, column = cell.place
        colour, marker = looks[cell.name]
        strength = 1.0 if has_text else _PALEST + (1 - _PALEST) * cell.share
        area = least**2 + (most**2 - least**2) * cell.n_films / largest
        height = row - 0.13 * has_text
        axes.scatter(column, height, s=area, marker=marker, color=_mixed(colour, colours.paper, strength), linewidths=0)
        if has_text:
            axes.text(column, row + 0.46, f"{100 * cell.share:.0f}", ha="center", va="bottom", fontsize=7.5)


def _mixed(colour: str, paper: str, strength: float) -> tuple[float, ...]:
    mixed = strength * np.array(to_rgb(colour)) + (1 - strength) * np.array(to_rgb(paper))
    return tuple(mixed.tolist())


def _draw_empty(axes: Axes, som: Som, colours: Theme) -> None:
    n_films = np.zeros(som.weights.shape[:2], dtype=np.int64)
    np.add.at(n_films, (som.winners[:, 0], som.winners[:, 1]), 1)
    rows, columns = np.nonzero(n_films == 0)
    axes.scatter(columns, rows, s=2.5, color=colours.quiet, linewidths=0)


def _finish_axes(axes: Axes, som: Som) -> None:
    n_rows, n_columns, _ = som.weights.shape
    axes.set(xlim=(-0.5, n_columns - 0.5), ylim=(n_rows - 0.5, -0.5), aspect="equal", xticks=[], yticks=[])
    axes.set_xticks(np.arange(n_columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n_rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", linewidth=0.5)
    axes.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    axes.spines[:].set_visible(True)


def _put_legend(part: SubFigure, legend: Sequence[str], looks: Looks, group_name: str) -> None:
    marks = [Line2D([], [], linestyle="", markersize=7, color=looks[name][0], marker=looks[name][1]) for name in legend]
    part.legend(
        marks,
        [wrapped(name, _NAME_LETTERS, n_lines=1) for name in legend],
        loc="outside lower center",
        ncols=legend_columns(legend, _LINE_LETTERS),
        title=group_name or None,
        fontsize=9,
        title_fontsize=9,
        handletextpad=0.3,
        columnspacing=1.2,
        frameon=False,
    )

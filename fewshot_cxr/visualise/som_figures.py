"""A self-organising map as pictures: what each cell holds, and how far cells are from their neighbours."""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from fewshot_cxr.visualise.groups import (
    MARKS,
    Looks,
    drawing_over_words,
    group_names,
    largest_groups,
    legend_rows,
    put_legend,
)
from fewshot_cxr.visualise.som import Som, cell_distances
from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, Theme, looks_of

_TEXT_INCHES = 0.42  # the least side of a cell that has room for its share
_TIED, _OTHER = "tied", "other"
_PALEST = 0.35  # of a mark's own colour; paler, and hues are not told apart
_MARK_POINTS = (4.0, 20.0)  # across: of the fewest films, and of the most where cells are large
_SHADES = {"light": "cividis_r", "dark": "cividis"}  # near is the colour of the paper
_SHADES_TOLD = (
    "The shade of a cell is its mean distance, in the embedding, from the cells around it: films on one side of a "
    "ridge differ from those on the other."
)

_Cells = dict[tuple[int, int], tuple[str, float, int]]  # row, column -> its group, the share of its films, their number


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

    Examples:
        >>> from fewshot_cxr.visualise import train_som
        >>> som = train_som(np.array([[0.0], [0.0], [9.0], [9.0]]), grid=(1, 2))
        >>> figure = som_hits_figure(som, ["normal", "normal", "covid19", "normal"])
        >>> sorted(text.get_text() for text in figure.axes[0].texts)  # per cent of the films of a cell; one has a tie
        ['100', '50']
    """
    names = group_names(groups, len(som.winners))
    named = largest_groups(names)
    cells, side = _cells(som, names, named), _side(som)
    winning = {name for name, _, _ in cells.values()}
    labels = {name: "" for name in (*named, _TIED, _OTHER) if name in winning}
    words = _hit_words(cells, group_name or "group", side)
    unseen = [name for name in named if name not in winning]
    words += [_errors(som), *([f"The most in no cell: {', '.join(unseen)}."] if unseen else [])]
    inches = side * som.weights.shape[0] + 0.7 + 0.2 * legend_rows(labels)
    with drawing_over_words(theme, inches, words, title) as (figure, part, colours):
        looks = dict(zip(named, looks_of(colours, MARKS, len(named)), strict=True))
        looks |= {_TIED: (colours.quiet, "*"), _OTHER: (colours.quiet, "h")}
        axes = part.subplots()
        _draw_cells(axes, cells, looks, side, colours)
        empty = np.array([place for place in np.ndindex(*som.weights.shape[:2]) if place not in cells]).reshape(-1, 2)
        axes.scatter(empty[:, 1], empty[:, 0], s=2.5, color=colours.quiet, linewidths=0)
        _finish_axes(axes, som)
        put_legend(part, labels, looks, title=group_name)
    return figure


def som_distance_figure(som: Som, *, title: str = "", theme: str = "light") -> Figure:
    """Draw the U-matrix: how far each cell is from those around it; a ridge parts films that differ.

    Args:
        som: of `train_som`.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: unknown theme.

    Examples:
        >>> from fewshot_cxr.visualise import train_som
        >>> som = train_som(np.array([[0.0], [0.0], [9.0], [9.0]]), grid=(1, 2))
        >>> figure = som_distance_figure(som)
        >>> figure.axes[0].images[0].get_array().shape
        (1, 2)
    """
    inches = _side(som) * som.weights.shape[0] + 0.3
    with drawing_over_words(theme, inches, [_SHADES_TOLD, _errors(som)], title) as (figure, part, colours):
        axes = part.subplots()
        shades = axes.imshow(cell_distances(som), cmap=colormaps[_SHADES[theme]])
        bar = part.colorbar(shades, ax=axes, fraction=0.046, pad=0.02)
        told = f"mean {som.settings['distance']} distance from the cells around"
        bar.set_label(told, color=colours.ink, fontsize=9.5)
        bar.ax.tick_params(labelsize=9)
        bar.outline.set_visible(False)
        _finish_axes(axes, som)
    return figure


def _cells(som: Som, names: Sequence[str], named: Sequence[str]) -> _Cells:
    films: dict[tuple[int, int], Counter[str]] = {}
    for (row, column), name in zip(som.winners.tolist(), names, strict=True):
        films.setdefault((row, column), Counter())[name] += 1
    cells = {}
    for place, counts in sorted(films.items()):
        (name, most), *others = counts.most_common()
        is_tied = bool(others) and others[0][1] == most
        group = _TIED if is_tied else name if name in named else _OTHER
        cells[place] = group, most / counts.total(), counts.total()
    return cells


def _side(som: Som) -> float:
    side: float = (PAGE_WIDTH - 0.9) / max(som.weights.shape[:2])
    return side


def _hit_words(cells: _Cells, group_name: str, side: float) -> list[str]:
    sizes = [n_films for _, _, n_films in cells.values()]
    has_text = side >= _TEXT_INCHES
    share = "the number below it their share in per cent" if has_text else "paler where their share is smaller"
    return [
        f"A mark is the {group_name} of most films of a cell, {share}; the larger it is, the more films "
        f"({min(sizes):,} to {max(sizes):,}). A dot is a cell without films."
    ]


def _errors(som: Som) -> str:
    torn = f"{100 * som.topographic_error:.1f} %"
    return (
        f"Map of {len(som.winners):,} films: they lie {som.quantisation_error:.3g} from their cell on average "
        f"(quantisation error); of {torn} the second nearest cell is not beside the nearest (topographic error)."
    )


def _draw_cells(axes: Axes, cells: _Cells, looks: Looks, side: float, colours: Theme) -> None:
    has_text = side >= _TEXT_INCHES
    least, most = _MARK_POINTS[0], min(_MARK_POINTS[1], 72 * side * (0.5 if has_text else 0.85))
    largest = max(n_films for _, _, n_films in cells.values())
    for (row, column), (name, share, n_films) in cells.items():
        colour, marker = looks[name]
        strength = 1.0 if has_text else _PALEST + (1 - _PALEST) * share
        mixed = strength * np.array(to_rgb(colour)) + (1 - strength) * np.array(to_rgb(colours.paper))
        area = least**2 + (most**2 - least**2) * n_films / largest
        axes.scatter(column, row - 0.13 * has_text, s=area, marker=marker, color=tuple(mixed.tolist()), linewidths=0)
        if has_text:
            axes.text(column, row + 0.46, f"{100 * share:.0f}", ha="center", va="bottom", fontsize=7.5)


def _finish_axes(axes: Axes, som: Som) -> None:
    n_rows, n_columns, _ = som.weights.shape
    axes.set(xlim=(-0.5, n_columns - 0.5), ylim=(n_rows - 0.5, -0.5), aspect="equal", xticks=[], yticks=[])
    axes.set_xticks(np.arange(n_columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n_rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", linewidth=0.5)
    axes.tick_params(which="both", labelbottom=False, labelleft=False)
    axes.spines[:].set_visible(True)

"""Where a network looked: heat beside a film and over it, so that the film stays readable where there is none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize

from fewshot_cxr._checks import check_at_least
from fewshot_cxr.visualise.films import caption_lines, check_images, draw_film
from fewshot_cxr.visualise.style import OKABE_ITO, PAGE_WIDTH, Figure, drawing, percent_scale

_MOST_TILES = 48
_MOST_OPACITY = 0.65  # of the largest heat: the film is seen through it
_SAME = 1e-6  # of the largest heat; heat that differs by less has no place
_LINE_INCHES = 0.15
_LETTERS_PER_INCH = 13
_OUTLINE = "#ffffff"
_UNSIGNED = colormaps["inferno"]
# Black in the middle as inferno is black at 0, and as light at either end: no sign looks stronger than the other.
_SIGNED = LinearSegmentedColormap.from_list(
    "signed heat", ["#a8dcfa", OKABE_ITO["blue"], "#000000", OKABE_ITO["vermillion"], "#ffd9a8"]
)


@dataclass(frozen=True, eq=False)
class HeatTile:
    """A film, uint8 (S, S), with its heat (S, S), the words below it, and where its lungs are, bool (S, S).

    Examples:
        >>> tile = HeatTile(np.zeros((8, 8), dtype=np.uint8), np.eye(8), "7.png: covid19", lungs=np.eye(8, dtype=bool))
        >>> float(tile.heat[tile.lungs].sum() / tile.heat.sum())  # all heat lies in the lungs
        1.0
    """

    film: np.ndarray
    heat: np.ndarray
    caption: str
    lungs: np.ndarray | None = None


def heat_figure(
    film: np.ndarray,
    heat: np.ndarray,
    *,
    title: str = "",
    lungs: np.ndarray | None = None,
    is_signed: bool = False,
    theme: str = "light",
) -> Figure:
    """Draw a film, its heat, and the heat over the film, as shares of the largest heat of this film.

    Black is no heat, and covers nothing of the film; the more heat, the less is seen through it. No heat at all, and
    heat that is the same everywhere, is said in words.

    Args:
        film: uint8 (S, S).
        heat: float (S, S), finite, in any unit.
        title: above the figure, such as the finding and its distance.
        lungs: bool (S, S); their outline is drawn over film and heat.
        is_signed: from -100 % to 100 % though no heat is below 0; heat below 0 is always drawn so.
        theme: "light" or "dark".

    Raises:
        ValueError: film, heat and lungs do not fit each other; heat that is not finite; unknown theme.

    Examples:
        >>> figure = heat_figure(np.zeros((8, 8), dtype=np.uint8), np.eye(8), title="covid19, distance 0.25")
        >>> [axes.get_title(loc="left") for axes in figure.axes[:3]]
        ['film', 'heat', 'overlay']
    """
    tile = HeatTile(film, heat, "", lungs)
    _check_tile(tile, "heat")
    colours = _colours(is_signed=is_signed or bool((heat < 0).any()))
    with drawing(theme, 3.15, title) as (figure, _):
        panels = figure.subplots(1, 3)
        for axes, name in zip(panels, ("film", "heat", "overlay"), strict=True):
            axes.set_axis_off()
            axes.set_title(name)
            _draw(axes, tile, colours, has_film=name != "heat", has_heat=name != "film")
        _put_colour_bar(figure, colours, f"share of the largest heat of this film, {np.abs(heat).max():.3g}")
    return figure


def heat_sheet_figure(
    tiles: Sequence[HeatTile], *, title: str = "", n_columns: int = 4, theme: str = "light"
) -> Figure:
    """Draw a contact sheet: films with their heat over them, each as shares of its own largest heat.

    Args:
        tiles: 1 to 48, of which any below 0 makes the scale of all run from -100 % to 100 %.
        title: above the figure.
        n_columns: films side by side; four are legible at the width of a page.
        theme: "light" or "dark".

    Raises:
        ValueError: no tile or more than 48; film, heat and lungs do not fit each other; heat that is not finite; fewer
            than one column; unknown theme.

    Examples:
        >>> film = np.zeros((8, 8), dtype=np.uint8)
        >>> figure = heat_sheet_figure([HeatTile(film, np.eye(8), "7.png"), HeatTile(film, np.zeros((8, 8)), "8.png")])
        >>> [text.get_text() for axes in figure.axes[:2] for text in axes.texts]
        ['no heat']
    """
    if not 1 <= len(tiles) <= _MOST_TILES:
        raise ValueError(f"a sheet holds 1 to {_MOST_TILES} films, got {len(tiles)}; draw several sheets")
    check_at_least(n_columns, 1, "n_columns")
    for place, tile in enumerate(tiles):
        _check_tile(tile, f"tile {place}")
    colours = _colours(is_signed=any(bool((tile.heat < 0).any()) for tile in tiles))
    n_rows, side = -(-len(tiles) // n_columns), PAGE_WIDTH / n_columns - 0.16
    captions = [caption_lines(tile.caption, max(8, int(side * _LETTERS_PER_INCH))) for tile in tiles]
    row_lines = [
        max(text.count("\n") + 1 for text in captions[first : first + n_columns])
        for first in range(0, len(captions), n_columns)
    ]
    inches = n_rows * (side + 0.08) + _LINE_INCHES * sum(row_lines) + 0.75
    with drawing(theme, inches, title) as (figure, theme_colours):
        ratios = [side + 0.08 + _LINE_INCHES * n_lines for n_lines in row_lines]
        grid = figure.subplots(n_rows, n_columns, squeeze=False, height_ratios=ratios)
        for axes, tile, text in zip(grid.ravel(), tiles, captions, strict=False):
            _draw(axes, tile, colours)
            axes.set(xticks=[], yticks=[], anchor="N")
            axes.set_xlabel(text, fontsize=8, color=theme_colours.ink, labelpad=3)
        for axes in grid.ravel()[len(tiles) :]:
            axes.set_axis_off()
        _put_colour_bar(figure, colours, "share of the largest heat of each film: colours compare places, not films")
    return figure


def _check_tile(tile: HeatTile, name: str) -> None:
    check_images([tile.film])
    if tile.heat.shape != tile.film.shape:
        raise ValueError(f"{name}: the heat must have the shape of its film, {tile.film.shape}, got {tile.heat.shape}")
    if not np.isfinite(tile.heat).all():
        raise ValueError(f"{name}: the heat must be finite; look at the encoder and the target it comes from")
    lungs = tile.lungs
    if lungs is not None and (lungs.dtype != np.bool_ or lungs.shape != tile.film.shape):
        raise ValueError(f"{name}: lungs must be bool {tile.film.shape}, got {lungs.dtype} {lungs.shape}")


def _colours(*, is_signed: bool) -> ScalarMappable:
    return ScalarMappable(Normalize(-1 if is_signed else 0, 1), _SIGNED if is_signed else _UNSIGNED)


def _draw(axes: Axes, tile: HeatTile, colours: ScalarMappable, *, has_film: bool = True, has_heat: bool = True) -> None:
    """Draw a film, its heat, or the heat over the film, as shares of its largest, and the outline of the lungs."""
    if has_film:
        draw_film(axes, tile.film)
    if has_heat:
        heat = tile.heat.astype(np.float64)
        largest = float(np.abs(heat).max())
        is_flat = float(np.ptp(heat)) <= _SAME * largest
        shares = np.zeros_like(heat) if is_flat else heat / largest
        shades = colours.to_rgba(shares)
        if has_film:
            shades[..., 3] = _MOST_OPACITY * np.abs(shares)
        if not (has_film and is_flat):
            axes.imshow(shades)
        if is_flat:
            words = "the same\neverywhere" if largest else "no heat"
            text = axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color="white")
            text.set_path_effects([patheffects.withStroke(linewidth=3, foreground="black")])
    if tile.lungs is not None and 0 < tile.lungs.sum() < tile.lungs.size:
        lines = axes.contour(tile.lungs, levels=[0.5], colors=_OUTLINE, linewidths=0.9)
        lines.set_path_effects([patheffects.withStroke(linewidth=1.9, foreground="black")])


def _put_colour_bar(figure: Figure, colours: ScalarMappable, label: str) -> None:
    bar = figure.colorbar(
        colours, ax=list(figure.axes), location="bottom", fraction=0.05, aspect=45, pad=0.02, format=percent_scale()
    )
    bar.set_ticks(np.linspace(*colours.get_clim(), 5).tolist())
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8.5)
    bar.set_label(label, fontsize=9)

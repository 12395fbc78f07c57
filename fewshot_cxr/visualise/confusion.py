"""Where the films of each finding went: the confusion matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, Theme, contrast_ratio, drawing
from fewshot_cxr.visualise.text import wrapped

_MOST_WITH_DECIMALS = 8  # findings


def confusion_matrix_figure(
    counts: np.ndarray, findings: Sequence[str], *, title: str = "", theme: str = "light"
) -> Figure:
    """Draw where the films of each finding went: per cent of the row, and the count below it.

    Args:
        counts: rows are the truth, columns the decision; whole or not (ties are shared), shape (C, C).
        findings: their C names.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: counts and findings do not fit; a count is negative or not finite; unknown theme.

    Examples:
        >>> figure = confusion_matrix_figure(np.array([[8, 2], [1, 9]]), ["normal", "covid19"])
        >>> [text.get_text() for text in figure.axes[0].texts][:4]  # of the ten normal films
        ['80.0', '8', '20.0', '2']
    """
    counts = np.asarray(counts, dtype=np.float64)
    _check_counts(counts, findings)
    names = [wrapped(name, n_lines=2) for name in findings]
    places = range(len(names))
    cell_inches = max(0.55, min(0.95, (PAGE_WIDTH - 2) / len(names)))
    side = cell_inches * len(names)
    with drawing(theme, side + 1.9, title, width_inches=side + 2) as (figure, colours):
        axes = figure.add_subplot()
        # Many findings make a wide figure, which a page shrinks: whole per cent leave room for larger type.
        is_wide = len(names) > _MOST_WITH_DECIMALS
        _draw_cells(axes, counts, colours, font_size=min(11.0, (18 if is_wide else 13) * cell_inches), is_wide=is_wide)
        axes.set_xticks(places, names, rotation=40, ha="right", rotation_mode="anchor", color=colours.ink)
        axes.set_yticks(places, names)
        for set_ticks in (axes.set_xticks, axes.set_yticks):
            set_ticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.grid(which="minor")
        axes.set(xlabel="decided as", ylabel="truly")
        figure.supxlabel("per cent of the row, number of queries below", fontsize=9.5, color=colours.quiet)
    return figure


def _check_counts(counts: np.ndarray, findings: Sequence[str]) -> None:
    if not findings or counts.shape != (len(findings), len(findings)):
        raise ValueError(
            f"counts must have a row and a column for each of {len(findings)} findings, got {counts.shape}"
        )
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError("counts must be finite and not negative")


def _draw_cells(axes: Axes, counts: np.ndarray, colours: Theme, *, font_size: float, is_wide: bool) -> None:
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    # Past the accent, so that text stands out from the diagonal, where most of it is.
    paper, accent, ink = to_rgb(colours.paper), to_rgb(colours.accent), to_rgb(colours.ink)
    red, green, blue = ((one + other) / 2 for one, other in zip(accent, ink, strict=True))
    shades = LinearSegmentedColormap.from_list("shares", [(0.0, paper), (0.65, accent), (1.0, (red, green, blue))])
    axes.imshow(shares, cmap=shades, vmin=0, vmax=1)
    small = 0.72 * font_size
    for (row, column), count in np.ndenumerate(counts):
        shade = shades(shares[row, column])
        colour = max(colours.ink, colours.paper, key=lambda text: contrast_ratio(text, shade))
        place: dict[str, Any] = {"ha": "center", "color": colour}
        if totals[row]:
            share = f"{100 * shares[row, column]:.{0 if is_wide else 1}f}"
            weight = "bold" if row == column else "normal"
            axes.text(column, row - 0.04, share, va="bottom", fontsize=font_size, fontweight=weight, **place)
        else:
            axes.text(column, row - 0.04, "unknown", va="bottom", fontsize=small, **place)
        whole = f"{count:,.0f}" if count == round(count) else f"{count:,.1f}"
        axes.text(column, row + 0.10, whole, va="top", fontsize=small, **place)

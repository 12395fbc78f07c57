"""Charts of what was measured: where queries went, recall with intervals, how many films there are."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, Theme, contrast_ratio, drawing, percent, put_title, wrapped

Reading = tuple[float, tuple[float, float] | None]  # a mean, 0..1, with its interval where there is one

_DASHES: tuple[Any, ...] = ("--", "-.", (0, (9, 3)))  # lines of one colour, told apart
_MOST_WITH_DECIMALS = 8  # findings
_MOST_SPLITS = 5  # as many colours as are told apart
_LEGEND_LETTERS = 50  # names that stand beside each other


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
    """
    counts = np.asarray(counts, dtype=np.float64)
    _check_counts(counts, findings)
    names = [wrapped(name, n_lines=2) for name in findings]
    places = range(len(names))
    cell_inches = max(0.55, min(0.95, (PAGE_WIDTH - 2) / len(names)))
    side = cell_inches * len(names)
    with drawing(theme, side + 2, side + 1.9) as (figure, colours):
        axes = figure.add_subplot()
        # Many findings make a wide figure, which a page shrinks: whole per cent leave room for larger type.
        is_wide = len(names) > _MOST_WITH_DECIMALS
        _draw_cells(axes, counts, colours, font_size=min(11.0, (18 if is_wide else 13) * cell_inches), is_wide=is_wide)
        axes.set_xticks(places, names, rotation=40, ha="right", rotation_mode="anchor", color=colours.ink)
        axes.set_yticks(places, names)
        for set_ticks in (axes.set_xticks, axes.set_yticks):
            set_ticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.grid(which="minor")
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="decided as", ylabel="truly")
        figure.supxlabel("per cent of the row, number of queries below", fontsize=9.5, color=colours.quiet)
        put_title(figure, title)
    return figure


def recall_figure(
    recalls: Mapping[str, Reading],
    accuracy: Reading,
    *,
    floors: Mapping[str, float] | None = None,
    chance: float | None = None,
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Draw accuracy and the recall of each finding as dots with their intervals, on one scale from 0 to 100 %.

    Args:
        recalls: finding -> (mean, interval or None), all 0..1.
        accuracy: likewise, over all findings.
        floors: name of a simpler baseline -> its mean, 0..1; lines, each dashed in its own way.
        chance: accuracy of guessing, 0..1; a dotted line.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: unknown theme.
    """
    rows = [("accuracy", accuracy), *recalls.items()]
    dashed = zip((floors or {}).items(), cycle(_DASHES), strict=False)
    lines = [(name, value, dashes) for (name, value), dashes in dashed]
    lines += [] if chance is None else [("chance", chance, ":")]
    with drawing(theme, PAGE_WIDTH, 1.7 + 0.42 * len(rows)) as (figure, colours):
        axes = figure.add_subplot()
        for place, (_, reading) in enumerate(rows):
            _draw_reading(axes, place, reading, colours.ink if place == 0 else colours.accent)
        for name, value, dashes in lines:
            label = f"{name} {percent(value)}"
            axes.axvline(value, color=colours.contrast, linestyle=dashes, linewidth=1.8, zorder=1, label=label)
        axes.set_yticks(range(len(rows)), [wrapped(name, 20, n_lines=2) for name, _ in rows])
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel="accuracy over all, and recall of each finding")
        axes.xaxis.set_major_formatter(_percent_axis())
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if lines:
            two_longest = sorted(len(name) for name, *_ in lines)[-2:]
            n_columns = 2 if sum(two_longest) < _LEGEND_LETTERS else 1
            figure.legend(loc="outside lower right", ncols=n_columns, frameon=False)
        put_title(figure, title)
    return figure


def class_counts_figure(counts: Mapping[str, Mapping[str, int]], *, title: str = "", theme: str = "light") -> Figure:
    """Draw how many films of each finding each split has, a bar each, with the number beside it.

    Args:
        counts: split -> finding -> number of films; a finding that a split does not name has none there.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no split or no finding; more than five splits; a number below 0; unknown theme.
    """
    findings = list(dict.fromkeys(name for films in counts.values() for name in films))
    if not findings or len(counts) > _MOST_SPLITS:
        raise ValueError(
            f"counts must hold 1 to {_MOST_SPLITS} splits and a finding, got {len(counts)} and {len(findings)}"
        )
    if min(n_films for films in counts.values() for n_films in films.values()) < 0:
        raise ValueError("counts must not be negative")
    thick = 0.8 / len(counts)
    with drawing(theme, PAGE_WIDTH, 1.5 + len(findings) * max(0.34, 0.19 * len(counts) + 0.08)) as (figure, colours):
        axes = figure.add_subplot()
        hues = (colours.accent, colours.contrast, colours.quiet, *colours.more)
        for place, ((split, films), hue) in enumerate(zip(counts.items(), hues, strict=False)):
            n_films = [films.get(name, 0) for name in findings]
            rows = np.arange(len(findings)) - 0.4 + (place + 0.5) * thick
            bars = axes.barh(rows, n_films, height=0.86 * thick, color=hue, label=split)
            axes.bar_label(bars, [f"{number:,}" for number in n_films], padding=4, fontsize=9)
        axes.set_yticks(range(len(findings)), [wrapped(name, 24, n_lines=2) for name in findings])
        axes.set(xlabel="films", ylim=(len(findings) - 0.5, -0.5))
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=6))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure.legend(loc="outside lower right", ncols=len(counts), frameon=False, fontsize=9.5)
        put_title(figure, title)
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
    for (row, column), count in np.ndenumerate(counts):
        share = f"{100 * shares[row, column]:.{0 if is_wide else 1}f}" if totals[row] else "none"
        shade = shades(shares[row, column])
        colour = max(colours.ink, colours.paper, key=lambda text: contrast_ratio(text, shade))
        whole = f"{count:,.0f}" if count == round(count) else f"{count:,.1f}"
        weight = "bold" if row == column else "normal"
        place: dict[str, Any] = {"ha": "center", "color": colour}
        axes.text(column, row - 0.04, share, va="bottom", fontsize=font_size, fontweight=weight, **place)
        axes.text(column, row + 0.10, whole, va="top", fontsize=0.72 * font_size, **place)


def _percent_axis() -> PercentFormatter:
    return PercentFormatter(1, decimals=0, symbol=" %")


def _draw_reading(axes: Axes, place: int, reading: Reading, colour: str) -> None:
    mean, interval = reading
    if interval is not None:
        axes.plot(interval, (place, place), color=colour, linewidth=6, alpha=0.4, solid_capstyle="butt", zorder=2)
    # Not clipped: a mark at 0 or 100 % is whole.
    axes.plot(mean, place, "D" if place == 0 else "o", color=colour, markersize=8, zorder=3, clip_on=False)
    axes.annotate(_reading_text(reading), (1.04, place), va="center", annotation_clip=False)


def _reading_text(reading: Reading) -> str:
    mean, interval = reading
    return percent(mean) + ("" if interval is None else f"  [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]")

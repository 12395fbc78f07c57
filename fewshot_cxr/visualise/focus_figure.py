"""How much of the heat lies where it should, beside what a flat map would give; and what covering it does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from fewshot_cxr._checks import lookup
from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, Theme, drawing, line_looks, percent, put_title, wrapped

_WORDS = {"deletion": "share of the film that is covered"}
_WORDS |= {"insertion": "share of the film that is uncovered"}
_LABEL_LETTERS = 30  # beside the scale, more are cut off


@dataclass(frozen=True)
class FocusBar:
    """The mean share of heat in a place, 0..1, over `n_films` films, with its interval; None: no film has heat.

    `area` is the share that a flat map would have there.
    """

    name: str
    mean: float | None
    ci95: tuple[float, float] | None
    area: float | None
    n_films: int


def focus_figure(rows: Sequence[FocusBar], *, measure: str, title: str = "", theme: str = "light") -> Figure:
    """Draw the share of heat in a place, a dot with its interval for each row, and a tick where a flat map would be.

    Args:
        rows: such as all films, each finding, each source; drawn from above in this order.
        measure: where the heat is, such as "lungs"; said below the scale, which runs from 0 to 100 %.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no row, or a share outside 0..1; unknown theme.
    """
    if not rows:
        raise ValueError("rows must hold at least one group of films, got none")
    for row in rows:
        for share in (row.mean, row.area, *(row.ci95 or ())):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{row.name}: shares of heat must be 0..1, got {share}")
    with drawing(theme, PAGE_WIDTH, 1.35 + 0.46 * len(rows)) as (figure, colours):
        axes = figure.add_subplot()
        for place, row in enumerate(rows):
            _draw_row(axes, place, row, colours)
        names = [f"{wrapped(row.name, 20, n_lines=2)}\n{_films(row.n_films)}" for row in rows]
        axes.set_yticks(range(len(rows)), names, fontsize=9.5)
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel=f"share of the heat: {measure}")
        axes.xaxis.set_major_formatter(_percent_axis())
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _put_focus_legend(figure, rows, colours)
        put_title(figure, title)
    return figure


def deletion_figure(
    curves: Mapping[str, np.ndarray],
    *,
    mode: str = "deletion",
    score: str = "score of the decision",
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Draw how the score changes while the film is covered, hottest first: the mean over films, and their middle half.

    A map that shows what matters falls steeper than a random order (mode "insertion": rises).

    Args:
        curves: name of an order, such as "by heat" and "at random" -> scores, float (N, n_steps + 1), finite: of N
            films, from none to all of the film.
        mode: "deletion" or "insertion".
        score: what is measured, beside the scale, in its own unit.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no curve; scores that are no finite (N, n_steps + 1); unknown mode or theme.

    Source: Petsiuk, Das, Saenko, "RISE", 2018, arXiv:1806.07421, section 4.2.
    """
    words = lookup(_WORDS, mode, what="mode")
    if not curves:
        raise ValueError("curves must hold at least one order, got none")
    scores = {name: _checked(name, values) for name, values in curves.items()}
    with drawing(theme, PAGE_WIDTH, 3.6) as (figure, colours):
        axes = figure.add_subplot()
        for (name, values), look in zip(scores.items(), line_looks(colours, len(scores)), strict=True):
            _draw_curve(axes, name, values, look)
        axes.set(xlim=(0, 1), xlabel=words, ylabel=wrapped(score, _LABEL_LETTERS))
        axes.xaxis.set_major_formatter(_percent_axis())
        axes.grid()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        n_films = {len(values) for values in scores.values()}
        told = f"line: mean of {_films(n_films.pop())}; " if len(n_films) == 1 else "line: mean of the films; "
        figure.legend(
            loc="outside lower right",
            title=f"{told}band: their middle half",
            title_fontsize=9,
            fontsize=9.5,
            ncols=min(2, len(scores)),
            frameon=False,
        )
        put_title(figure, title)
    return figure


def _films(number: int) -> str:
    return f"{number:,} film{'s' * (number != 1)}"


def _percent_axis() -> PercentFormatter:
    return PercentFormatter(1, decimals=0, symbol=" %")


def _draw_row(axes: Axes, place: int, row: FocusBar, colours: Theme) -> None:
    if row.area is not None:
        tick: dict[str, Any] = {"color": colours.contrast, "linewidth": 2.2, "zorder": 2, "clip_on": False}
        axes.plot((row.area, row.area), (place - 0.3, place + 0.3), **tick)
    label = "no heat"
    if row.mean is not None:
        label = percent(row.mean)
        axes.plot(row.mean, place, "o", color=colours.accent, markersize=8, zorder=3, clip_on=False)
    if row.mean is not None and row.ci95 is not None:
        label += f"  [{100 * row.ci95[0]:.1f}, {100 * row.ci95[1]:.1f}]"
        bar: dict[str, Any] = {"linewidth": 6, "alpha": 0.4, "solid_capstyle": "butt", "zorder": 1}
        axes.plot(row.ci95, (place, place), color=colours.accent, **bar)
    axes.annotate(label, (1.04, place), va="center", annotation_clip=False, fontsize=10)


def _put_focus_legend(figure: Figure, rows: Sequence[FocusBar], colours: Theme) -> None:
    dot = Line2D([], [], color=colours.accent, marker="o", markersize=8, linewidth=6, alpha=0.7)
    tick = Line2D([], [], color=colours.contrast, marker="|", markersize=13, markeredgewidth=2.2, linestyle="")
    entries = {"mean and 95 % interval": dot}
    if any(row.area is not None for row in rows):
        entries["a flat map"] = tick
    figure.legend(
        entries.values(), entries, loc="outside lower right", ncols=2, fontsize=9.5, frameon=False, handlelength=2.4
    )


def _checked(name: str, values: np.ndarray) -> np.ndarray:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 2 or not len(scores) or scores.shape[1] < 2 or not np.isfinite(scores).all():
        raise ValueError(f"{name}: scores must be finite, (N, n_steps + 1) of a film or more, got {scores.shape}")
    return scores


def _draw_curve(axes: Axes, name: str, scores: np.ndarray, look: tuple[str, Any]) -> None:
    steps = np.linspace(0, 1, scores.shape[1])
    if len(scores) > 1:
        low, high = np.quantile(scores, [0.25, 0.75], axis=0)
        axes.fill_between(steps, low, high, color=look[0], alpha=0.18, linewidth=0)
    axes.plot(steps, scores.mean(axis=0), color=look[0], linestyle=look[1], label=name)

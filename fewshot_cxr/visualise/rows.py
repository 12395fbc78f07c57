"""Charts with a row for each finding: recall and heat with their intervals, how many films there are."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fewshot_cxr.visualise.style import Figure, Reading, Theme, drawing, percent_scale
from fewshot_cxr.visualise.text import films_text, percent, wrapped

_DASHES: tuple[Any, ...] = ("--", "-.", (0, (9, 3)))  # lines of one colour, told apart
_MOST_SPLITS = 5  # as many colours as are told apart
_TICK: dict[str, Any] = {"linewidth": 2.2, "zorder": 2, "clip_on": False}
_LEGEND_LETTERS = 50  # names that stand beside each other


@dataclass(frozen=True)
class FocusBar:
    """The mean share of heat in a place, 0..1, over `n_films` films, with its interval; None: no film has heat.

    `area` is the share that a flat map would have there.

    Examples:
        >>> bar = FocusBar("covid19", mean=0.75, ci95=(0.625, 0.875), area=0.25, n_films=40)
        >>> bar.mean / bar.area  # as much heat in the lungs as three times their area would have
        3.0
    """

    name: str
    mean: float | None
    ci95: tuple[float, float] | None
    area: float | None
    n_films: int


def recall_figure(
    recalls: Mapping[str, Reading],
    accuracy: Reading,
    *,
    baselines: Mapping[str, float] | None = None,
    chance: float | None = None,
    title: str = "",
    theme: str = "light",
    floors: Mapping[str, float] | None = None,
    new_findings: Collection[str] = (),
    intervals: str = "",
) -> Figure:
    """Draw accuracy and the recall of each finding as dots with their intervals, on one scale from 0 to 100 %.

    Args:
        recalls: finding -> (mean, interval or None), all 0..1.
        accuracy: likewise, over all findings.
        baselines: name of a simpler system -> its mean, 0..1; lines, each dashed in its own way.
        chance: accuracy of guessing, 0..1; a dotted line.
        title: above the figure.
        theme: "light" or "dark".
        floors: what `baselines` was called; it goes in the next minor release.
        new_findings: that the encoder was not trained on; drawn as squares of another colour, and named below.
        intervals: what they are of, said below.

    Raises:
        ValueError: unknown theme.

    Examples:
        >>> recalls = {"normal": (0.9, (0.85, 0.95)), "covid19": (0.7, None)}
        >>> figure = recall_figure(recalls, (0.8, None), chance=0.5)
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['80.0 %', '90.0 %  [85.0, 95.0]', '70.0 %']
    """
    rows = [("accuracy", accuracy), *recalls.items()]
    if floors is not None:
        warnings.warn("recall_figure(floors=...) is now recall_figure(baselines=...)", DeprecationWarning, stacklevel=2)
        baselines = floors
    lines = [(*line, dashes) for line, dashes in zip((baselines or {}).items(), cycle(_DASHES), strict=False)]
    lines += [] if chance is None else [("chance", chance, ":")]
    with drawing(theme, 1.7 + 0.42 * len(rows), title) as (figure, colours):
        axes = figure.add_subplot()
        for place, (name, reading) in enumerate(rows):
            known, new = (colours.accent, "o"), (colours.more[1], "s")
            look = (colours.ink, "D") if place == 0 else new if name in new_findings else known
            _draw_share(axes, place, reading, *look)
        if new_findings:
            axes.plot([], [], "s", color=colours.more[1], label="not seen in training")
        for name, value, dashes in lines:
            label = f"{name} {percent(value)}"
            axes.axvline(value, color=colours.contrast, linestyle=dashes, linewidth=1.8, zorder=1, label=label)
        _finish_rows(axes, [wrapped(name, 20, n_lines=2) for name, _ in rows])
        axes.set(
            xlim=(0, 1), xlabel="\n".join(["accuracy over all, and recall of each finding", *intervals.splitlines()])
        )
        axes.xaxis.set_major_formatter(percent_scale())
        if lines or new_findings:
            two_longest = sorted(len(name) for name, *_ in lines)[-2:]
            n_columns = 2 if sum(two_longest) < _LEGEND_LETTERS else 1
            figure.legend(loc="outside lower right", ncols=n_columns, fontsize=11)
    return figure


def focus_figure(rows: Sequence[FocusBar], *, measure: str, title: str = "", theme: str = "light") -> Figure:
    """Draw the share of heat in a place, a dot with its interval for each row, and a tick where a flat map would be.

    Args:
        rows: such as all films, each finding, each source; drawn from above in this order.
        measure: where the heat is, such as "lungs"; said below the scale, which runs from 0 to 100 %.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no row, or a share outside 0..1; unknown theme.

    Examples:
        >>> rows = [FocusBar("all films", 0.5, (0.4, 0.6), 0.25, 80), FocusBar("covid19", None, None, 0.25, 3)]
        >>> figure = focus_figure(rows, measure="lungs")
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['50.0 %  [40.0, 60.0]', 'no heat']
    """
    if not rows:
        raise ValueError("rows must hold at least one group of films, got none")
    for row in rows:
        for share in (row.mean, row.area, *(row.ci95 or ())):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{row.name}: shares of heat must be 0..1, got {share}")
    with drawing(theme, 1.35 + 0.46 * len(rows), title) as (figure, colours):
        axes = figure.add_subplot()
        for place, row in enumerate(rows):
            if row.area is not None:
                axes.plot((row.area, row.area), (place - 0.3, place + 0.3), color=colours.contrast, **_TICK)
            reading = None if row.mean is None else (row.mean, row.ci95)
            _draw_share(axes, place, reading, colours.accent, size=10)
        names = [f"{wrapped(row.name, 20, n_lines=2)}\n{films_text(row.n_films)}" for row in rows]
        _finish_rows(axes, names, size=9.5)
        axes.set(xlim=(0, 1), xlabel=f"share of the heat: {measure}")
        axes.xaxis.set_major_formatter(percent_scale())
        _put_focus_legend(figure, rows, colours)
    return figure


def class_counts_figure(counts: Mapping[str, Mapping[str, int]], *, title: str = "", theme: str = "light") -> Figure:
    """Draw how many films of each finding each split has, a bar each, with the number beside it.

    Args:
        counts: split -> finding -> number of films; a finding that a split does not name has none there.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no split or no finding; more than five splits; a number below 0; unknown theme.

    Examples:
        >>> figure = class_counts_figure({"train": {"normal": 70, "covid19": 7}, "test": {"normal": 20}})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['70', '7', '20', '0']
    """
    findings = list(dict.fromkeys(name for films in counts.values() for name in films))
    if not findings or len(counts) > _MOST_SPLITS:
        raise ValueError(
            f"counts must hold 1 to {_MOST_SPLITS} splits and a finding, got {len(counts)} and {len(findings)}"
        )
    if min(n_films for films in counts.values() for n_films in films.values()) < 0:
        raise ValueError("counts must not be negative")
    thick = 0.8 / len(counts)
    with drawing(theme, 1.5 + len(findings) * max(0.34, 0.19 * len(counts) + 0.08), title) as (figure, colours):
        axes = figure.add_subplot()
        hues = (colours.accent, colours.contrast, colours.quiet, *colours.more)
        for place, ((split, films), hue) in enumerate(zip(counts.items(), hues, strict=False)):
            n_films = [films.get(name, 0) for name in findings]
            rows = np.arange(len(findings)) - 0.4 + (place + 0.5) * thick
            bars = axes.barh(rows, n_films, height=0.86 * thick, color=hue, label=split)
            axes.bar_label(bars, [f"{number:,}" for number in n_films], padding=4, fontsize=9)
        _finish_rows(axes, [wrapped(name, 24, n_lines=2) for name in findings])
        axes.set_xlabel("films")
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=6))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        figure.legend(loc="outside lower right", ncols=len(counts), fontsize=9.5)
    return figure


def _draw_share(
    axes: Axes, place: int, reading: Reading | None, colour: str, mark: str = "o", *, size: float = 11
) -> None:
    text = "no heat"
    if reading is not None:
        mean, interval = reading
        text = percent(mean)
        # Not clipped: a mark at 0 or 100 % is whole.
        axes.plot(mean, place, mark, color=colour, markersize=8, zorder=3, clip_on=False)
        if interval is not None:
            text += f"  [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
            axes.plot(interval, (place, place), color=colour, linewidth=6, alpha=0.4, solid_capstyle="butt", zorder=1.5)
    axes.annotate(text, (1.04, place), va="center", annotation_clip=False, fontsize=size)


def _finish_rows(axes: Axes, names: Sequence[str], *, size: float = 11) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x")


def _put_focus_legend(figure: Figure, rows: Sequence[FocusBar], colours: Theme) -> None:
    dot = Line2D([], [], color=colours.accent, marker="o", markersize=8, linewidth=6, alpha=0.7)
    tick = Line2D([], [], color=colours.contrast, marker="|", markersize=13, markeredgewidth=2.2, linestyle="")
    entries = {"mean and 95 % interval": dot}
    if any(row.area is not None for row in rows):
        entries["a flat map"] = tick
    look = {"fontsize": 9.5, "handlelength": 2.4}
    figure.legend(entries.values(), entries, loc="outside lower right", ncols=2, **look)

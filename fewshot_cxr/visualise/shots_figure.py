"""How many labelled films are enough: accuracy and recall by shots, and what more films would bring."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from fewshot_cxr.visualise.style import DASHES, Figure, Reading, Theme, draw_ticks, drawing, looks_of, percent_scale
from fewshot_cxr.visualise.text import wrapped

Points = Sequence[tuple[int, Reading]]  # (shots, share with its interval), by rising shots

_MARKS = "osD^vP*X"
_APART = 0.016  # of a doubling and so on: intervals at the same shots stand side by side
_NAME_LETTERS = 40
_MOST_LINES = 8


def shots_figure(
    accuracy: Points,
    recalls: Mapping[str, Points],
    *,
    ahead: Mapping[str, Points] | None = None,
    chance: float | None = None,
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Draw accuracy over the number of labelled films of each finding, and below it the recall of each finding.

    Args:
        accuracy: what was measured.
        recalls: finding -> what was measured; the new findings first. Of more than eight the first eight are drawn.
        ahead: forecasts, for "accuracy" and for findings, as dashed lines in a band.
        chance: what guessing reaches.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: nothing was measured; unknown theme.

    Examples:
        >>> accuracy = [(1, (0.6, (0.5, 0.7))), (5, (0.8, (0.75, 0.85)))]
        >>> figure = shots_figure(accuracy, {"covid19": accuracy}, ahead={"accuracy": [(10, (0.85, None))]}, chance=0.5)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['Accuracy', 'Recall of each finding']
    """
    if not accuracy:
        raise ValueError("accuracy must hold at least one number of shots, got none")
    ahead, shown = ahead or {}, dict(list(recalls.items())[:_MOST_LINES])
    with drawing(theme, 6.4, title) as (figure, colours):
        upper, lower = figure.subplots(2, 1, sharex=True)
        looks = looks_of(colours, DASHES, len(shown))
        _draw_line(upper, "accuracy", accuracy, {"color": colours.ink, "marker": "o"})
        _draw_ahead(upper, accuracy, ahead.get("accuracy", ()), colours.ink)
        for place, ((name, points), (colour, dashes)) in enumerate(zip(shown.items(), looks, strict=True)):
            aside = (place - (len(shown) - 1) / 2) * _APART
            look = {"color": colour, "linestyle": dashes, "marker": _MARKS[place % len(_MARKS)]}
            _draw_line(lower, name, points, look, aside)
            _draw_ahead(lower, points, ahead.get(name, ()), colour)
        if chance is not None:
            upper.axhline(chance, color=colours.quiet, linestyle=(0, (2, 4)), linewidth=1.4, zorder=1)
            upper.annotate(
                "chance", (accuracy[0][0], chance), (0, 4), textcoords="offset points", color=colours.quiet, fontsize=9
            )
        upper.set_title("Accuracy")
        lower.set_title("Recall of each finding")
        lower.set_xlabel("labelled films of each finding (shots)")
        _draw_scales((upper, lower), accuracy, ahead, colours)
        figure.legend(
            *lower.get_legend_handles_labels(), loc="outside lower center", ncols=min(3, len(shown)), handlelength=3
        )
    return figure


def _draw_line(axes: Axes, name: str, points: Points, look: Mapping[str, Any], aside: float = 0) -> None:
    """Draw a line with its intervals, a little aside of its shots."""
    across = [n_shot * 2**aside for n_shot, _ in points]
    means = [mean for _, (mean, _) in points]
    ends = [interval or (mean, mean) for _, (mean, interval) in points]
    below = [max(0.0, mean - low) for mean, (low, _) in zip(means, ends, strict=True)]
    above = [max(0.0, high - mean) for mean, (_, high) in zip(means, ends, strict=True)]
    axes.errorbar(
        across,
        means,
        yerr=(below, above),
        **look,
        markersize=5,
        elinewidth=1.2,
        capsize=3,
        label=wrapped(name, _NAME_LETTERS, n_lines=1),
    )


def _draw_ahead(axes: Axes, points: Points, ahead: Points, colour: str) -> None:
    """Draw a forecast from the last measured point on."""
    if not ahead:
        return
    last, *_ = reversed(points)
    whole = [last, *ahead]
    shots = [n_shot for n_shot, _ in whole]
    ends = [interval or (mean, mean) for _, (mean, interval) in whole]
    lows, highs = zip(*ends, strict=True)
    axes.fill_between(shots, lows, highs, color=colour, alpha=0.13, linewidth=0)
    axes.plot(shots, [mean for _, (mean, _) in whole], color=colour, linestyle=(0, (1.3, 1.3)), linewidth=1.8)


def _draw_scales(panels: Sequence[Axes], accuracy: Points, ahead: Mapping[str, Points], colours: Theme) -> None:
    measured = [n_shot for n_shot, _ in accuracy]
    beyond = sorted({n_shot for points in ahead.values() for n_shot, _ in points})
    for axes in panels:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([*measured, *beyond[-1:]]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(percent_scale())
        axes.grid(axis="y")
        draw_ticks(axes)
        if beyond:
            axes.axvline(measured[-1], color=colours.line, linewidth=1.2, zorder=0)
            axes.annotate(
                "forecast", (measured[-1], 0), (5, 5), textcoords="offset points", color=colours.quiet, fontsize=9
            )

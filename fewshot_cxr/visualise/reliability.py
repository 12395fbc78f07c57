"""How far probabilities may be believed, and what is gained by answering fewer films."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from fewshot_cxr.visualise.style import Figure, draw_ticks, drawing, percent_scale
from fewshot_cxr.visualise.text import percent

Bin = tuple[float, float, float]  # share of the queries, their mean probability, share of them that is right; all 0..1


def reliability_figure(curves: Mapping[str, Sequence[Bin]], *, title: str = "", theme: str = "light") -> Figure:
    """Draw how often answers of a given probability are right, over how many queries had that probability.

    Args:
        curves: name -> bins by the probability of the answer; at most two, before and after calibration.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no curve, more than two, or one without a bin; unknown theme.
    """
    if not 1 <= len(curves) <= 2 or not all(curves.values()):
        raise ValueError(f"one or two curves with bins are drawn, got {[len(bins) for bins in curves.values()]} bins")
    with drawing(theme, 5.5, title) as (figure, colours):
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.plot((0, 1), (0, 1), color=colours.quiet, linestyle=":", label="perfect")
        looks = ((colours.accent, "o", "-"), (colours.contrast, "D", "--"))  # told apart without colour too
        for (name, bins), (colour, mark, line) in zip(curves.items(), looks, strict=False):
            shares, believed, right = zip(*bins, strict=True)
            upper.plot(believed, right, color=colour, marker=mark, linestyle=line, label=name, clip_on=False)
            lower.plot(believed, shares, color=colour, marker=mark, linestyle=line, clip_on=False)
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is right")
        most = max(share for bins in curves.values() for share, _, _ in bins)
        lower.set(ylim=(0, 1.15 * most), xlabel="probability of the answer", ylabel="queries")
        for axes in (upper, lower):
            _draw_per_cent(axes)
        # Below all: inside, a curve may run anywhere.
        figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9.5)
    return figure


def risk_coverage_figure(curve: Sequence[tuple[float, float]], *, title: str = "", theme: str = "light") -> Figure:
    """Draw the share of wrong answers over the share of films that are answered, the surest first.

    Args:
        curve: (share answered, share of the answers that are wrong), 0..1, by rising coverage.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: the curve is empty; unknown theme.
    """
    if not curve:
        raise ValueError("curve must hold at least one point, got none")
    with drawing(theme, 3.2, title) as (figure, colours):
        axes = figure.add_subplot()
        coverages, risks = zip(*curve, strict=True)
        axes.plot(coverages, risks, color=colours.accent, marker="o", markersize=4, clip_on=False)
        axes.axhline(risks[-1], color=colours.contrast, linestyle="--", linewidth=1.8, zorder=1)
        label = f"all answered: {percent(risks[-1])} wrong"
        axes.annotate(label, (0.01, risks[-1]), xytext=(0, 4), textcoords="offset points", color=colours.ink)
        axes.set(xlim=(0, 1), ylim=(0, max(0.05, 1.25 * max(risks))))
        axes.set(xlabel="share of the films that is answered, the surest first", ylabel="answers that are wrong")
        _draw_per_cent(axes)
    return figure


def _draw_per_cent(axes: Axes) -> None:
    axes.grid()
    draw_ticks(axes)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(percent_scale())

"""Curves over the whole range: ROC and precision-recall at every threshold, and what covering a film does."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from fewshot_cxr._checks import lookup
from fewshot_cxr.visualise.style import DASHES, Figure, Reading, Theme, draw_ticks, drawing, looks_of, percent_scale
from fewshot_cxr.visualise.text import films_text, percent, wrapped

Curve = tuple[ArrayLike, ArrayLike, Reading]
_SIDE = 5.2  # inches; the square with its ticks and labels
_LEGEND_LETTERS = 66  # what two names that stand beside each other may have
_NAME_LETTERS = 46
_WORDS = {"deletion": "share of the film that is covered", "insertion": "share of the film that is uncovered"}
_LABEL_LETTERS = 30  # beside the scale, more are cut off
Bin = tuple[float, float, float]  # share of the queries, their mean probability, share of them that is right; all 0..1


def roc_figure(curves: Mapping[str, Curve], *, title: str = "", theme: str = "light") -> Figure:
    """Draw sensitivity over the share of false alarms for each finding against the rest, and guessing as a diagonal.

    Args:
        curves: finding -> (false positive rates, true positive rates, AUC with its interval or None), all 0..1; the
            rates as arrays of one length from (0, 0) to (1, 1). The legend is sorted by rising AUC.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no curve; rates that do not pair up, fall or leave 0..1; an AUC outside 0..1; unknown theme.

    Examples:
        >>> figure = roc_figure({"covid19": ([0, 0, 0.5, 1], [0, 0.5, 1, 1], (0.875, (0.75, 1.0)))})
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['covid19 (AUC 0.88 [0.75, 1.00])']
    """
    with _drawing_curves(curves, ("fpr", "tpr", "AUC"), {}, theme=theme, title=title) as (figure, axes, colours):
        axes.plot((0, 1), (0, 1), color=colours.quiet, linestyle=(0, (2, 4)), linewidth=1.4, zorder=1)
        axes.annotate("chance", (0.72, 0.69), va="top", color=colours.quiet, fontsize=9.5)
        axes.set(xlabel="false alarms (1 - specificity)", ylabel="sensitivity")
    return figure


def pr_figure(
    curves: Mapping[str, Curve], *, chance: Mapping[str, float] | None = None, title: str = "", theme: str = "light"
) -> Figure:
    """Draw precision over sensitivity for each finding against the rest, as the steps that average precision sums.

    Args:
        curves: finding -> (sensitivities, precisions, average precision with its interval or None), all 0..1; the
            sensitivities from 0 up. The legend is sorted by rising average precision.
        chance: finding -> what guessing reaches, its share of the films; said in the legend, since a curve means
            nothing without it.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no curve; arrays that do not pair up or leave 0..1; falling sensitivities; unknown theme.

    Examples:
        >>> curves = {"covid19": ([0, 0.5, 1], [1, 1, 0.75], (0.875, None))}
        >>> figure = pr_figure(curves, chance={"covid19": 0.5})
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['covid19 (AP 0.88, chance 0.50)']
    """
    guessed = {name: f", chance {share:.2f}" for name, share in (chance or {}).items()}
    names = "recall", "precision", "AP"
    # A step holds the precision of its right end: what lies under the line is the average precision.
    with _drawing_curves(curves, names, guessed, style="steps-pre", theme=theme, title=title) as (figure, axes, _):
        axes.set(xlabel="sensitivity (recall)", ylabel="precision (PPV)")
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

    Examples:
        >>> by_heat = np.array([[1.0, 0.25, 0.0], [0.5, 0.25, 0.0]])  # two films: uncovered, half and wholly covered
        >>> figure = deletion_figure({"by heat": by_heat, "at random": np.array([[1.0, 0.75, 0.0], [0.5, 0.25, 0.0]])})
        >>> figure.axes[0].lines[0].get_ydata().tolist()
        [0.75, 0.25, 0.0]

    Source: Petsiuk, Das, Saenko, "RISE", 2018, arXiv:1806.07421, section 4.2.
    """
    words = lookup(_WORDS, mode, what="mode")
    if not curves:
        raise ValueError("curves must hold at least one order, got none")
    scores = {name: _checked_scores(name, values) for name, values in curves.items()}
    with drawing(theme, 3.6, title) as (figure, colours):
        axes = figure.add_subplot()
        for (name, values), (colour, dashes) in zip(
            scores.items(), looks_of(colours, DASHES, len(scores)), strict=True
        ):
            steps = np.linspace(0, 1, values.shape[1])
            if len(values) > 1:
                low, high = np.quantile(values, [0.25, 0.75], axis=0)
                axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(steps, values.mean(axis=0), color=colour, linestyle=dashes, label=name)
        axes.set(xlim=(0, 1), xlabel=words, ylabel=wrapped(score, _LABEL_LETTERS))
        axes.xaxis.set_major_formatter(percent_scale())
        axes.grid()
        n_films = {len(values) for values in scores.values()}
        told = films_text(n_films.pop()) if len(n_films) == 1 else "the films"
        figure.legend(
            loc="outside lower right",
            title=f"line: mean of {told}; band: their middle half",
            fontsize=9.5,
            ncols=min(2, len(scores)),
        )
    return figure


@contextmanager
def _drawing_curves(
    curves: Mapping[str, Curve],
    names: tuple[str, str, str],
    said: Mapping[str, str],
    *,
    style: Literal["default", "steps-pre"] = "default",
    theme: str,
    title: str,
) -> Iterator[tuple[Figure, Axes, Theme]]:
    """Yield a figure, its axes and the colours; the curves come over what is drawn there, and their legend below.

    Args:
        curves: finding -> points across and up, and the number that sums them up.
        names: of these three.
        said: finding -> what stands after its number.
        style: how points are joined.
        theme: a name in THEMES.
        title: above the figure.
    """
    if not curves:
        raise ValueError("curves must hold at least one finding, got none")
    points = {name: _checked(name, curve, names) for name, curve in curves.items()}
    labels = {
        name: f"{wrapped(name, _NAME_LETTERS, n_lines=1)} ({names[2]} {_reading_text(reading)}{said.get(name, '')})"
        for name, (_, _, reading) in curves.items()
    }
    is_narrow = len(labels) > 1 and sum(sorted(map(len, labels.values()))[-2:]) <= _LEGEND_LETTERS
    n_columns = 2 if is_narrow else 1
    with drawing(theme, _SIDE + 0.3 + 0.19 * -(-len(labels) // n_columns), title) as (figure, colours):
        axes = figure.add_subplot()
        yield figure, axes, colours
        lines = {}
        for (name, (across, up)), (colour, dashes) in zip(
            points.items(), looks_of(colours, DASHES, len(points)), strict=True
        ):
            # Not clipped: a curve along the edge keeps its whole width.
            look = {"color": colour, "linestyle": dashes, "linewidth": 1.7, "drawstyle": style}
            (lines[name],) = axes.plot(across, up, clip_on=False, **look)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6))
        axes.grid()
        axes.tick_params(labelcolor=colours.ink, pad=7)
        rising = sorted(curves, key=lambda name: curves[name][2][0])
        figure.legend(
            [lines[name] for name in rising],
            [labels[name] for name in rising],
            loc="outside lower center",
            ncols=n_columns,
            handlelength=3.4,
        )


def _checked(name: str, curve: Curve, names: tuple[str, str, str]) -> tuple[np.ndarray, np.ndarray]:
    across, up = (np.asarray(values, dtype=np.float64) for values in curve[:2])
    if across.ndim != 1 or across.shape != up.shape or len(across) < 2:
        raise ValueError(
            f"{name}: {names[0]} and {names[1]} must be arrays of one length, got {across.shape}, {up.shape}"
        )
    is_share = (across >= 0) & (across <= 1) & (up >= 0) & (up <= 1)
    if not is_share.all() or not 0 <= curve[2][0] <= 1:
        raise ValueError(f"{name}: {', '.join(names)} must be 0..1; leave out a finding whose curve is undefined")
    if (np.diff(across) < 0).any():
        raise ValueError(f"{name}: {names[0]} must not fall from point to point; sort the points by threshold")
    return across, up


def _reading_text(reading: Reading) -> str:
    mean, interval = reading
    return f"{mean:.2f}" + ("" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]")


def _checked_scores(name: str, values: np.ndarray) -> np.ndarray:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 2 or not len(scores) or scores.shape[1] < 2 or not np.isfinite(scores).all():
        raise ValueError(f"{name}: scores must be finite, (N, n_steps + 1) of a film or more, got {scores.shape}")
    return scores


def reliability_figure(curves: Mapping[str, Sequence[Bin]], *, title: str = "", theme: str = "light") -> Figure:
    """Draw how often answers of a given probability are right, over how many queries had that probability.

    Args:
        curves: name -> bins by the probability of the answer; at most two, before and after calibration.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no curve, more than two, or one without a bin; unknown theme.

    Examples:
        >>> figure = reliability_figure({"before": [(0.5, 0.625, 0.5), (0.5, 0.875, 1.0)]})
        >>> figure.axes[0].lines[1].get_xydata().tolist()  # said 62.5 %, right 50 %; said 87.5 %, right 100 %
        [[0.625, 0.5], [0.875, 1.0]]
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

    Examples:
        >>> figure = risk_coverage_figure([(0.5, 0.0), (0.75, 0.125), (1.0, 0.25)])
        >>> figure.axes[0].texts[0].get_text()
        'all answered: 25.0 % wrong'
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

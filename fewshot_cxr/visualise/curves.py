"""How well each finding is told from the rest, at every threshold: ROC and precision-recall curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, Theme, drawing, line_looks, put_title, wrapped

Reading = tuple[float, tuple[float, float] | None]  # a mean, 0..1, with its interval where there is one
Curve = tuple[ArrayLike, ArrayLike, Reading]

_SIDE = 5.2  # inches; the square with its ticks and labels
_LEGEND_LETTERS = 66  # what two names that stand beside each other may have
_NAME_LETTERS = 46


def roc_figure(curves: Mapping[str, Curve], *, title: str = "", theme: str = "light") -> Figure:
    """Draw sensitivity over the share of false alarms for each finding against the rest, and guessing as a diagonal.

    Args:
        curves: finding -> (false positive rates, true positive rates, AUC with its interval or None), all 0..1; the
            rates as arrays of one length from (0, 0) to (1, 1). The legend is sorted by rising AUC.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no curve; rates that do not pair up, fall or leave 0..1; an AUC outside 0..1; unknown theme.
    """
    points = _points(curves, ("fpr", "tpr", "AUC"))
    labels = {name: f"{_name(name)} (AUC {_reading_text(curve[2])})" for name, curve in curves.items()}
    with drawing(theme, PAGE_WIDTH, _SIDE + _legend_inches(labels)) as (figure, colours):
        axes = figure.add_subplot()
        axes.plot((0, 1), (0, 1), color=colours.quiet, linestyle=(0, (2, 4)), linewidth=1.4, zorder=1)
        axes.annotate("chance", (0.72, 0.69), va="top", color=colours.quiet, fontsize=9.5)
        looks = zip(points.items(), line_looks(colours, len(points)), strict=True)
        lines = {name: _draw(axes, rates, hits, look) for (name, (rates, hits)), look in looks}
        axes.set(xlabel="false alarms (1 - specificity)", ylabel="sensitivity")
        _finish_axes(axes, colours)
        _put_legend(figure, {name: (lines[name], labels[name]) for name in _rising(curves)})
        put_title(figure, title)
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
    """
    points = _points(curves, ("recall", "precision", "AP"))
    guessed = {name: f", chance {share:.2f}" for name, share in (chance or {}).items()}
    labels = {
        name: f"{_name(name)} (AP {_reading_text(curve[2])}{guessed.get(name, '')})" for name, curve in curves.items()
    }
    with drawing(theme, PAGE_WIDTH, _SIDE + _legend_inches(labels)) as (figure, colours):
        axes = figure.add_subplot()
        looks = zip(points.items(), line_looks(colours, len(points)), strict=True)
        lines = {name: _draw(axes, recalls, precisions, look) for (name, (recalls, precisions)), look in looks}
        for line in lines.values():
            # A step holds the precision of its right end: what lies under the line is the average precision.
            line.set_drawstyle("steps-pre")
        axes.set(xlabel="sensitivity (recall)", ylabel="precision (PPV)")
        _finish_axes(axes, colours)
        _put_legend(figure, {name: (lines[name], labels[name]) for name in _rising(curves)})
        put_title(figure, title)
    return figure


def _points(curves: Mapping[str, Curve], names: tuple[str, str, str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if not curves:
        raise ValueError("curves must hold at least one finding, got none")
    return {name: _checked(name, curve, names) for name, curve in curves.items()}


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


def _rising(curves: Mapping[str, Curve]) -> list[str]:
    return sorted(curves, key=lambda name: curves[name][2][0])


def _draw(axes: Axes, across: np.ndarray, up: np.ndarray, look: tuple[str, Any]) -> Line2D:
    # Not clipped: a curve along the edge keeps its whole width.
    (line,) = axes.plot(across, up, color=look[0], linestyle=look[1], linewidth=1.7, clip_on=False)
    return line


def _finish_axes(axes: Axes, colours: Theme) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.grid()
    axes.tick_params(labelcolor=colours.ink, length=0, pad=7)
    axes.spines[:].set_visible(False)


def _put_legend(figure: Figure, entries: Mapping[str, tuple[Line2D, str]]) -> None:
    lines, labels = zip(*entries.values(), strict=True)
    columns = _n_columns(labels)
    figure.legend(lines, labels, loc="outside lower center", ncols=columns, fontsize=9, handlelength=3.4, frameon=False)


def _n_columns(labels: Sequence[str]) -> int:
    return 2 if len(labels) > 1 and sum(sorted(map(len, labels))[-2:]) <= _LEGEND_LETTERS else 1


def _legend_inches(labels: Mapping[str, str]) -> float:
    n_lines = -(-len(labels) // _n_columns(list(labels.values())))
    return 0.3 + 0.19 * n_lines


def _name(finding: str) -> str:
    return wrapped(finding, _NAME_LETTERS, n_lines=1)


def _reading_text(reading: Reading) -> str:
    mean, interval = reading
    return f"{mean:.2f}" + ("" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]")

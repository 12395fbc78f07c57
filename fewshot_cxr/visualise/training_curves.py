"""How training went: loss, accuracy and AUROC by epoch."""

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fewshot_cxr.visualise.style import Figure, Theme, draw_ticks, drawing, percent_scale
from fewshot_cxr.visualise.text import percent

_LOSSES = ("loss", "val_loss")
_LINES = {  # column -> its line, of one name in both panels, so that one legend does; what stands above it alone
    "loss": ("training", "Training loss"),
    "val_loss": ("validation", "Loss"),
    "accuracy": ("training", "Training accuracy"),
    "val_accuracy": ("validation", "Validation accuracy"),
    "val_balanced_accuracy": ("validation, balanced", "Balanced validation accuracy"),
    "val_auroc": ("validation AUROC", "Validation AUROC"),
}
_DASHES = {"training": ("-", "o"), "validation": ("--", "D"), "validation, balanced": ("-.", "s")}
_DASHES |= {"validation AUROC": (":", "^")}
_MOST_MARKS = 40  # epochs; with more, marks would run into a band

Curves = Mapping[str, Mapping[float, float]]  # column -> epoch -> value


def learning_curves_figure(
    history: Sequence[Mapping[str, float]], *, best_epoch: int | None = None, title: str = "", theme: str = "light"
) -> Figure:
    """Draw the losses by epoch, and below them accuracies and AUROC where they were measured; the best epoch is marked.

    Args:
        history: a row per epoch with `epoch`, `loss`, and perhaps `val_loss`, `accuracy`, `val_accuracy`,
            `val_balanced_accuracy`, `val_auroc` (these 0..1); other columns are not drawn, nor is what is not finite.
        best_epoch: the one that was kept; None: the first of the best by `val_accuracy`, where that was measured.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: the history is empty or has no row of `best_epoch`; unknown theme.

    Examples:
        >>> first = {"epoch": 1, "loss": 0.9, "val_loss": 0.95, "val_accuracy": 0.6}
        >>> second = {"epoch": 2, "loss": 0.4, "val_loss": 0.7, "val_accuracy": 0.75}
        >>> learning_curves_figure([first, second]).axes[1].get_title(loc="left")
        'Validation accuracy: 75.0 % in the best epoch, 2'
    """
    if not history:
        raise ValueError("history must hold at least one epoch, got none")
    curves = _measured(history)
    losses = {column: points for column, points in curves.items() if column in _LOSSES}
    shares = {column: points for column, points in curves.items() if column not in _LOSSES}
    best = _best(history, shares.get("val_accuracy", {}), best_epoch)
    with drawing(theme, 5.0 if shares else 2.9, title) as (figure, colours):
        panels = figure.subplots(2 if shares else 1, 1, squeeze=False, sharex=True)[:, 0]
        _draw_panel(panels[0], losses, best, colours)
        panels[0].set_title("Loss" if "val_loss" in losses else "Training loss")
        if shares:
            _draw_panel(panels[1], shares, best, colours)
            panels[1].yaxis.set_major_formatter(percent_scale())
            panels[1].set_title(_shares_title(shares))
        if best is not None:
            panels[-1].set_title(f"{panels[-1].get_title(loc='left')}: {_best_text(shares, best)}")
        panels[-1].set_xlabel("epoch")
        _put_legend(figure, panels)
    return figure


def _measured(history: Sequence[Mapping[str, float]]) -> Curves:
    """Return the columns that have a value at all, and of these the epochs that have one."""
    curves = {
        column: {row["epoch"]: row[column] for row in history if math.isfinite(row.get(column, math.nan))}
        for column in _LINES
    }
    return {column: points for column, points in curves.items() if points}


def _best(
    history: Sequence[Mapping[str, float]], accuracies: Mapping[float, float], best_epoch: int | None
) -> float | None:
    if best_epoch is None:
        return max(accuracies, key=lambda epoch: (accuracies[epoch], -epoch), default=None)
    if best_epoch not in [row["epoch"] for row in history]:
        raise ValueError(f"best_epoch is {best_epoch}, which the history of {len(history)} epochs does not have")
    return float(best_epoch)


def _draw_panel(axes: Axes, curves: Curves, best: float | None, colours: Theme) -> None:
    """Draw the curves, and a star on those of validation where they meet the best epoch."""
    hues = dict(zip(_DASHES, (colours.contrast, colours.accent, *colours.more), strict=False))
    for column, points in curves.items():
        name, _ = _LINES[column]
        dashes, mark = _DASHES[name]
        axes.plot(
            list(points),
            list(points.values()),
            color=hues[name],
            linestyle=dashes,
            marker=mark if len(points) <= _MOST_MARKS else "",
            markersize=4,
            label=name,
        )
        if column.startswith("val_") and best is not None and best in points:
            axes.plot(best, points[best], "*", color=hues[name], markeredgecolor=colours.ink, markersize=14, zorder=3)
    if best is not None:
        axes.axvline(best, color=colours.ink, linestyle=":", linewidth=1.4, zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y")
    draw_ticks(axes)


def _shares_title(shares: Curves) -> str:
    if len(shares) == 1:
        return _LINES[next(iter(shares))][1]
    return "Accuracy and AUROC" if "val_auroc" in shares else "Accuracy"


def _best_text(shares: Curves, best: float) -> str:
    accuracy = shares.get("val_accuracy", {}).get(best)
    return f"best epoch {best:.0f}" if accuracy is None else f"{percent(accuracy)} in the best epoch, {best:.0f}"


def _put_legend(figure: Figure, panels: Iterable[Axes]) -> None:
    lines = {str(line.get_label()): line for panel in panels for line in panel.lines}
    named = {name: lines[name] for name in _DASHES if name in lines}
    if len(named) > 1:
        look = {"handlelength": 2.8, "columnspacing": 1.3}
        figure.legend(named.values(), named, loc="outside lower center", ncols=len(named), **look)

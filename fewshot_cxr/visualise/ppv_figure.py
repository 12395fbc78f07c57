"""What a call is worth over the prevalence: PPV and NPV with their intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from fewshot_cxr.visualise.style import Figure, Reading, Theme, draw_ticks, drawing, percent_scale
from fewshot_cxr.visualise.text import percent, wrapped

Worth = Sequence[tuple[float, Reading, Reading]]  # prevalence, PPV and NPV, by rising prevalence

_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_MARKS = "oDs"
_NAME_LETTERS = 40
_LEGEND_LETTERS = 36  # of an entry that has another beside it


def ppv_figure(
    curve: Worth, *, finding: str, marked: Mapping[str, float] | None = None, title: str = "", theme: str = "light"
) -> Figure:
    """Draw PPV and NPV of a finding over its prevalence, each as a line in the band of its interval.

    The scale of the prevalence is that of its odds: 1 % is as far from 2 % as 50 % from 67 %.

    Args:
        curve: points by rising prevalence, two or more.
        finding: that is called.
        marked: what is said of a prevalence -> that prevalence, at most three, such as "stated", "calibration films"; a
            line stands there, and the legend says the PPV.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: fewer than two points, prevalences that do not rise or are not between 0 and 1, shares outside 0..1,
            more than three marks, or a mark outside the curve; unknown theme.

    Examples:
        >>> curve = [(0.1, (0.5, (0.4, 0.6)), (0.99, None)), (0.5, (0.9, (0.85, 0.95)), (0.9, None))]
        >>> figure = ppv_figure(curve, finding="covid19", marked={"stated": 0.5})
        >>> figure.legends[0].get_texts()[-1].get_text()
        'stated, 50 %: PPV 90.0 %'
    """
    places = np.array([prevalence for prevalence, _, _ in curve])
    _check(places, curve, marked or {})
    with drawing(theme, 4.4, title) as (figure, colours):
        axes = figure.add_subplot()
        across = _log_odds(places)
        for name, colour, dashes in (("PPV", colours.accent, "-"), ("NPV", colours.contrast, (0, (5, 1.6)))):
            readings = [ppv if name == "PPV" else npv for _, ppv, npv in curve]
            means = np.array([mean for mean, _ in readings])
            lows, highs = np.array([interval or (mean, mean) for mean, interval in readings]).T
            axes.fill_between(across, lows, highs, color=colour, alpha=0.16, linewidth=0)
            axes.plot(across, means, color=colour, linestyle=dashes, label=f"{name} with 95 % interval", clip_on=False)
        _draw_marks(axes, places, np.array([mean for _, (mean, _), _ in curve]), marked or {}, colours)
        axes.set_xlim(across[0], across[-1])
        axes.set_ylim(0, 1)
        axes.xaxis.set_major_locator(FixedLocator([float(_log_odds(tick)) for tick in _TICKS]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 / (1 + np.exp(-value)):.3g} %")
        axes.yaxis.set_major_formatter(percent_scale())
        axes.grid()
        draw_ticks(axes)
        axes.set_xlabel(f"prevalence of {wrapped(finding, _NAME_LETTERS, n_lines=1)}")
        axes.set_ylabel("calls that are right")
        longest = max(len(str(line.get_label())) for line in axes.lines)
        n_columns = 2 if longest <= _LEGEND_LETTERS else 1
        figure.legend(loc="outside lower center", ncols=n_columns, handlelength=3)
    return figure


def _check(places: np.ndarray, curve: Worth, marked: Mapping[str, float]) -> None:
    if len(places) < 2 or not (np.diff(places) > 0).all() or not (places[0] > 0 and places[-1] < 1):
        raise ValueError(f"curve must hold two prevalences or more, rising between 0 and 1, got {places.tolist()}")
    shares = [share for _, *both in curve for mean, interval in both for share in (mean, *(interval or ()))]
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError("PPV and NPV must be 0..1; leave out prevalences where they are unknown")
    if len(marked) > 3 or not all(places[0] <= share <= places[-1] for share in marked.values()):
        raise ValueError(f"at most three prevalences on the curve are marked, got {dict(marked)}")


def _draw_marks(axes: Axes, places: np.ndarray, means: np.ndarray, marked: Mapping[str, float], colours: Theme) -> None:
    """Draw a line at each prevalence; the legend says what PPV it has."""
    for (words, share), mark in zip(sorted(marked.items(), key=lambda item: item[1]), _MARKS, strict=False):
        here = float(_log_odds(share))
        ppv = float(np.interp(here, _log_odds(places), means))
        axes.axvline(here, color=colours.quiet, linestyle=(0, (2, 4)), linewidth=1.4, zorder=1)
        label = f"{wrapped(words, _NAME_LETTERS, n_lines=1)}, {100 * share:.3g} %: PPV {percent(ppv)}"
        axes.plot(here, ppv, color=colours.ink, marker=mark, linestyle="", markersize=6, clip_on=False, label=label)


def _log_odds(share: float | np.ndarray) -> np.ndarray:
    return np.asarray(np.log(share) - np.log1p(-np.asarray(share)))

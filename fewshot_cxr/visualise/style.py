"""One look for every figure: colours that colour-blind readers tell apart, type that is legible at page width."""

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.typing import ColorType

from fewshot_cxr._checks import lookup

__all__ = [
    "OKABE_ITO",
    "PAGE_WIDTH",
    "THEMES",
    "Figure",
    "Theme",
    "contrast_ratio",
    "drawing",
    "group_names",
    "largest_groups",
    "legend_columns",
    "line_looks",
    "mark_looks",
    "percent",
    "put_title",
    "wrapped",
]

_LETTER_WIDTH = 0.72  # of bold type on average, as a share of its size
_MOST_GROUPS = 15
_HANDLE_LETTERS = 6  # the mark of a legend's entry and the gap after it
PAGE_WIDTH = 6.5  # inches; wider, and the words shrink below reading size on a telephone

# Source: Okabe, Ito, "Color Universal Design", 2008.
OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky_blue": "#56B4E9",
    "bluish_green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "reddish_purple": "#CC79A7",
}


@dataclass(frozen=True)
class Theme:
    """The colours of a figure: background, text, lesser text, lines, the thing meant, the thing compared with.

    `more` are for things of equal rank beyond these two.
    """

    paper: str
    ink: str
    quiet: str
    line: str
    accent: str
    contrast: str
    more: tuple[str, ...]


# On white the published green and purple are too pale for a thin line: the same hues, darker.
_DARKER_GREEN, _DARKER_PURPLE = "#008A64", "#A34F80"

THEMES = {
    "light": Theme(
        "#ffffff",
        "#1b1f24",
        "#57606a",
        "#d0d7de",
        OKABE_ITO["blue"],
        OKABE_ITO["vermillion"],
        (_DARKER_GREEN, _DARKER_PURPLE),
    ),
    "dark": Theme(
        "#16191d",
        "#e8eaed",
        "#a9b1ba",
        "#3d444d",
        OKABE_ITO["sky_blue"],
        OKABE_ITO["orange"],
        (OKABE_ITO["bluish_green"], OKABE_ITO["reddish_purple"]),
    ),
}

_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.3, 1.3)), (0, (6, 1.6, 1.3, 1.6)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X")


@contextmanager
def drawing(theme: str, width_inches: float, height_inches: float) -> Iterator[tuple[Figure, Theme]]:
    """Yield an empty figure and the colours to draw with; settings hold inside the block only.

    The user's own matplotlib settings play no part, and pyplot never hears of the figure.

    Raises:
        ValueError: unknown theme.
    """
    colours = lookup(THEMES, theme, what="theme")
    with style.context(["default", _settings(colours)]):
        figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
        yield figure, colours
        # An axis makes its ticks when it is first drawn; later they would take the user's settings, not these.
        figure.draw_without_rendering()


def put_title(figure: Figure | SubFigure, title: str, size: float = 12.5) -> None:
    """Write the title above all, flush left, broken to the width; an empty one takes no room."""
    if title:
        n_letters = int(72 * figure.bbox.width / figure.figure.dpi / (_LETTER_WIDTH * size))
        figure.suptitle(wrapped(title, n_letters), x=0.01, ha="left", fontsize=size)


def wrapped(name: str, width: int = 16, n_lines: int = 4) -> str:
    """Break a name after `_`, `-` or a space, and inside long words; "…" stands for what passes n_lines."""
    parts = re.findall(rf"[^_\- ]{{1,{width - 1}}}[_\- ]?|[_\- ]", " ".join(name.split()))
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines[:n_lines]) + "…" * (len(lines) > n_lines)


def line_looks(colours: Theme, n_lines: int) -> list[tuple[str, Any]]:
    """Return (colour, dashes) of each line: neighbours differ in both, and the first twenty pairs are all different."""
    hues = (colours.accent, colours.contrast, colours.ink, *colours.more)
    # Five hues and four dashes have no common factor: each step changes both, and no pair comes back before the 20th.
    return [(hues[place % len(hues)], _DASHES[place % len(_DASHES)]) for place in range(n_lines)]


def mark_looks(colours: Theme, n_groups: int) -> list[tuple[str, str]]:
    """Return (colour, marker) of each group: neighbours differ in both, and the first 35 pairs are all different."""
    hues = (colours.accent, colours.contrast, *colours.more, colours.ink)
    # Five hues and seven markers have no common factor, as above.
    return [(hues[place % len(hues)], _MARKS[place % len(_MARKS)]) for place in range(n_groups)]


def group_names(groups: Sequence[Hashable], n_films: int) -> list[str]:
    """Return what each group is called, "not stated" for None and an empty text.

    Raises:
        ValueError: there are not `n_films` of them.
    """
    if len(groups) != n_films:
        raise ValueError(f"each film needs a group, got {len(groups)} groups for {n_films} films")
    return ["not stated" if group is None or str(group) == "" else str(group) for group in groups]


def largest_groups(names: Sequence[str]) -> list[str]:
    """Return the 15 groups with the most films, in order of their names, 9 before 10: more marks nobody tells apart."""
    counts = Counter(names)
    largest = sorted(counts, key=lambda name: (-counts[name], name))[:_MOST_GROUPS]
    return sorted(largest, key=_in_order)


def legend_columns(labels: Sequence[str], n_letters: int) -> int:
    """Return how many columns, 4 at most, a legend of these labels may have in a width of so many letters."""
    for n_columns in range(min(4, len(labels)), 1, -1):
        columns = np.array_split([len(label) + _HANDLE_LETTERS for label in labels], n_columns)
        if sum(int(column.max()) for column in columns) <= n_letters:  # filled down, then across
            return n_columns
    return 1


def percent(share: float) -> str:
    """Return 0.8123 as '81.2 %'."""
    return f"{100 * share:.1f} %"


def contrast_ratio(one: ColorType, other: ColorType) -> float:
    """Return how well two colours stand apart, from 1 (not at all) to 21; text needs 4.5, the parts of a chart 3.

    Source: W3C, "Web Content Accessibility Guidelines 2.1", 2018, relative luminance and contrast ratio.
    """
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _in_order(name: str) -> list[str]:
    return [part.zfill(12) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _luminance(colour: ColorType) -> float:
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _settings(colours: Theme) -> dict[str, Any]:
    return {
        "font.family": "DejaVu Sans",  # it comes with matplotlib: the same letters on every machine
        "font.size": 11,
        "axes.titlesize": 11.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "figure.titleweight": "bold",
        # A finding may be called "$5 $10": text is text, not a formula.
        "text.parse_math": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": colours.line,
        "axes.facecolor": colours.paper,
        "axes.labelcolor": colours.quiet,
        "axes.titlecolor": colours.ink,
        "figure.facecolor": colours.paper,
        "figure.constrained_layout.w_pad": 0.08,
        "figure.constrained_layout.h_pad": 0.06,
        "grid.color": colours.line,
        "grid.linewidth": 0.8,
        "axes.axisbelow": True,
        "text.color": colours.ink,
        "xtick.color": colours.line,
        "ytick.color": colours.line,
        "xtick.labelcolor": colours.quiet,
        "ytick.labelcolor": colours.ink,
        "lines.linewidth": 2,
    }

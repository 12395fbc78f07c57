"""One look for every figure: colours that colour-blind readers tell apart, type that is legible at page width."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Figure
from matplotlib.figure import SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import PercentFormatter
from matplotlib.typing import ColorType

from fewshot_cxr._checks import lookup
from fewshot_cxr.visualise.text import wrapped

_FONT = "DejaVu Sans"  # it comes with matplotlib: the same letters on every machine
_LEAST_LETTERS = 4  # of a line
_HINTED = 1.05  # on the screen letters are up to so much wider than on paper
_LETTER_WIDTH = 0.72  # of bold type on average, as a share of its size
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

    `more` are for things of equal rank beyond these two; see `hues`.
    """

    paper: str
    ink: str
    quiet: str
    line: str
    accent: str
    contrast: str
    more: tuple[str, ...]

    @property
    def hues(self) -> tuple[str, ...]:
        """Return the twelve colours that things of equal rank take in turn."""
        return self.accent, self.contrast, self.ink, *self.more


# Searched for at random: with accent, contrast and ink these are the twelve that lie farthest apart for readers with
# and without red or green cones, each a contrast of 3 or more to the paper. Any first few lie apart as well.
_MORE_LIGHT = ["#09a27a", "#ba157b", "#435b01", "#ae54fd", "#6c264b", "#0508f2", "#908cc4", "#1e097c", "#690dad"]
_MORE_DARK = ["#02f3a0", "#f982a1", "#e8ef14", "#a403fb", "#a24d2e", "#0a7476", "#8a8d52", "#ee13a7", "#8f78d9"]

THEMES = {
    "light": Theme(
        "#ffffff", "#1b1f24", "#57606a", "#d0d7de", OKABE_ITO["blue"], OKABE_ITO["vermillion"], tuple(_MORE_LIGHT)
    ),
    "dark": Theme(
        "#16191d", "#e8eaed", "#a9b1ba", "#3d444d", OKABE_ITO["sky_blue"], OKABE_ITO["orange"], tuple(_MORE_DARK)
    ),
}

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.3, 1.3)), (0, (6, 1.6, 1.3, 1.6)), (0, (9, 2)))

Reading = tuple[float, tuple[float, float] | None]  # a mean, 0..1, with its interval where there is one


@contextmanager
def drawing(
    theme: str, height_inches: float, title: str = "", *, width_inches: float = PAGE_WIDTH
) -> Iterator[tuple[Figure, Theme]]:
    """Yield an empty figure and the colours to draw with; settings hold inside the block only.

    The user's own matplotlib settings play no part, and pyplot never hears of the figure.

    Args:
        theme: a name in THEMES.
        height_inches: of the figure.
        title: put above all that is drawn.
        width_inches: of the figure.

    Raises:
        ValueError: unknown theme.
    """
    colours = lookup(THEMES, theme, what="theme")
    with style.context(["default", _settings(colours)]):
        figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
        yield figure, colours
        put_title(figure, title)
        # An axis makes its ticks when it is first drawn; later they would take the user's settings, not these.
        figure.draw_without_rendering()


@contextmanager
def same_names() -> Iterator[None]:
    """Name the parts of an SVG alike each time, inside the block."""
    with style.context({"svg.hashsalt": "fewshot_cxr"}):
        yield


def fitted(text: str, inches: float, *, size: float, weight: str = "normal", n_lines: int = 2) -> str:
    """Break a text as `wrapped` does, at a width that is measured: a W takes the room of three i.

    Args:
        text: a name or a sentence.
        inches: of room for a line.
        size: of the letters, in points.
        weight: of the letters, "normal" or "bold".
        n_lines: beyond, "…" stands for the rest.
    """
    letters = FontProperties(family=_FONT, size=size, weight=weight)
    room = 72 * inches / _HINTED

    def measured(line: str) -> float:
        return float(text_to_path.get_text_width_height_descent(line, letters, ismath=False)[0])

    n_letters = 2 + int(room * len(text) / max(1.0, measured(" ".join(text.split()))))
    broken = wrapped(text, max(_LEAST_LETTERS, n_letters), n_lines)
    while n_letters > _LEAST_LETTERS and max(map(measured, broken.split("\n"))) > room:
        n_letters -= 1
        broken = wrapped(text, n_letters, n_lines)
    return broken


def put_title(figure: Figure | SubFigure, title: str, size: float = 12.5) -> None:
    """Write the title above all, flush left, broken to the width; an empty one takes no room."""
    if title:
        n_letters = int(72 * figure.bbox.width / figure.figure.dpi / (_LETTER_WIDTH * size))
        figure.suptitle(wrapped(title, n_letters), x=0.01, ha="left", fontsize=size)


def looks_of(colours: Theme, kinds: Sequence[Any], n: int) -> list[tuple[str, Any]]:
    """Return (colour, kind) of so many lines or groups, the kinds being DASHES or MARKS: neighbours differ in both."""
    # Twelve hues and five dashes, or seven marks, have no common factor: no pair comes back before the 60th, or 84th.
    return [(colours.hues[place % len(colours.hues)], kinds[place % len(kinds)]) for place in range(n)]


def draw_ticks(axes: Axes) -> None:
    """Give the axes a line at the left and below, with ticks."""
    axes.spines[["left", "bottom"]].set_visible(True)
    axes.tick_params(length=3.5)


def percent_scale() -> PercentFormatter:
    """Return what writes the ticks of a scale from 0 to 1 in per cent."""
    return PercentFormatter(1, decimals=0, symbol=" %")


def contrast_ratio(one: ColorType, other: ColorType) -> float:
    """Return how well two colours stand apart, from 1 (not at all) to 21; text needs 4.5, the parts of a chart 3.

    Source: W3C, "Web Content Accessibility Guidelines 2.1", 2018, relative luminance and contrast ratio.
    """
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: ColorType) -> float:
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _settings(colours: Theme) -> dict[str, Any]:
    return {
        "font.family": _FONT,
        "font.size": 11,
        "axes.titlesize": 11.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "figure.titleweight": "bold",
        # A finding may be called "$5 $10": text is text, not a formula.
        "text.parse_math": False,
        **{f"axes.spines.{side}": False for side in ("top", "right", "bottom", "left")},
        **{f"{axis}tick.{kind}.size": 0 for axis in "xy" for kind in ("major", "minor")},
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
        "legend.frameon": False,
        "legend.fontsize": 9,
        "legend.title_fontsize": 9,
        "text.color": colours.ink,
        "xtick.color": colours.line,
        "ytick.color": colours.line,
        "xtick.labelcolor": colours.quiet,
        "ytick.labelcolor": colours.ink,
        "lines.linewidth": 2,
    }

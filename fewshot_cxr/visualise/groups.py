"""Films marked by the group they belong to: how groups look, their legend, and sentences below a map."""

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D

from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, Theme, drawing, fitted
from fewshot_cxr.visualise.text import wrapped

Looks = dict[str, tuple[str, str]]  # name of a group -> (colour, marker)

LINE_INCHES, LINE_LETTERS = 0.18, 92
_MOST_GROUPS = 15
_NAME_LETTERS = 30
_HANDLE_LETTERS = 6  # the mark of a legend's entry and the gap after it
MARKS = ("o", "s", "^", "D", "v", "P", "X")


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


def legend_rows(labels: Mapping[str, str], n_letters: int = LINE_LETTERS) -> int:
    """Return how many rows the legend of `put_legend` has."""
    return -(-len(labels) // _n_columns(_texts(labels), n_letters))


def put_legend(
    holder: SubFigure, labels: Mapping[str, str], looks: Looks, *, title: str = "", n_letters: int = LINE_LETTERS
) -> None:
    """Put the mark and the name of each group below a map.

    Args:
        holder: the part of a figure that holds the map.
        labels: name of a group -> what is said after it.
        looks: of these groups.
        title: above the legend.
        n_letters: how many fit beside each other.
    """
    texts = _texts(labels)
    holder.legend(
        [Line2D([], [], linestyle="", markersize=7, color=looks[name][0], marker=looks[name][1]) for name in labels],
        texts,
        loc="outside lower center",
        ncols=_n_columns(texts, n_letters),
        title=title or None,
        handletextpad=0.3,
        columnspacing=1.2,
    )


@contextmanager
def drawing_over_words(
    theme: str, height_inches: float, sentences: Sequence[str], title: str
) -> Iterator[tuple[Figure, SubFigure, Theme]]:
    """Yield a figure, the part of it that has the sentences below it, and the colours to draw with; see `drawing`.

    Args:
        theme: a name in THEMES.
        height_inches: of the part.
        sentences: each begins a line.
        title: above the figure.
    """
    lines = [line for sentence in sentences for line in _broken(sentence)]
    heights = [height_inches, 0.1 + LINE_INCHES * len(lines)]
    with drawing(theme, sum(heights) + 0.35 * bool(title), title) as (figure, colours):
        part, words = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
        yield figure, part, colours
        words.text(0.015, 1, "\n".join(lines), va="top", color=colours.quiet, fontsize=9, linespacing=1.25)


def _broken(sentence: str) -> list[str]:
    return fitted(sentence, PAGE_WIDTH - 0.25, size=9, n_lines=9).split("\n")


def _texts(labels: Mapping[str, str]) -> list[str]:
    return [wrapped(name, _NAME_LETTERS, n_lines=1) + said for name, said in labels.items()]


def _n_columns(texts: Sequence[str], n_letters: int) -> int:
    """Return how many columns, 4 at most, a legend may have in a width of so many letters."""
    for n_columns in range(min(4, len(texts)), 1, -1):
        columns = np.array_split([len(text) + _HANDLE_LETTERS for text in texts], n_columns)
        if sum(int(column.max()) for column in columns) <= n_letters:  # filled down, then across
            return n_columns
    return 1


def _in_order(name: str) -> list[str]:
    return [part.zfill(12) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

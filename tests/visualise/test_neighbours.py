import numpy as np
import pytest
from seen_figures import assert_nothing_leaves, words

from fewshot_cxr.visualise import THEMES, NeighbourRow, neighbours_figure

FILM = np.arange(30 * 20, dtype=np.uint16).reshape(30, 20).astype(np.uint8)
NEAR = ((FILM, "effusion", 0.5), (FILM, "normal", 0.75), (FILM, "effusion", 0.75))
ROW = NeighbourRow(FILM, "films/a.png", "effusion", NEAR)


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_films_stand_beside_their_nearest(theme):
    figure = neighbours_figure([ROW, NeighbourRow(FILM, "b.png", "normal", NEAR[:1])], title="T", theme=theme)
    found = words(figure)
    assert {"films/a.png\neffusion", "= effusion\n0.5000", "≠ normal\n0.7500", "T", "b.png\nnormal"} <= set(found)
    assert {"≠ effusion\n0.5000"} <= set(found)
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1, 1, 1, 0, 0]
    assert any("smaller is closer" in text for text in found)


def test_a_finding_is_told_by_frame_and_mark_and_not_by_colour_alone():
    same, other = (axes.spines["left"] for axes in neighbours_figure([ROW]).axes[1:3])
    assert same.get_linestyle() != other.get_linestyle()
    assert same.get_edgecolor() != other.get_edgecolor()


def test_long_names_stay_in_the_figure():
    finding = "peripheral_ground_glass_opacity_with_crazy_paving"
    row = NeighbourRow(FILM, "a/" * 40, finding, [(FILM, finding, 123.456)] * 6)
    assert_nothing_leaves(neighbours_figure([row] * 3))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "neighbours of 1 to 12 films fit a figure, got 0"),
        ([ROW] * 13, "neighbours of 1 to 12 films fit a figure, got 13"),
        ([NeighbourRow(FILM, "a", "b", [])], "a: 1 to 6 neighbours fit a row, got 0"),
        ([NeighbourRow(FILM, "a", "b", NEAR[::-1])], "a: distances must be finite, the smallest first, got "),
        ([NeighbourRow(FILM, "a", "b", [(FILM, "b", np.nan)])], "a: distances must be finite"),
        ([NeighbourRow(FILM / 2, "a", "b", NEAR)], "an image must be uint8"),
    ],
)
def test_wrong_rows_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        neighbours_figure(rows)

import numpy as np
import pytest
from seen_figures import words

from fewshot_cxr.visualise import THEMES, FocusBar, deletion_figure, focus_figure

ROWS = (
    FocusBar("all films", 0.41, (0.38, 0.44), 0.33, 1113),
    FocusBar("effusion", 0.2, None, None, 1),
    FocusBar("normal", None, None, 0.3, 3),
)
CURVES = {"by heat": np.array([[1.0, 0.5, 0.0], [2.0, 0.5, 0.0]]), "at random": np.array([[1.0, 0.8, 0.0]])}


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_focus_shows_means_intervals_and_flat_maps_on_one_scale(theme):
    figure = focus_figure(ROWS, measure="lungs", title="T", theme=theme)
    found = set(words(figure))
    assert {"41.0 %  [38.0, 44.0]", "20.0 %", "no heat", "share of the heat: lungs", "T", "a flat map"} <= found
    assert {"all films\n1,113 films", "effusion\n1 film", "normal\n3 films"} <= found
    (axes,) = figure.axes
    ticks = [
        line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2
    ]
    assert ticks == [0.33, 0.3]
    assert axes.get_xlim() == (0, 1)


def test_rows_without_area_say_nothing_of_flat_maps():
    assert "a flat map" not in words(focus_figure(ROWS[1:2], measure="border"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), "rows must hold at least one group of films, got none"),
        ((FocusBar("all", 41.0, None, None, 2),), "all: shares of heat must be 0..1, got 41.0"),
        ((FocusBar("all", 0.4, (-0.1, 0.5), None, 2),), "all: shares of heat must be 0..1, got -0.1"),
    ],
)
def test_wrong_shares_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        focus_figure(rows, measure="lungs")


def test_deletion_draws_means_and_the_middle_half():
    axes = deletion_figure(CURVES, title="T").axes[0]
    heat, random = axes.lines
    np.testing.assert_allclose(heat.get_xydata(), [(0, 1.5), (0.5, 0.5), (1, 0)])
    np.testing.assert_allclose(random.get_ydata(), [1, 0.8, 0])
    assert heat.get_linestyle() != random.get_linestyle()
    (band,) = axes.collections  # one film has no spread
    corners = band.get_paths()[0].vertices
    assert {(0.0, 1.25), (0.0, 1.75)} <= set(map(tuple, corners))
    assert axes.get_xlabel() == "share of the film that is covered"


def test_what_the_line_and_the_band_are_is_said():
    assert "line: mean of 2 films; band: their middle half" in words(deletion_figure({"a": CURVES["by heat"]}))
    assert "line: mean of the films; band: their middle half" in words(deletion_figure(CURVES, mode="insertion"))


@pytest.mark.parametrize(
    ("curves", "mode", "message"),
    [
        ({}, "deletion", "curves must hold at least one order, got none"),
        (
            {"a": np.zeros(3)},
            "deletion",
            r"a: scores must be finite, \(N, n_steps \+ 1\) of a film or more, got \(3,\)",
        ),
        ({"a": np.full((2, 3), np.nan)}, "deletion", "a: scores must be finite"),
        (CURVES, "deletoin", r"unknown mode 'deletoin' \(did you mean 'deletion'\?\)"),
    ],
)
def test_wrong_curves_are_refused(curves, mode, message):
    with pytest.raises(ValueError, match=message):
        deletion_figure(curves, mode=mode)

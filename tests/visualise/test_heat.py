import warnings

import numpy as np
import pytest
from matplotlib.colors import to_hex
from seen_figures import assert_nothing_leaves, words

from fewshot_cxr.visualise import THEMES, HeatTile, heat_figure, heat_sheet_figure

SIDE = 16
FILM = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE).astype(np.uint8)
PATCH = np.zeros((SIDE, SIDE), dtype=np.float32)
PATCH[4:8, 4:8] = 0.02
LUNGS = PATCH > 0
LOWEST = "\N{MINUS SIGN}100 %"
EVERYWHERE = "the same\neverywhere"
FLAT = np.zeros((SIDE, SIDE), dtype=np.float32)


def layer(axes, place):
    """The pixels of an image of a panel, as RGBA 0..1."""
    return np.asarray(axes.images[place].get_array())


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_film_heat_and_overlay_stand_side_by_side(theme):
    figure = heat_figure(FILM, PATCH, title="effusion, distance 0.123", lungs=LUNGS, theme=theme)
    film, heat, overlay, bar = figure.axes
    assert {"film", "heat", "overlay", "effusion, distance 0.123", "0 %", "100 %"} <= set(words(figure))
    assert bar.get_xlabel() == "share of the largest heat of this film, 0.02"
    np.testing.assert_array_equal(layer(film, 0), FILM)
    np.testing.assert_array_equal(layer(overlay, 0), FILM)
    assert np.ptp(layer(heat, 0)[LUNGS], axis=0).max() == 0
    assert to_hex(figure.get_facecolor()) == THEMES[theme].paper
    assert_nothing_leaves(figure)


def test_a_film_is_untouched_where_there_is_no_heat_and_seen_where_there_is_most():
    opacity = layer(heat_figure(FILM, PATCH).axes[2], 1)[..., 3]
    assert (opacity[~LUNGS] == 0).all()
    assert (opacity[LUNGS] > 0.5).all()
    assert (opacity < 0.9).all()
    ramp = np.linspace(0, 1, SIDE, dtype=np.float32).repeat(SIDE).reshape(SIDE, SIDE)
    assert (np.diff(layer(heat_figure(FILM, ramp).axes[2], 1)[:, 0, 3]) > 0).all()


@pytest.mark.parametrize(("scale", "label"), [(1e-30, "2e-32"), (1e30, "2e+28")])
def test_the_unit_of_the_heat_changes_its_label_alone(scale, label):
    figure = heat_figure(FILM, PATCH.astype(np.float64) * scale)
    np.testing.assert_allclose(layer(figure.axes[1], 0), layer(heat_figure(FILM, PATCH).axes[1], 0))
    assert f"share of the largest heat of this film, {label}" in words(figure)


@pytest.mark.parametrize("is_signed", [False, True])
def test_heat_below_zero_is_drawn_on_a_scale_about_zero(is_signed):
    figure = heat_figure(FILM, -PATCH, is_signed=is_signed)
    assert {LOWEST, "0 %", "100 %"} <= set(words(figure))
    against, given = layer(figure.axes[1], 0), layer(heat_figure(FILM, PATCH, is_signed=True).axes[1], 0)
    np.testing.assert_array_equal(against[~LUNGS], given[~LUNGS])
    assert against[LUNGS][0, 2] > against[LUNGS][0, 0]  # blue
    assert given[LUNGS][0, 0] > given[LUNGS][0, 2]  # orange


def test_neither_sign_looks_stronger():
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float64).repeat(SIDE).reshape(SIDE, SIDE)
    light = layer(heat_figure(FILM, ramp).axes[1], 0)[:, 0, :3] @ (0.2126, 0.7152, 0.0722)
    np.testing.assert_allclose(light, light[::-1], atol=0.12)
    assert (np.diff(light[SIDE // 2 :]) > 0).all()


@pytest.mark.parametrize(("heat", "said"), [(FLAT, "no heat"), (FLAT + 3, EVERYWHERE), (FLAT - 3, EVERYWHERE)])
def test_flat_heat_is_said_in_words_and_tints_nothing(heat, said):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = heat_figure(FILM, heat)
    assert words(figure).count(said) == 2
    assert len(figure.axes[2].images) == 1
    assert said in words(heat_sheet_figure([HeatTile(FILM, heat, "a")]))


@pytest.mark.parametrize("lungs", [LUNGS & False, LUNGS | True])
def test_lungs_that_are_nowhere_or_everywhere_have_no_outline(lungs):
    figure = heat_figure(FILM, PATCH, lungs=lungs)
    assert not figure.axes[2].collections
    assert heat_figure(FILM, PATCH, lungs=LUNGS).axes[2].collections


@pytest.mark.parametrize(("n_tiles", "n_columns"), [(1, 4), (9, 4), (7, 2)])
def test_a_sheet_holds_every_film_with_its_caption(n_tiles, n_columns):
    tiles = [HeatTile(FILM, PATCH, f"film {place}", LUNGS if place else None) for place in range(n_tiles)]
    figure = heat_sheet_figure(tiles, title="effusion", n_columns=n_columns)
    assert [axes.get_xlabel() for axes in figure.axes[:n_tiles]] == [f"film {place}" for place in range(n_tiles)]
    assert [len(axes.images) for axes in figure.axes[:n_tiles]] == [2] * n_tiles
    assert_nothing_leaves(figure)


@pytest.mark.slow
def test_a_long_caption_is_broken_and_its_file_name_cut_in_the_middle():
    name = "5CBC2E94-D358-401E-8928-965CCD965C5C-and-more-of-it.jpg"
    tile = HeatTile(FILM, PATCH, f"{name}\ntruth peripheral_ground_glass, decision pneumonia, 0.123")
    figure = heat_sheet_figure([tile] * 8)
    caption = figure.axes[0].get_xlabel()
    assert caption.startswith("5CBC2E94-")
    assert "more-of-it.jpg" in caption.replace("\n", "")
    assert "…" in caption
    assert caption.endswith("0.123")
    assert_nothing_leaves(figure)


def test_one_film_below_zero_sets_the_scale_of_the_sheet():
    tiles = [HeatTile(FILM, PATCH, "a"), HeatTile(FILM, -PATCH, "b")]
    assert LOWEST in words(heat_sheet_figure(tiles))
    assert LOWEST not in words(heat_sheet_figure(tiles[:1]))


@pytest.mark.slow
def test_forty_eight_films_fit_a_sheet():
    assert_nothing_leaves(heat_sheet_figure([HeatTile(FILM, PATCH, "a film\nits finding, 0.123")] * 48))


@pytest.mark.parametrize(
    ("film", "heat", "lungs", "message"),
    [
        (FILM[:, :4], PATCH, None, r"heat: the heat must have the shape of its film, \(16, 4\), got \(16, 16\)"),
        (FILM / 2, PATCH, None, r"an image must be uint8 \(H, W\), got float64"),
        (FILM, PATCH * np.nan, None, "heat: the heat must be finite; look at the encoder"),
        (FILM, PATCH, PATCH, r"heat: lungs must be bool \(16, 16\), got float32 \(16, 16\)"),
        (FILM, PATCH, LUNGS[1:], r"heat: lungs must be bool \(16, 16\), got bool \(15, 16\)"),
    ],
)
def test_what_does_not_fit_is_refused(film, heat, lungs, message):
    with pytest.raises(ValueError, match=message):
        heat_figure(film, heat, lungs=lungs)
    with pytest.raises(ValueError, match=message.replace("heat: ", "tile 0: ", 1)):
        heat_sheet_figure([HeatTile(film, heat, "a", lungs)])


@pytest.mark.parametrize("n_tiles", [0, 49])
def test_a_sheet_of_too_few_or_many_is_refused(n_tiles):
    with pytest.raises(ValueError, match=rf"a sheet holds 1 to 48 films, got {n_tiles}; draw several sheets"):
        heat_sheet_figure([HeatTile(FILM, PATCH, "a")] * n_tiles)
    with pytest.raises(ValueError, match="n_columns must be at least 1, got 0"):
        heat_sheet_figure([HeatTile(FILM, PATCH, "a")], n_columns=0)

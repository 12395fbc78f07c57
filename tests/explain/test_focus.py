"""Shares of the heat, against masks counted by hand."""

import numpy as np
import pytest

from fewshot_cxr.explain.focus import area_shares, focus_shares, in_film_frame
from fewshot_cxr.image_spec import ImageSpec

SIDE = 32


def heat_of(n=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, SIDE, SIDE)).astype(np.float32)


def lungs_of(n=6, seed=1):
    return np.random.default_rng(seed).random((n, SIDE, SIDE)) < 0.3


def test_shares_are_those_of_a_slow_walk_over_the_pixels():
    heat, lungs = heat_of(), lungs_of()
    found = focus_shares(heat, lungs)
    assert list(found) == ["lungs", "border", "corners"]
    for row in range(len(heat)):
        sums = dict.fromkeys(found, 0.0)
        total = 0.0
        for down in range(SIDE):
            for across in range(SIDE):
                value = max(float(heat[row, down, across]), 0.0)
                to_edge = [min(place, SIDE - 1 - place) for place in (down, across)]
                total += value
                sums["lungs"] += value * lungs[row, down, across]
                sums["border"] += value * (min(to_edge) < SIDE / 8)
                sums["corners"] += value * (max(to_edge) < SIDE / 4)
        for name, values in found.items():
            assert values[row] == pytest.approx(sums[name] / total, rel=1e-5)


def test_scale_of_the_heat_and_what_speaks_against_change_nothing():
    heat, lungs = heat_of(), lungs_of()
    plain = focus_shares(heat, lungs)
    for changed in (heat * 1e6, heat * 1e-6, np.where(heat < 0, heat * 50, heat), np.maximum(heat, 0)):
        for name, values in focus_shares(changed, lungs).items():
            np.testing.assert_allclose(values, plain[name], rtol=1e-5)


def test_a_film_without_heat_or_mask_has_no_share():
    heat, lungs = heat_of(3), lungs_of(3)
    heat[1] = -1.0
    found = focus_shares(heat, lungs, has_lungs=np.array([True, True, False]))
    assert np.isnan(found["lungs"]).tolist() == [False, True, True]
    for name in ("border", "corners"):
        assert np.isnan(found[name]).tolist() == [False, True, False]


def test_without_masks_there_is_no_share_of_lungs():
    assert list(focus_shares(heat_of())) == ["border", "corners"]
    assert list(area_shares((6, SIDE, SIDE))) == ["border", "corners"]


def test_no_film_has_no_shares():
    assert all(values.shape == (0,) for values in focus_shares(heat_of(0), lungs_of(0)).values())


def test_flat_maps_have_the_share_of_the_area():
    lungs = lungs_of()
    found = area_shares((6, SIDE, SIDE), lungs, has_lungs=np.arange(6) < 5)
    np.testing.assert_allclose(found["border"], 1 - 0.75**2)
    np.testing.assert_allclose(found["corners"], 0.25)
    np.testing.assert_allclose(found["lungs"][:5], lungs[:5].mean(axis=(1, 2)))
    assert np.isnan(found["lungs"][5])


@pytest.mark.parametrize("border_crop", [0.05, 0.125, 0.2])
def test_chance_does_not_look_at_what_was_cut_off(border_crop):
    spec = ImageSpec(size_px=SIDE, border_crop=border_crop)
    area = area_shares((2, SIDE, SIDE), spec=spec)["border"]
    expected = max(0.0, 1 - (0.75 / (1 - 2 * border_crop)) ** 2)
    np.testing.assert_allclose(area, expected, atol=1e-5)
    flat = focus_shares(in_film_frame(np.ones((2, SIDE, SIDE), np.float32), spec))["border"]
    np.testing.assert_allclose(area, flat)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"heat": np.zeros((SIDE, SIDE))},
            r"heat must be finite numbers of shape \(N, S, S\), got float64 of \(32, 32\)",
        ),
        ({"heat": np.full((2, SIDE, SIDE), np.nan)}, "heat must be finite numbers"),
        ({"lungs": np.ones((2, SIDE, SIDE))}, r"lungs must be bool of the heat's shape \(2, 32, 32\), got float64 of"),
        ({"lungs": lungs_of(3)}, r"lungs must be bool of the heat's shape \(2, 32, 32\), got bool of \(3, 32, 32\)"),
        ({"has_lungs": np.array([True])}, "has_lungs must say True or False for each of 2 films and goes with lungs"),
        ({"lungs": None, "has_lungs": np.array([True, True])}, "goes with lungs only"),
    ],
)
def test_wrong_input_is_refused(changes, message):
    given = {"heat": heat_of(2), "lungs": lungs_of(2), "has_lungs": None, **changes}
    with pytest.raises(ValueError, match=message):
        focus_shares(given["heat"], given["lungs"], has_lungs=given["has_lungs"])

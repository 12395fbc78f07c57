"""Heat goes back to where it came from, and none is lost."""

import numpy as np
import pytest

from fewshot_cxr.data import to_square
from fewshot_cxr.explain.focus import film_frame_spec, in_film_frame
from fewshot_cxr.image_spec import ImageSpec

CROPS = (0.05, 0.1, 0.125, 0.25, 0.33)


def heat_of(n, size_px, seed=0):
    return np.random.default_rng(seed).normal(size=(n, size_px, size_px)).astype(np.float32)


def slowly(heat, border_crop):
    """Share out each pixel over those it covers, one pixel after the other."""
    size_px = len(heat)
    out, zoom = np.zeros((size_px, size_px)), 1 - 2 * border_crop

    def covered(place):
        low, high = (border_crop * size_px + zoom * edge for edge in (place, place + 1))
        for other in range(int(low), min(int(high), size_px - 1) + 1):
            yield other, max(0.0, min(high, other + 1) - max(low, other)) / zoom

    for row in range(size_px):
        for column in range(size_px):
            for down, share_down in covered(row):
                for across, share_across in covered(column):
                    out[down, across] += share_down * share_across * heat[row, column]
    return out


@pytest.mark.parametrize("border_crop", CROPS)
def test_each_pixel_is_shared_out_over_what_it_covers(border_crop):
    heat = heat_of(2, 17)
    found = in_film_frame(heat, ImageSpec(size_px=17, border_crop=border_crop))
    assert found.dtype == np.float32
    for own, expected in zip(found, heat, strict=True):
        np.testing.assert_allclose(own, slowly(expected, border_crop), atol=1e-5)


@pytest.mark.parametrize("border_crop", CROPS)
def test_total_stays_and_what_was_cut_off_has_none(border_crop):
    heat = np.abs(heat_of(3, 64))
    found = in_film_frame(heat, ImageSpec(size_px=64, border_crop=border_crop))
    np.testing.assert_allclose(found.sum(axis=(1, 2)), heat.sum(axis=(1, 2)), rtol=1e-5)
    cut = int(64 * border_crop)
    assert not found[:, :cut].any()
    assert not found[:, :, -cut:].any()


def test_without_a_border_crop_heat_is_as_it_was():
    heat = heat_of(2, 16)
    np.testing.assert_array_equal(in_film_frame(heat, ImageSpec(size_px=16, top_crop=0.1)), heat)


@pytest.mark.parametrize("spec", [ImageSpec(size_px=96, border_crop=0.15), ImageSpec(size_px=96, border_crop=0.2)])
def test_a_spot_comes_back_to_its_place_on_the_film(spec):
    # The heat is the film as the encoder sees it: what is bright there must be bright at the same place of the film.
    film = np.zeros((300, 200), np.uint8)
    film[120:140, 90:115] = 255
    seen = to_square(film, spec).astype(np.float32)[None]
    there = to_square(film, film_frame_spec(spec)).astype(float)
    back = in_film_frame(seen, spec)[0]
    for grid in np.mgrid[:96, :96]:
        centres = [(grid * picture).sum() / picture.sum() for picture in (back, there)]
        assert centres[0] == pytest.approx(centres[1], abs=0.15)


def test_film_frame_keeps_all_but_the_border_crop():
    spec = ImageSpec(size_px=32, border_crop=0.1, top_crop=0.08, equalise="clahe")
    assert film_frame_spec(spec) == ImageSpec(size_px=32, top_crop=0.08, equalise="clahe")


@pytest.mark.parametrize("shape", [(2, 16, 16), (32, 32)])
def test_heat_of_another_size_is_refused(shape):
    with pytest.raises(ValueError, match=r"heat must have the shape \(N, 32, 32\) of the encoder's images, got"):
        in_film_frame(np.zeros(shape), ImageSpec(size_px=32, border_crop=0.1))

"""What pixels alone tell of a film: empty, negative, like a frontal chest or not."""

import csv
import time
from dataclasses import astuple

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fewshot_cxr.data import read_gray, to_square
from fewshot_cxr.data.film_marks import film_marks, shrunk
from fewshot_cxr.image_spec import ImageSpec

SIZE_PX = 256


def chest(*, aside=0.0, size_px=SIZE_PX):
    """A chest as one draws it: two dark lungs, a bright spine between them and a bright belly, with some grain."""
    across, down = np.meshgrid(np.linspace(-1, 1, size_px) - aside, np.linspace(-1, 1, size_px))
    lungs = sum(np.exp(-(((across - side) / 0.25) ** 2) - ((down + 0.1) / 0.5) ** 2) for side in (-0.4, 0.4))
    gray = 150 - 110 * lungs + 40 * np.exp(-((across / 0.12) ** 2)) + 30 * np.clip(down, 0, 1)
    return (gray + np.random.default_rng(0).normal(0, 3, gray.shape)).clip(0, 255).astype(np.uint8)


def side_view():
    """One dark field in the middle of a body that leaves black margins on both sides."""
    across, down = np.meshgrid(np.linspace(-1, 1, SIZE_PX), np.linspace(-1, 1, SIZE_PX))
    field = np.exp(-((across / 0.35) ** 2) - ((down + 0.2) / 0.5) ** 2)
    gray = (170 - 110 * field + 40 * np.clip(down, 0, 1)) * (np.abs(across) < 0.7)
    return (gray + np.random.default_rng(0).normal(0, 3, gray.shape)).clip(0, 255).astype(np.uint8)


def page():
    """Lines of text on white."""
    sheet = Image.new("L", (SIZE_PX, SIZE_PX), 255)
    for line in range(16):
        ImageDraw.Draw(sheet).text((8, 16 * line), "None of this is a film of the chest.", fill=0)
    return np.asarray(sheet)


def test_a_chest_looks_frontal_and_others_do_not():
    assert film_marks(chest()).is_frontal
    assert not film_marks(side_view()).is_frontal
    assert not film_marks(page()).is_frontal
    assert film_marks(page()).is_strange
    noise = np.random.default_rng(1).integers(0, 256, (SIZE_PX, SIZE_PX), dtype=np.uint8)
    assert film_marks(noise).is_strange


def test_a_negative_is_told_and_its_marks_are_those_of_the_film_turned_over():
    film, negative = film_marks(chest()), film_marks(255 - chest())
    assert negative.is_inverted
    assert negative.is_frontal_negative
    assert not film.is_inverted
    assert not film.is_frontal_negative
    assert negative.chest == pytest.approx(-film.chest, abs=0.02)
    assert (negative.spine, negative.negative_spine) == pytest.approx((film.negative_spine, film.spine), abs=0.01)


def test_the_negative_of_what_is_no_film_is_no_inverted_film():
    assert not film_marks(255 - page()).is_frontal_negative
    assert not film_marks(page()).is_frontal_negative


@pytest.mark.parametrize("value", [0, 130, 255])
def test_one_gray_is_constant_and_nearly_empty_and_no_negative(value):
    marks = film_marks(np.full((40, 50), value, np.uint8))
    assert (marks.is_constant, marks.is_nearly_empty, marks.is_inverted) == (True, True, False)
    assert np.isfinite(astuple(marks)).all()


def test_a_small_film_in_a_large_frame_is_nearly_empty_but_not_constant():
    frame = np.full((300, 300), 3, np.uint8)
    frame[20:80, 20:80] = chest(size_px=60)
    marks = film_marks(frame)
    assert (marks.is_constant, marks.is_nearly_empty) == (False, True)
    assert not film_marks(255 - frame).is_inverted


def test_a_spine_a_little_aside_is_found():
    assert film_marks(chest(aside=0.1)).spine == pytest.approx(film_marks(chest()).spine, abs=0.05)


def test_size_contrast_and_padding_hardly_count():
    film = film_marks(chest())
    others = {
        "larger": chest(size_px=900),
        "darker": (chest() * 0.5 + 20).astype(np.uint8),
        "padded": np.pad(chest(), ((0, 0), (80, 50))),
    }
    for name, gray in others.items():
        assert film_marks(gray).frontal == pytest.approx(film.frontal, abs=0.12), name


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2), (64, 4000), (3000, 2500)])
def test_any_shape_gives_numbers(shape):
    gray = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.isfinite(astuple(film_marks(gray))).all()


def test_the_same_film_has_the_same_marks_wherever_it_lies_in_memory():
    film = chest()
    assert film_marks(np.asfortranarray(film)) == film_marks(film)
    assert film_marks(np.repeat(film, 2, axis=0)[::2]) == film_marks(film)


def test_other_arrays_are_refused():
    with pytest.raises(TypeError, match=r"^gray must be uint8, got float32; read_gray gives such films$"):
        film_marks(np.zeros((64, 64), np.float32))
    with pytest.raises(ValueError, match=r"^gray must have shape \(H, W\), got \(0, 3\); read_gray gives such films$"):
        film_marks(np.zeros((0, 3), np.uint8))


def test_it_takes_less_than_five_milliseconds():
    film, seconds = chest(size_px=320), []
    for _ in range(20):
        start = time.thread_time()
        film_marks(film)
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.005


@pytest.mark.parametrize("crop", ["none", "square"])
def test_frontal_films_are_told_from_side_views(fscxr_data, crop):
    folder = fscxr_data / "cxr_ieee8023"
    found = {True: [], False: []}
    with (folder / "metadata.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            gray = read_gray(folder / row["file"])
            marks = film_marks(gray if crop == "none" else to_square(gray, ImageSpec(size_px=256)))
            found[row["view"] == "L"].append(marks.is_frontal)
    assert np.mean(found[False]) > 0.95
    assert not any(found[True])


def test_a_film_is_shrunk_by_whole_blocks_until_it_fits():
    film = np.random.default_rng(0).integers(0, 256, (40, 24), dtype=np.uint8)
    same, factor = shrunk(film, 40)
    assert same is film
    assert factor == 1
    smaller, factor = shrunk(film.T, 10)  # of any layout
    assert factor == 4
    means = film.T.reshape(6, 4, 10, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(smaller, means, atol=0.51)

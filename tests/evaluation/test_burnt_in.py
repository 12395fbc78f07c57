"""Burnt-in text on synthetic films with drawn markers, and on films without any."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from fewshot_cxr.data.synthetic import SCANNERS, SYNTHETIC_FINDINGS, draw_film
from fewshot_cxr.evaluation.audit.burnt_in import Box, _calmed, _extreme, burnt_in_text

N_FILMS, SIZE_PX = 60, 256
TEXTS = ("R", "L", "PA", "AP", "PORTABLE", "12.03.2020", "ERECT 10:42", "L 2")


@pytest.fixture(scope="module")
def clean_films():
    """Films without the marker that every synthetic scanner puts on one side."""
    films = []
    with pytest.MonkeyPatch.context() as patch:
        for number in range(N_FILMS):
            finding = SYNTHETIC_FINDINGS[number % len(SYNTHETIC_FINDINGS)]
            source = sorted(SCANNERS)[number // len(SYNTHETIC_FINDINGS) % len(SCANNERS)]
            halves = []
            for letter in "LR":
                # The letter is drawn last: of two films that differ in nothing else, each has one half without it.
                patch.setattr("fewshot_cxr.data.synthetic.films.draw_marker", lambda *_, letter=letter: letter)
                halves.append(draw_film(finding, seed=11, patient=number, film=0, source=source, size_px=SIZE_PX))
            films.append(np.where(np.arange(SIZE_PX) < SIZE_PX // 2, *halves))
    return films


def write(film, text, *, height_px, top, left, gray):
    """Write text with its upper left corner at (top, left)."""
    marked = Image.fromarray(film)
    ImageDraw.Draw(marked).text((left, top), text, fill=gray, font=ImageFont.load_default(height_px), anchor="lt")
    return np.asarray(marked)


def write_somewhere(film, number):
    """Write one of the texts above one of the shoulders, at least 60 grays brighter than what lies under it."""
    draw = np.random.default_rng([11, number])
    text = TEXTS[number % len(TEXTS)]
    height_px = int(draw.integers(9, 20 if len(text) < 3 else 12))
    width_px = int(ImageFont.load_default(height_px).getlength(text))
    top, left = int(draw.integers(6, 36)), int(draw.choice([8, SIZE_PX - 8 - width_px]))
    under = np.percentile(film[top : top + height_px, left : left + width_px], 90)
    gray = int(draw.integers(int(min(195, under)) + 60, 256))
    return write(film, text, height_px=height_px, top=top, left=left, gray=gray)


@pytest.mark.slow
def test_most_drawn_markers_are_found(clean_films):
    found = [bool(burnt_in_text(write_somewhere(film, number))) for number, film in enumerate(clean_films)]
    assert np.mean(found) >= 0.90


def test_few_films_without_a_marker_are_accused(clean_films):
    accused = [bool(burnt_in_text(film)) for film in clean_films]
    assert np.mean(accused) <= 0.05


def test_the_markers_of_the_synthetic_scanners_are_found():
    films = [
        draw_film("normal", seed=5, patient=patient, film=0, source=source)
        for source in SCANNERS
        for patient in range(5)
    ]
    assert np.mean([bool(burnt_in_text(film)) for film in films]) >= 0.90


@pytest.fixture
def plain_film():
    """No anatomy: a slope from 40 to 120."""
    return np.tile(np.linspace(40, 120, 256).astype(np.uint8), (256, 1))


@pytest.mark.parametrize("gray", [0, 255], ids=["dark", "bright"])
@pytest.mark.parametrize("size_px", [256, 1000])
def test_a_letter_gets_its_box(gray, size_px):
    film = np.full((size_px, size_px), 130, np.uint8)
    height_px = size_px // 12
    marked = write(film, "R", height_px=height_px, top=size_px // 10, left=size_px // 20, gray=gray)
    rows, columns = np.nonzero(marked != film)
    drawn = Box(rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1)
    (found,) = burnt_in_text(marked)
    assert found == pytest.approx(drawn, abs=1 + 2 * size_px / 512)
    assert all(type(length) is int for length in found)


def test_faint_letters_count_only_in_a_row(plain_film):
    def faint(text):
        return burnt_in_text(write(plain_film, text, height_px=16, top=10, left=10, gray=92))

    assert faint("L") == ()
    assert len(faint("LLL")) == 3


def test_brightness_and_contrast_do_not_count(plain_film):
    marked = write(plain_film, "PA 12", height_px=16, top=10, left=10, gray=160)
    assert burnt_in_text(marked + np.uint8(60)) == burnt_in_text(marked)
    assert len(burnt_in_text((marked * 1.3).astype(np.uint8))) == len(burnt_in_text(marked))


def test_boxes_move_with_the_text(plain_film):
    film = np.full_like(plain_film, 90)
    here = burnt_in_text(write(film, "AP", height_px=18, top=10, left=12, gray=220))
    there = burnt_in_text(write(film, "AP", height_px=18, top=17, left=15, gray=220))
    assert there == tuple(box._replace(top=box.top + 7, left=box.left + 3) for box in here)
    assert len(here) == 2


def test_what_lies_over_the_lungs_is_not_looked_for(plain_film):
    assert burnt_in_text(write(plain_film, "R", height_px=20, top=120, left=80, gray=255)) == ()


@pytest.mark.parametrize("shape", [(64, 64), (64, 4000), (4000, 64), (1, 1), (7, 300)])
def test_any_shape_will_do(shape):
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert isinstance(burnt_in_text(noise), tuple)
    assert burnt_in_text(np.zeros(shape, np.uint8)) == ()


def test_frames_lines_and_blocks_are_no_letters():
    film = np.full((256, 256), 90, np.uint8)
    film[:6] = film[:, -9:] = 255
    film[20:22, 10:200] = film[30:200, 240:242] = 220
    film[230:240, 20:32] = 220
    assert burnt_in_text(film) == ()


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (31, 4), (40, 57)])
def test_its_filters_are_those_of_scipy(shape):
    film = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(_calmed(_calmed(film.T).T), ndimage.uniform_filter(film, 3, mode="nearest"))
    for width_px in (3, 6, 9):
        least = ndimage.minimum_filter(film, width_px, mode="nearest")
        most = ndimage.maximum_filter(film, width_px, mode="nearest", origin=width_px % 2 - 1)
        assert np.array_equal(_extreme(film, width_px, np.minimum), least)
        assert np.array_equal(_extreme(film, width_px, np.maximum), most)

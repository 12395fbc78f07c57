"""What is wrong with a single film: constant, nearly empty, inverted, with burnt-in text."""

import numpy as np
import pytest
from PIL import Image

from fewshot_cxr.data import read_gray
from fewshot_cxr.data.film_marks import chest_likeness
from fewshot_cxr.data.synthetic import SCANNERS, SYNTHETIC_FINDINGS, draw_film
from fewshot_cxr.evaluation.audit.film_pass import film_faults


@pytest.fixture(scope="module")
def films():
    """One film of each finding from each scanner."""
    return [
        draw_film(finding, seed=3, patient=number, film=0, source=source, size_px=192)
        for number, finding in enumerate(SYNTHETIC_FINDINGS)
        for source in SCANNERS
    ]


@pytest.fixture
def unmarked(films):
    """A good film: its upper corners, where the scanner's marker is, painted over."""
    film = films[0].copy()
    film[:64, :48] = film[:64, -48:] = film[2, 2]
    return film


def test_a_good_film_has_no_marks(unmarked):
    assert film_faults(unmarked) == ()


@pytest.mark.parametrize("value", [0, 130, 255])
def test_a_plain_film_is_constant_and_nothing_else(value):
    assert film_faults(np.full((300, 200), value, np.uint8)) == ("constant",)


def test_a_plain_film_saved_as_jpeg_is_still_constant():
    grain = np.random.default_rng(0).integers(-2, 3, (256, 256))
    assert film_faults((100 + grain).astype(np.uint8)) == ("constant",)


def test_a_frame_with_a_thin_rest_is_nearly_empty(films):
    frame = np.full((256, 256), 3, np.uint8)
    frame[40:88, 60:108] = np.asarray(Image.fromarray(films[0]).resize((48, 48)))
    assert film_faults(frame)[0] == "nearly_empty"
    assert "inverted" not in film_faults(255 - frame)


def test_negatives_are_inverted_and_positives_are_not(films):
    assert not [number for number, film in enumerate(films) if "inverted" in film_faults(film)]
    assert not [number for number, film in enumerate(films) if "inverted" not in film_faults(255 - film)]


def test_the_negative_of_a_film_has_the_likeness_with_the_other_sign(films):
    for film in films:
        assert chest_likeness(255 - film) == pytest.approx(-chest_likeness(film), abs=0.02)


def test_brightness_contrast_size_and_padding_do_not_count(films):
    film = films[0]
    likeness = chest_likeness(film)
    assert chest_likeness((film * 0.4 + 30).astype(np.uint8)) == pytest.approx(likeness, abs=0.02)
    assert chest_likeness(film.repeat(3, axis=0).repeat(3, axis=1)) == pytest.approx(likeness, abs=0.02)
    for gray in (0, 255):
        padded = np.pad(film, ((0, 0), (80, 50)), constant_values=gray)
        assert chest_likeness(padded) == pytest.approx(likeness, abs=0.02)


def test_marks_come_in_one_order(films):
    marks = film_faults(255 - films[0])
    assert marks == ("inverted", "burnt_in_text")


@pytest.mark.parametrize("shape", [(64, 64), (3000, 2500), (64, 4000)])
def test_any_shape_will_do(shape):
    slope = np.linspace(0, 255, shape[1]).astype(np.uint8)
    assert "constant" not in film_faults(np.tile(slope, (shape[0], 1)))


def test_other_arrays_are_refused():
    with pytest.raises(TypeError, match=r"^gray must be uint8, got float32; read_gray gives such films$"):
        film_faults(np.zeros((64, 64), np.float32))
    with pytest.raises(
        ValueError, match=r"^gray must have shape \(H, W\), got \(64, 64, 3\); read_gray gives such films$"
    ):
        film_faults(np.zeros((64, 64, 3), np.uint8))


def test_real_films_with_faults_are_named(fscxr_data):
    mess = fscxr_data / "layouts" / "mess"
    assert film_faults(read_gray(mess / "all_black.png")) == ("constant",)
    assert "inverted" in film_faults(read_gray(mess / "inverted.png"))
    assert "inverted" not in film_faults(read_gray(mess / "reference_gray.png"))


def test_real_films_are_seldom_called_inverted_and_their_negatives_nearly_always(fscxr_data):
    paths = (
        sorted((fscxr_data / "cxr3").rglob("*.jpg"))[::7] + sorted((fscxr_data / "cxr_ieee8023").rglob("*.jpg"))[::7]
    )
    films = [read_gray(path) for path in paths]
    assert len(films) > 150
    assert np.mean(["inverted" in film_faults(film) for film in films]) <= 0.02
    assert np.mean(["inverted" in film_faults(255 - film) for film in films]) >= 0.90

import base64
import io
from functools import partial

import numpy as np
import pytest
from PIL import Image

from fewshot_cxr.report.pictures import Picture, data_uri, figure_jpeg, figure_png
from fewshot_cxr.visualise import sample_grid_figure

FILMS = {"normal": list(np.random.default_rng(3).integers(0, 255, (4, 128, 128)).astype(np.uint8))}
DRAW = partial(sample_grid_figure, FILMS)


def opened(image):
    return Image.open(io.BytesIO(image))


def test_films_drawn_once_as_jpeg_are_small():
    twice = Picture.drawn(DRAW, alt="films")
    once = Picture.drawn(DRAW, alt="films", themes=("dark",), form="jpeg")
    assert once.dark_image is None
    assert (opened(once.image).format, opened(twice.image).format) == ("JPEG", "PNG")
    assert once.size_px == twice.size_px
    assert len(once.image) < 0.4 * (len(twice.image) + len(twice.dark_image))
    assert opened(once.image).convert("L").getpixel((1, 1)) < 40  # the dark theme was drawn


def test_a_jpeg_looks_like_its_figure():
    figure = DRAW()
    images = (opened(image).convert("L") for image in (figure_png(figure), figure_jpeg(figure)))
    one, other = (np.asarray(image, dtype=int) for image in images)
    assert one.shape == other.shape
    assert np.abs(one - other).mean() < 8
    assert figure_jpeg(figure) == figure_jpeg(figure)
    assert len(figure_jpeg(figure, quality=50)) < len(figure_jpeg(figure))


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_the_address_says_what_the_bytes_are(form):
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, format=form)
    head, encoded = data_uri(buffer.getvalue()).split(",")
    assert head == f"data:image/{form};base64"
    assert base64.b64decode(encoded) == buffer.getvalue()


def test_wrong_pictures_are_refused():
    with pytest.raises(ValueError, match=r"a picture of a page is PNG or JPEG, got bytes that start with b'GIF8'"):
        data_uri(b"GIF89a")
    with pytest.raises(ValueError, match=r"unknown form of a picture 'jpg' \(did you mean 'jpeg'\?\)"):
        Picture.drawn(DRAW, alt="films", form="jpg")
    with pytest.raises(ValueError, match=r"a picture has one theme or two \(a light one, a dark one\), got \(\)"):
        Picture.drawn(DRAW, alt="films", themes=())

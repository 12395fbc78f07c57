import numpy as np
import pytest
from PIL import Image

from fewshot_cxr.data import to_square
from fewshot_cxr.image_spec import ImageSpec


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (50, 41), (1, 7), (64, 64)])
@pytest.mark.parametrize("crop", ["square", "none"])
def test_shape_and_dtype(shape, crop):
    film = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    square = to_square(film, ImageSpec(size_px=64, crop=crop))
    assert square.shape == (64, 64)
    assert square.dtype == np.uint8


def test_right_size_is_left_alone():
    film = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    assert np.array_equal(to_square(film, ImageSpec(size_px=64)), film)


def test_crop_keeps_the_centre_only():
    film = np.zeros((100, 200), dtype=np.uint8)
    film[:, 50:150] = 200
    # The filter of the outermost column reaches beyond the crop.
    assert (to_square(film, ImageSpec(size_px=32))[:, 1:-1] == 200).all()
    assert (to_square(film, ImageSpec(size_px=32, crop="none")) == 0).any()


def test_shrinking_averages_and_does_not_alias():
    film = np.indices((512, 512)).sum(axis=0) % 2 * np.uint8(200)
    assert np.abs(to_square(film.astype(np.uint8), ImageSpec(size_px=64)).astype(int) - 100)[2:-2, 2:-2].max() <= 2


def test_near_an_area_average_on_a_smooth_film():
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)).resize((512, 512))
    film = np.asarray(smooth)
    area = film.reshape(64, 8, 64, 8).mean(axis=(1, 3))
    assert np.abs(to_square(film, ImageSpec(size_px=64)) - area).mean() < 1


@pytest.mark.parametrize("image", [np.zeros((9, 9)), np.zeros((9, 9, 3), np.uint8), np.zeros((0, 9), np.uint8)])
def test_only_gray_films_of_8_bits(image):
    with pytest.raises(ValueError, match=r"image must be uint8 of shape \(H, W\), got"):
        to_square(image, ImageSpec(size_px=8))

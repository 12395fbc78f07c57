import sys

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


def ramp(height=224, width=224):
    """Each row holds its own number: a gray value is a place."""
    return np.tile(np.arange(height, dtype=np.uint8)[:, None], (1, width))


@pytest.mark.parametrize(("border_crop", "n_pixels"), [(20.5 / 224, 0.5), (20 / 224, 1.0)])
@pytest.mark.parametrize("is_turned", [False, True])
def test_border_crop_is_the_published_one(border_crop, n_pixels, is_turned):
    film = ramp().T if is_turned else ramp()
    cut = film[20:-21, 20:-21].astype(float)  # 183 pixels a side, then enlarged to 224: bilinear, here by hand
    line = cut[0] if is_turned else cut[:, 0]
    published = np.interp((np.arange(224) + 0.5) * 183 / 224 - 0.5, np.arange(183), line)
    made = to_square(film, ImageSpec(border_crop=border_crop))
    made = made[0] if is_turned else made[:, 0]
    assert np.abs(made - published).max() <= n_pixels + 0.5  # half a gray level, rounded


@pytest.mark.parametrize("share", [0.08, 1 / 6])
def test_top_crop_comes_before_the_centre_square(share):
    film = ramp(240, 200)
    kept = to_square(film, ImageSpec(size_px=200, top_crop=share))[:, 0].astype(float)
    height = 240 * (1 - share)
    side = min(200, height)  # 8 % leaves 220.8 rows, 1/6 leaves 200
    first = 240 * share + (height - side) / 2
    assert np.abs(kept - (first + (np.arange(200) + 0.5) * side / 200 - 0.5))[1:-1].max() <= 0.51


def test_all_crops_at_once_are_those_of_whole_pixels():
    film = np.random.default_rng(0).integers(0, 256, (400, 320), dtype=np.uint8)
    spec = ImageSpec(size_px=64, top_crop=0.05, crop="none", border_crop=0.1)
    whole = Image.fromarray(film[20 + 38 : 400 - 38, 32 : 320 - 32]).resize((64, 64), Image.Resampling.BILINEAR)
    assert np.abs(to_square(film, spec)[2:-2, 2:-2].astype(int) - np.asarray(whole)[2:-2, 2:-2]).max() <= 1


@pytest.mark.parametrize("shape", [(300, 201), (64, 64)])
@pytest.mark.parametrize("crop", ["square", "none"])
def test_without_options_the_pixels_are_as_ever(shape, crop):
    film = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    height, width = shape
    side = min(shape)
    box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    before = Image.fromarray(film).resize((64, 64), Image.Resampling.BILINEAR, box=box if crop == "square" else None)
    assert np.array_equal(to_square(film, ImageSpec(size_px=64, crop=crop)), np.asarray(before))


def test_the_smallest_film_under_the_largest_crops():
    film = np.full((1, 1), 7, dtype=np.uint8)
    assert (to_square(film, ImageSpec(size_px=8, top_crop=0.49, border_crop=0.49)) == 7).all()


def local_contrast(film, n_tiles=8):
    side = len(film) // n_tiles
    return film.reshape(n_tiles, side, n_tiles, side).std(axis=(1, 3)).mean()


def test_clahe_raises_local_contrast_and_adds_none_to_a_flat_film():
    pytest.importorskip("cv2", reason="needs fewshot_cxr[clahe]")
    soft = Image.fromarray(np.random.default_rng(0).integers(100, 140, (32, 32), dtype=np.uint8)).resize((128, 128))
    film, spec = np.asarray(soft), ImageSpec(size_px=128, equalise="clahe")
    assert local_contrast(to_square(film, spec)) > 1.5 * local_contrast(film)
    assert np.ptp(to_square(np.full((128, 128), 90, dtype=np.uint8), spec)) == 0


@pytest.mark.parametrize("size_px", [96, 90])  # 90 is no multiple of 4 tiles
def test_clahe_is_opencvs_after_the_resize(size_px):
    cv2 = pytest.importorskip("cv2", reason="needs fewshot_cxr[clahe]")
    film = np.random.default_rng(2).integers(0, 256, (150, 130), dtype=np.uint8)
    plain = to_square(film, ImageSpec(size_px=size_px))
    by_hand = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 4)).apply(plain)
    made = to_square(film, ImageSpec(size_px=size_px, equalise="clahe"))
    assert made.dtype == np.uint8
    assert np.array_equal(made, by_hand)


def test_clahe_without_opencv_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"^equalise='clahe' needs OpenCV: pip install fewshot_cxr\[clahe\]$"):
        to_square(ramp(), ImageSpec(equalise="clahe"))

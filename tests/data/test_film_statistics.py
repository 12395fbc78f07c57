"""Mean and spread of the training films, against NumPy on all of them at once."""

import numpy as np
import pytest
from PIL import Image

from fewshot_cxr.data import cache_films, film_statistics, statistics
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import Record, Records


def cached(folder, films):
    for number, film in enumerate(films):
        Image.fromarray(film).save(folder / f"{number}.png")
    records = Records(tuple(Record(f"{number}.png", ("a",)) for number in range(len(films))), folder)
    return cache_films(records, ImageSpec(size_px=films.shape[1]), folder=folder / "cache", n_workers=1)


@pytest.fixture
def films():
    films = np.random.default_rng(0).integers(0, 256, (21, 16, 16), dtype=np.uint8)
    films[:, 0, :] = 0  # black on every film
    return films


def test_as_numpy_finds_them(tmp_path, films):
    found = film_statistics(cached(tmp_path, films))
    scaled = films / 255
    assert found.mean == pytest.approx(scaled.mean(), rel=1e-12)
    assert found.std == pytest.approx(scaled.std(ddof=1), rel=1e-12)
    assert found.pixel_mean.dtype == found.pixel_std.dtype == np.float32
    np.testing.assert_allclose(found.pixel_mean, scaled.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.pixel_std[1:], scaled.std(axis=0, ddof=1)[1:], rtol=1e-6)


def test_a_pixel_that_never_changes_does_not_divide_by_nothing(tmp_path, films):
    found = film_statistics(cached(tmp_path, films))
    assert (found.pixel_std[0] == np.float32(1 / 255)).all()
    assert np.isfinite((films / 255 - found.pixel_mean) / found.pixel_std).all()


def test_nothing_cancels_on_bright_films_that_hardly_differ(tmp_path):
    films = np.full((9, 8, 8), 254, dtype=np.uint8)
    films[::2] = 255
    found = film_statistics(cached(tmp_path, films))
    assert found.std == pytest.approx((films / 255).std(ddof=1), rel=1e-9)


def test_a_few_films_at_a_time(tmp_path, films, monkeypatch):
    decoded = cached(tmp_path, films)
    whole = film_statistics(decoded)
    monkeypatch.setattr(statistics, "_CHUNK_PIXELS", 5 * 16 * 16 + 7)
    gathered, told = [], []
    rows = type(decoded).rows
    monkeypatch.setattr(type(decoded), "rows", lambda self, which: gathered.append(len(which)) or rows(self, which))
    parts = film_statistics(decoded, progress=lambda *counts: told.append(counts))
    assert gathered == [5, 5, 5, 5, 1]  # memory does not grow with the films
    assert told == [(5, 21), (10, 21), (15, 21), (20, 21), (21, 21)]
    assert (parts.mean, parts.std) == (whole.mean, whole.std)
    assert np.array_equal(parts.pixel_mean, whole.pixel_mean)
    assert np.array_equal(parts.pixel_std, whole.pixel_std)


def test_one_film_has_no_spread(tmp_path, films):
    with pytest.raises(ValueError, match="^the number of films to measure must be at least 2, got 1$"):
        film_statistics(cached(tmp_path, films[:1]))

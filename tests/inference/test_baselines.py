from dataclasses import replace

import numpy as np
import pytest

from fewshot_cxr.data import cache_films
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.evaluation import evaluate_episodes
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import embed_baselines, embed_border, embed_pixels, embed_source
from fewshot_cxr.records import Records


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    made = make_synthetic(tmp_path_factory.mktemp("films"), n_patients=8, findings=("normal", "effusion"), size_px=48)
    return cache_films(made, ImageSpec(size_px=32))


def with_sources(films, sources):
    rows = [replace(film, source=source) for film, source in zip(films.records, sources, strict=True)]
    return replace(films, records=Records(tuple(rows), films.records.root))


def test_pixels_are_the_films_and_the_border_their_outer_eighth(films):
    pixels, border = embed_pixels(films), embed_border(films)
    np.testing.assert_allclose(
        pixels.vectors, films.rows(np.arange(len(films))).reshape(len(films), -1) / 255, atol=1e-6
    )
    square = pixels.vectors.reshape(-1, 32, 32).copy()
    assert border.vectors.shape == (len(films), 32 * 32 - 24 * 24)
    inside = square[:, 4:-4, 4:-4].sum(axis=(1, 2))
    np.testing.assert_allclose(border.vectors.sum(axis=1), square.sum(axis=(1, 2)) - inside, rtol=1e-4)


def test_facts_are_those_of_the_films(films):
    for floor in (embed_pixels(films, side_px=8), embed_border(films, side_px=8)):
        assert floor.paths == tuple(film.path for film in films.records)
        assert [floor.class_names[index] for index in floor.class_ids] == [film.finding for film in films.records]
    assert embed_pixels(films, side_px=8).vectors.shape == (len(films), 64)


def test_source_is_one_where_the_film_is_from_it(films):
    names = ["B", "A", None, "A"] + ["B"] * (len(films) - 4)
    source = embed_source(with_sources(films, names))
    np.testing.assert_array_equal(source.vectors[:4], [[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 0]])
    assert source.vectors.sum() == len(films)


def test_source_is_left_out_where_none_is_stated(films):
    unstated = with_sources(films, [None] * len(films))
    assert embed_source(unstated) is None
    assert embed_baselines(unstated).keys() == {"pixels", "border"}
    stated = with_sources(films, ["A", "B"] * (len(films) // 2) + ["A"] * (len(films) % 2))
    assert embed_baselines(stated).keys() == {"pixels", "border", "source"}


def test_floors_are_of_the_films_that_are_evaluated(films):
    pixels = embed_pixels(films)
    asked = {"n_shot": 2, "n_query": 1, "n_episodes": 20, "patient_interval": False}
    result = evaluate_episodes(pixels, baselines=embed_baselines(films), rule="prototype", **asked)
    assert result.baselines["pixels"].mean == result.accuracy.mean
    assert result.above_baselines["pixels"].mean == 0
    assert set(result.baselines) == set(embed_baselines(films))

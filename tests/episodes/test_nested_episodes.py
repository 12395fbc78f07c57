"""Episodes of several shots that are part of each other: the same queries, the supports nested."""

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes
from fewshot_cxr.evaluation.episodic.plan import draw_again

SHOTS = (1, 2, 5, 10)


def make_films(n_patients, n_films_each, seed=0):
    draw = np.random.default_rng(seed)
    class_ids, patients = [], []
    for class_id in range(3):
        for patient in range(n_patients):
            n_films = 1 + patient % n_films_each
            class_ids += [class_id] * n_films
            patients += [f"{class_id}-{patient}"] * n_films
    order = draw.permutation(len(class_ids))
    paths = [f"{row}.png" for row in range(len(class_ids))]
    return Embeddings(
        draw.normal(size=(len(order), 2)), np.array(class_ids)[order], np.array(patients)[order], paths=paths
    )


# Many patients each (drawn by candidates), few (put in order), and so few that some give two films of a support.
WORLDS = [(200, 1), (200, 3), (16, 1), (16, 3), (9, 3)]


@pytest.mark.parametrize("world", WORLDS)
def test_supports_are_part_of_each_other_and_queries_the_same(world):
    films = make_films(*world)
    largest = Episodes.draw(films, n_shot=10, n_query=4, n_episodes=50).block(0, 50)
    for n_shot in SHOTS:
        episodes = Episodes.draw(films, n_shot=n_shot, n_query=4, n_episodes=50, nested_in=10)
        block = episodes.block(0, 50)
        assert block.support.shape == (50, 3, n_shot)
        assert np.array_equal(block.support, largest.support[:, :, :n_shot])
        assert np.array_equal(block.query, largest.query)
        (part,) = block.parts()
        assert part.support.shape == (50, 3 * n_shot)


def test_each_patient_is_the_one_shot_as_often_as_any_other():
    films = make_films(20, 1)
    block = Episodes.draw(films, n_shot=1, n_query=4, n_episodes=4000, nested_in=10).block(0, 4000)
    counts = np.bincount(films.patient_ids[block.support[:, 0, 0]], minlength=60)
    counts = counts[counts > 0]
    assert len(counts) == 20
    assert ((counts - 200) ** 2 / 200).sum() < 44  # chi-squared of 19 degrees, 0.1 %


def test_nested_episodes_are_drawn_again_from_what_they_say():
    films = make_films(16, 2)
    episodes = Episodes.draw(films, n_shot=2, n_query=4, n_episodes=20, nested_in=5)
    told = episodes.to_json()
    assert told["nested_in"] == 5
    assert draw_again(films, told).hash == episodes.hash
    plain = Episodes.draw(films, n_shot=2, n_query=4, n_episodes=20)
    assert "nested_in" not in plain.to_json()
    assert plain.hash != episodes.hash


def test_what_cannot_be_nested_is_refused():
    films = make_films(16, 2)
    with pytest.raises(ValueError, match="nested_in is 5, and n_shot 6"):
        Episodes.draw(films, n_shot=6, n_query=4, nested_in=5)
    with pytest.raises(ValueError, match="one number of shots for all classes"):
        Episodes.draw(films, n_shot={"0": 1, "1": 2, "2": 1}, n_query=4, nested_in=5)
    with pytest.raises(ValueError, match="15-shot"):
        Episodes.draw(films, n_shot=2, n_query=10, nested_in=15)

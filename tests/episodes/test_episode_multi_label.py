"""Films with several findings: drawn for any of them, for one alone in an episode."""

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes

NAMES = [f"finding {c}" for c in range(6)]


def make_films(n=400, n_patients=250, prevalence=0.3, seed=0):
    draw = np.random.default_rng(seed)
    table = (draw.random((n, len(NAMES))) < prevalence).astype(float)
    table[draw.random(table.shape) < 0.1] = np.nan
    return Embeddings(
        np.zeros((n, 1)), table, draw.integers(0, n_patients, n), NAMES, paths=[f"{i}.png" for i in range(n)]
    )


WORLDS = [
    {"n": 120, "n_patients": 100},
    {"n": 400, "n_patients": 250},
    {"n": 3000, "n_patients": 2500, "prevalence": 0.1},
    {"n": 3000, "n_patients": 3000, "prevalence": 0.5},
]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("shape", [(3, 3, 4), (6, 1, 2), (4, 2, 3)])
def test_films_have_their_finding_and_are_used_once(world, shape):
    n_way, n_shot, n_query = shape
    films = make_films(**world)
    episodes = Episodes.draw(films, n_way=n_way, n_shot=n_shot, n_query=n_query, n_episodes=150)
    block = episodes.block(0, 150)
    assert (films.class_ids[block.support, block.class_ids[:, :, None]] == 1).all()
    assert (films.class_ids[block.query, block.class_ids[:, :, None]] == 1).all()
    for e in range(len(block)):
        every = np.concatenate([block.support[e].ravel(), block.query[e].ravel()])
        assert len(set(every.tolist())) == len(every)
        given = set(films.patient_ids[block.support[e]].ravel().tolist())
        assert not given & set(films.patient_ids[block.query[e]].ravel().tolist())
        if block.outside is not None:
            assert not (films.class_ids[block.outside[e]][:, block.class_ids[e]] == 1).any()
            assert not given & set(films.patient_ids[block.outside[e]].tolist())


@pytest.mark.parametrize("world", WORLDS)
def test_neither_blocks_nor_row_order_nor_order_of_findings_matter(world):
    films = make_films(**world)
    draw = np.random.default_rng(1)
    order, columns = draw.permutation(len(films)), draw.permutation(len(NAMES))
    shuffled = Embeddings(
        films.vectors,
        films.class_ids[order][:, columns],
        [f"p{films.patient_ids[row]}" for row in order],
        [NAMES[c] for c in columns],
        paths=[films.paths[row] for row in order],
    )
    settings = {"n_way": 4, "n_shot": 2, "n_query": 3, "n_episodes": 60}
    first, second = (Episodes.draw(some, **settings) for some in (films, shuffled))
    assert first.hash == second.hash
    one, two = first.block(0, 60), second.block(0, 60)
    for e in range(60):
        expected = {NAMES[c]: one.query[e, way].tolist() for way, c in enumerate(one.class_ids[e])}
        for way, c in enumerate(two.class_ids[e]):
            assert order[two.query[e, way]].tolist() == expected[NAMES[columns[c]]]
    assert np.array_equal(np.concatenate([block.query for block in first.blocks(7)]), one.query)
    if one.outside is not None:
        assert np.array_equal(order[two.outside], one.outside)


def test_one_finding_each_is_drawn_as_the_plain_case_is_judged():
    films = make_films()
    once = np.eye(len(NAMES))[np.arange(400) % 6]
    table = Embeddings(films.vectors, once, films.patient_ids, NAMES, paths=films.paths)
    block = Episodes.draw(table, n_shot=2, n_query=5, n_episodes=30).block(0, 30)
    assert (block.support % 6 == np.arange(6)[:, None]).all()
    assert (block.query % 6 == np.arange(6)[:, None]).all()


def test_the_hash_sees_a_finding_that_was_added():
    films = make_films()
    table = films.class_ids.copy()
    row, column = np.argwhere(table == 0)[0]
    table[row, column] = 1
    changed = Embeddings(films.vectors, table, films.patient_ids, NAMES, paths=films.paths)
    assert Episodes.draw(films, n_query=5).hash != Episodes.draw(changed, n_query=5).hash


def test_a_finding_with_too_few_films_is_named():
    films = Embeddings(np.eye(2), np.eye(2), class_names=["a", "b"])
    with pytest.raises(ValueError, match="too few films .*: a has 1 film of 1 patient; b has 1 film of 1 patient"):
        Episodes.draw(films)


def test_a_film_asked_for_twice_everywhere_cannot_be_drawn():
    # four films, all with both findings: two supports and two queries of each would need eight
    films = Embeddings(np.zeros((4, 1)), np.ones((4, 2)), class_names=["a", "b"])
    with pytest.raises(ValueError, match="episode 0: .*several findings"):
        Episodes.draw(films, n_shot=2, n_query=2).block(0, 1)
    block = Episodes.draw(films, n_shot=1, n_query=1).block(0, 20)
    every = np.concatenate([block.support, block.query], axis=2).reshape(20, 4)
    assert (np.sort(every, axis=1) == np.arange(4)).all()

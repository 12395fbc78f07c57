from itertools import combinations

import numpy as np
import pytest

from fewshot_cxr.class_pool import support_group_count
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes


def make_films(seed=0, n=90, n_classes=4, n_patients=50):
    draw = np.random.default_rng(seed)
    return Embeddings(
        draw.normal(size=(n, 3)),
        draw.integers(0, n_classes, n),
        draw.integers(0, n_patients, n),
        class_names=[f"class {c}" for c in range(n_classes)],
        paths=[f"film{i}.png" for i in range(n)],
    )


def as_paths(films, block):
    return [
        [[[films.paths[row] for row in rows] for rows in side] for side in (block.support[e], block.query[e])]
        for e in range(len(block))
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(3, 5, 4), (4, 1, 8), (2, 2, 1)])
def test_an_episode_is_what_it_says(seed, shape):
    n_way, n_shot, n_query = shape
    films = make_films(seed)
    episodes = Episodes.draw(films, n_way=n_way, n_shot=n_shot, n_query=n_query, n_episodes=200, seed=seed)
    for block in episodes.blocks(64):
        for e in range(len(block)):
            support, query = block.support[e], block.query[e]
            assert (films.class_ids[support] == block.class_ids[e][:, None]).all()
            assert (films.class_ids[query] == block.class_ids[e][:, None]).all()
            assert len(set(block.class_ids[e].tolist())) == n_way
            every = np.concatenate([support.ravel(), query.ravel()])
            assert len(np.unique(every)) == len(every)
            assert not set(films.patient_ids[support].ravel()) & set(films.patient_ids[query].ravel())


def test_an_episode_depends_on_seed_and_number_alone():
    films = make_films()
    whole = as_paths(films, Episodes.draw(films, n_way=3, n_episodes=40, n_query=4, seed=3).block(0, 40))
    other_blocks = Episodes.draw(films, n_way=3, n_episodes=40, n_query=4, seed=3).blocks(7)
    assert [episode for block in other_blocks for episode in as_paths(films, block)] == whole
    longer = Episodes.draw(films, n_way=3, n_episodes=900, n_query=4, seed=3)
    assert as_paths(films, longer.block(20, 5)) == whole[20:25]
    assert as_paths(films, Episodes.draw(films, n_way=3, n_episodes=40, n_query=4, seed=4).block(0, 40)) != whole


def test_row_order_and_patient_names_change_nothing():
    films = make_films()
    order = np.random.default_rng(1).permutation(len(films))
    shuffled = Embeddings(
        films.vectors[order],
        films.class_ids[order],
        [f"patient {99 - films.patient_ids[row]}" for row in order],
        films.class_names,
        paths=[films.paths[row] for row in order],
    )
    first, second = (Episodes.draw(some, n_way=3, n_query=4, n_episodes=30, seed=0) for some in (films, shuffled))
    assert first.hash == second.hash
    assert as_paths(films, first.block(0, 30)) == as_paths(shuffled, second.block(0, 30))


def test_the_hash_sees_every_parameter_and_film():
    films = make_films()
    settings = {"n_way": 3, "n_shot": 2, "n_query": 3, "n_episodes": 10, "seed": 0}
    hashes = {Episodes.draw(films, **settings).hash}
    for name, value in {"n_way": 2, "n_shot": 1, "n_query": 2, "n_episodes": 11, "seed": 1}.items():
        hashes.add(Episodes.draw(films, **{**settings, name: value}).hash)
    hashes.add(Episodes.draw(make_films(seed=1), **settings).hash)
    assert len(hashes) == 7


def test_five_films_are_five_patients_where_the_class_has_them():
    films = make_films(n=200, n_patients=120)
    block = Episodes.draw(films, n_way=4, n_shot=5, n_query=10, n_episodes=100, seed=0).block(0, 100)
    patients = films.patient_ids[block.support]
    assert all(len(set(row.tolist())) == 5 for row in patients.reshape(-1, 5))


def test_every_patient_is_equally_likely_to_be_support():
    films = Embeddings(np.zeros((40, 1)), [0] * 20 + [1] * 20, list(range(40)), paths=[str(i) for i in range(40)])
    block = Episodes.draw(films, n_shot=5, n_query=5, n_episodes=4000, seed=0).block(0, 4000)
    counts = np.bincount(block.support.ravel(), minlength=40)
    assert abs(counts / 1000 - 1).max() < 0.15


def test_uneven_patients_are_divided_so_that_queries_remain():
    # three patients with ten films each: 5 shots of three patients would leave no query
    films = Embeddings(np.zeros((60, 1)), [0] * 30 + [1] * 30, [i // 10 for i in range(60)])
    block = Episodes.draw(films, n_shot=5, n_query=10, n_episodes=50, seed=0).block(0, 50)
    assert not any(
        set(films.patient_ids[s].ravel()) & set(films.patient_ids[q].ravel())
        for s, q in zip(block.support, block.query, strict=True)
    )


@pytest.mark.parametrize("seed", range(60))
def test_a_division_is_found_exactly_when_one_exists(seed):
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 5, draw.integers(1, 7)).tolist()
    n_shot, n_query = draw.integers(1, 6, 2).tolist()
    possible = any(
        n_shot <= sum(sizes[i] for i in chosen) <= sum(sizes) - n_query
        for count in range(1, n_shot + 1)
        for chosen in combinations(range(len(sizes)), count)
    )
    assert bool(support_group_count(sizes, n_shot, n_query)) == possible


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_way": 5}, "n_way is 5, but only 4 findings have films: class 0, class 1, class 2, class 3"),
        ({"n_way": 1}, "n_way must be at least 2, got 1"),
        ({"n_shot": 0}, "n_shot must be at least 1, got 0"),
        ({"n_shot": 60}, r"class 0 has \d+ films of \d+ patients.*Take fewer shots \(n_shot\)"),
    ],
)
def test_impossible_episodes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Episodes.draw(make_films(), **settings)


def test_patients_shared_between_findings_can_make_episodes_impossible():
    # every patient has a film of both findings, so no patient is left to ask
    films = Embeddings(np.zeros((4, 1)), [0, 1, 0, 1], [0, 0, 1, 1])
    block = Episodes.draw(films, n_shot=1, n_query=1, n_episodes=5, seed=0).block(0, 5)
    assert (films.patient_ids[block.support] == films.patient_ids[block.support][:, :1]).all()
    films = Embeddings(np.zeros((6, 1)), [0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 0])
    with pytest.raises(ValueError, match="patients with films of several findings leave too few query films"):
        Episodes.draw(films, n_shot=1, n_query=1, n_episodes=5, seed=0).block(0, 5)


def test_multi_label_films_are_refused():
    films = Embeddings(np.eye(2), np.eye(2), class_names=["a", "b"])
    with pytest.raises(ValueError, match="episodes need one finding per film"):
        Episodes.draw(films)

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes
from fewshot_cxr.episodes.policy import POLICIES


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


def by_name(films, block):
    """Each episode as {finding: (support paths, query paths)}: what it is, whatever the numbers of the findings."""
    return [
        {
            films.class_names[c]: tuple([films.paths[row] for row in side[e, way] if row >= 0] for side in sides)
            for way, c in enumerate(block.class_ids[e].tolist())
        }
        for e in range(len(block))
        for sides in [(block.support, block.query)]
    ]


def check_patients_take_turns(films, rows, class_id, lost_patients):
    """No film twice; a patient gives a film more than another only where that one has no more."""
    held = Counter(films.patient_ids[films.class_ids == class_id].tolist())
    given = Counter(films.patient_ids[rows].tolist())
    assert len(set(rows.tolist())) == len(rows)
    most = max(given.values())
    for patient, number in held.items():
        if patient not in lost_patients:
            assert given[patient] >= min(number, most - 1)


SMALL = {"n": 90, "n_patients": 50}  # all films of a class are put in order
LARGE = {"n": 900, "n_patients": 700}  # films are found by candidates
MIXED = {"n": 900, "n_patients": 60}  # large classes of few patients


@pytest.mark.parametrize("world", [SMALL, LARGE, MIXED])
@pytest.mark.parametrize("shape", [(3, 5, 4), (4, 1, 8), (2, 2, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_an_episode_is_what_it_says(seed, shape, world):
    n_way, n_shot, n_query = shape
    films = make_films(seed, **world)
    episodes = Episodes.draw(films, n_way=n_way, n_shot=n_shot, n_query=n_query, n_episodes=150, seed=seed)
    for block in episodes.blocks(64):
        for e in range(len(block)):
            support, query = block.support[e], block.query[e]
            assert (support.shape, query.shape) == ((n_way, n_shot), (n_way, n_query))
            assert (films.class_ids[support] == block.class_ids[e][:, None]).all()
            assert (films.class_ids[query] == block.class_ids[e][:, None]).all()
            assert (np.diff(block.class_ids[e]) > 0).all()
            every = np.concatenate([support.ravel(), query.ravel()])
            assert len(np.unique(every)) == len(every)
            given = set(films.patient_ids[support].ravel().tolist())
            assert not given & set(films.patient_ids[query].ravel().tolist())
            for way, class_id in enumerate(block.class_ids[e].tolist()):
                check_patients_take_turns(films, query[way], class_id, given)


@pytest.mark.slow
@given(
    # Of fewer than four films no episode can be made.
    films=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=4, max_size=60),
    shape=st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(1, 3)),
    policy=st.sampled_from(sorted(POLICIES)),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
def test_any_films_give_episodes_that_keep_patients_apart_or_are_refused(films, shape, policy, seed):
    class_ids, patients = (np.array(column) for column in zip(*films, strict=True))
    some = Embeddings(np.eye(len(films)), class_ids, patients, paths=[f"{row}.png" for row in range(len(films))])
    n_way, n_shot, n_query = shape
    wish = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query, "n_episodes": 5, "if_too_small": policy}
    try:
        episodes = Episodes.draw(some, **wish, seed=seed)
        block = episodes.block(0, 5)
    except ValueError:
        assume(False)
    for support, query, classes in zip(block.support, block.query, block.class_ids, strict=True):
        assert len(np.unique(classes)) == len(classes)
        taken = np.concatenate([support.ravel(), query.ravel()])
        taken = taken[taken >= 0]
        assert len(np.unique(taken)) == len(taken)
        for side in (support, query):
            assert all((some.class_ids[own[own >= 0]] == c).all() for own, c in zip(side, classes, strict=True))
        given = set(some.patient_ids[support[support >= 0]].tolist())
        assert not given & set(some.patient_ids[query[query >= 0]].tolist())
    assert as_paths(some, Episodes.draw(some, **wish, seed=seed).block(3, 2)) == as_paths(some, block)[3:]


@pytest.mark.parametrize("world", [SMALL, LARGE, MIXED])
def test_an_episode_depends_on_seed_and_number_alone(world):
    films = make_films(**world)
    settings = {"n_way": 3, "n_query": 4}
    whole = as_paths(films, Episodes.draw(films, **settings, n_episodes=40, seed=3).block(0, 40))
    other_blocks = Episodes.draw(films, **settings, n_episodes=40, seed=3).blocks(7)
    assert [episode for block in other_blocks for episode in as_paths(films, block)] == whole
    longer = Episodes.draw(films, **settings, n_episodes=2, seed=3)
    assert as_paths(films, longer.block(20, 5)) == whole[20:25]
    assert as_paths(films, Episodes.draw(films, **settings, n_episodes=40, seed=4).block(0, 40)) != whole


@pytest.mark.parametrize("world", [SMALL, LARGE, MIXED])
def test_row_order_patient_names_and_order_of_findings_change_nothing(world):
    films = make_films(**world)
    order = np.random.default_rng(1).permutation(len(films))
    shuffled = Embeddings(
        films.vectors[order],
        [films.class_names[films.class_ids[row]] for row in order],
        [f"patient {999 - films.patient_ids[row]}" for row in order],
        films.class_names[::-1],
        paths=[films.paths[row] for row in order],
    )
    first, second = (Episodes.draw(some, n_way=3, n_query=4, n_episodes=30, seed=0) for some in (films, shuffled))
    assert first.hash == second.hash
    assert by_name(films, first.block(0, 30)) == by_name(shuffled, second.block(0, 30))
    assert (np.diff(second.block(0, 30).class_ids, axis=1) > 0).all()


def test_renamed_findings_are_drawn_anew():
    films = make_films(**LARGE)
    renamed = Embeddings(films.vectors, films.class_ids, films.patient_ids, ["a", "b", "c", "d"], paths=films.paths)
    first, second = (Episodes.draw(some, n_query=4, n_episodes=30) for some in (films, renamed))
    assert first.hash != second.hash
    assert as_paths(films, first.block(0, 30)) != as_paths(renamed, second.block(0, 30))


def test_the_hash_sees_every_parameter_and_film():
    films = make_films()
    settings = {"n_way": 3, "n_shot": 2, "n_query": 3, "n_episodes": 10, "seed": 0}
    not_first = np.arange(len(films)) > 0
    changes = [
        {"n_way": 2},
        {"n_shot": 1},
        {"n_shot": {"class 0": 2, "class 1": 2, "class 2": 2, "class 3": 1}},
        {"n_query": 2},
        {"n_episodes": 11},
        {"seed": 1},
        {"prevalence": "natural"},
        {"if_too_small": "shrink_shot"},
        {"allow_patient_overlap": True},
        {"always": ["class 1"]},
        {"never": ["class 1"]},
        {"may_support": not_first},
        {"may_query": not_first},
    ]
    hashes = {Episodes.draw(films, **{**settings, **change}).hash for change in [{}, *changes]}
    assert len(hashes | {Episodes.draw(make_films(seed=1), **settings).hash}) == len(changes) + 2


def test_draws_of_today_are_those_of_tomorrow():
    films = Embeddings(np.zeros((8, 1)), list("aaaabbbb"), list("stuvwxyz"), paths=list("12345678"))
    episodes = Episodes.draw(films, n_shot=1, n_query=2, n_episodes=3)
    assert episodes.hash[:16] == "71b70f8a85486275"
    assert as_paths(films, episodes.block(0, 1)) == [[[["3"], ["8"]], [["1", "2"], ["5", "6"]]]]
    films = Embeddings(np.zeros((400, 1)), ["a"] * 200 + ["b"] * 200, paths=list(map(str, range(400))))
    block = Episodes.draw(films, n_shot=1, n_query=2).block(5, 1)
    assert (block.support.tolist(), block.query.tolist()) == ([[[19], [363]]], [[[96, 159], [369, 302]]])


@pytest.mark.parametrize("world", [LARGE, {"n": 200, "n_patients": 120}])
def test_five_films_are_five_patients_where_the_class_has_them(world):
    films = make_films(**world)
    block = Episodes.draw(films, n_way=4, n_shot=5, n_query=10, n_episodes=100, seed=0).block(0, 100)
    for side in (block.support, block.query):
        patients = np.sort(films.patient_ids[side], axis=2)
        assert (np.diff(patients, axis=2) > 0).all()


def test_uneven_patients_are_divided_so_that_queries_remain():
    # three patients with ten films each: 5 shots of three patients would leave no query
    films = Embeddings(np.zeros((60, 1)), [0] * 30 + [1] * 30, [i // 10 for i in range(60)])
    block = Episodes.draw(films, n_shot=5, n_query=10, n_episodes=50, seed=0).block(0, 50)
    assert not any(
        set(films.patient_ids[s].ravel()) & set(films.patient_ids[q].ravel())
        for s, q in zip(block.support, block.query, strict=True)
    )


def test_patients_shared_between_findings_can_make_episodes_impossible():
    # every patient has a film of both findings, so no patient is left to ask
    films = Embeddings(np.zeros((4, 1)), [0, 1, 0, 1], [0, 0, 1, 1])
    block = Episodes.draw(films, n_shot=1, n_query=1, n_episodes=5, seed=0).block(0, 5)
    assert (films.patient_ids[block.support] == films.patient_ids[block.support][:, :1]).all()
    films = Embeddings(np.zeros((6, 1)), [0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 0])
    with pytest.raises(ValueError, match="patients with films of several findings leave too few query films"):
        Episodes.draw(films, n_shot=1, n_query=1, n_episodes=5, seed=0).block(0, 5)


def test_many_episodes_cost_constant_memory():
    films = make_films(**LARGE)

    def peak_of(n_episodes):
        episodes = Episodes.draw(films, n_shot=1, n_query=1, n_episodes=n_episodes)
        next(episodes.blocks(1000))
        tracemalloc.start()
        for _ in episodes.blocks(1000):
            continue
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_of(100_000) < 1.2 * peak_of(2000)


def test_blocks_cover_the_episodes_once():
    episodes = Episodes.draw(make_films(**LARGE), n_episodes=1234)
    blocks = list(episodes.blocks())
    assert [block.first for block in blocks] == np.cumsum([0, *map(len, blocks[:-1])]).tolist()
    assert sum(map(len, blocks)) == 1234
    assert 256 <= len(blocks[0]) <= 1024


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_way": 5}, "^n_way is 5, but only 4 findings have films: class 0, class 1, class 2, class 3$"),
        ({"n_way": 1}, "^n_way must be at least 2, got 1$"),
        ({"n_shot": 0}, "^n_shot must be at least 1, got 0$"),
        ({"n_query": 0}, "^n_query must be at least 1, got 0$"),
        ({"n_episodes": 0}, "^n_episodes must be at least 1, got 0$"),
        ({"prevalence": "natrual"}, r"^unknown prevalence 'natrual' \(did you mean 'natural'\?\)"),
        (
            {"if_too_small": "skip"},
            r"^unknown if_too_small 'skip'.*; choose from error, shrink_query, shrink_shot, skip_class",
        ),
    ],
)
def test_impossible_wishes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Episodes.draw(make_films(), **settings)


def test_findings_that_are_always_in_do_not_matter_where_all_are():
    films = Embeddings(np.eye(60), ["a", "b", "c"] * 20, paths=[str(row) for row in range(60)])
    plain, always = (Episodes.draw(films, n_shot=2, n_query=3, always=names) for names in ((), ("b",)))
    assert plain.hash == always.hash
    assert np.array_equal(plain.block(0, 50).query, always.block(0, 50).query)
    pairs = [Episodes.draw(films, n_way=2, n_shot=2, n_query=3, always=names) for names in ((), ("b",))]
    assert pairs[0].hash != pairs[1].hash

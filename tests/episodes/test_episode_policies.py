"""Shots by finding, prevalence, and what is done with a class that is too small."""

import json

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes


def make_films(sizes, films_per_patient=1):
    """sizes: name -> films."""
    names = np.repeat(list(sizes), list(sizes.values()))
    patients = [f"{name}{i // films_per_patient}" for i, name in enumerate(names)]
    return Embeddings(
        np.zeros((len(names), 1)), names.tolist(), patients, list(sizes), paths=[f"{i}.png" for i in range(len(names))]
    )


def counts_of(films, block):
    """finding -> the set of (shots, queries) it had."""
    counts = {}
    for e in range(len(block)):
        for way, class_id in enumerate(block.class_ids[e].tolist()):
            both = int((block.support[e, way] >= 0).sum()), int((block.query[e, way] >= 0).sum())
            counts.setdefault(films.class_names[class_id], set()).add(both)
    return counts


def check_padding(block):
    for side in (block.support, block.query):
        is_film = side >= 0
        assert (np.diff(is_film.astype(int), axis=2) <= 0).all()
        assert (side[~is_film] == -1).all()


SIZES = {"normal": 400, "pneumonia": 120, "effusion": 40, "edema": 12}


@pytest.mark.parametrize("n_way", [2, 4])
def test_shots_can_differ_by_finding(n_way):
    films = make_films(SIZES)
    shots = {"normal": 10, "pneumonia": 5, "effusion": 3, "edema": 1}
    episodes = Episodes.draw(films, n_way=n_way, n_shot=shots, n_query=6, n_episodes=60)
    for block in episodes.blocks(16):
        check_padding(block)
        assert block.support.shape[2] == 10
        assert all(found == {(shots[name], 6)} for name, found in counts_of(films, block).items())
    assert episodes.to_json()["n_shot"] == shots
    alike = Episodes.draw(films, n_way=n_way, n_shot=dict.fromkeys(SIZES, 3), n_query=6, n_episodes=60)
    plain = Episodes.draw(films, n_way=n_way, n_shot=3, n_query=6, n_episodes=60)
    assert np.array_equal(alike.block(0, 60).support, plain.block(0, 60).support)
    assert np.array_equal(alike.block(0, 60).query, plain.block(0, 60).query)


def test_fewer_shots_are_the_first_of_more():
    films = make_films(SIZES)
    few, many = (Episodes.draw(films, n_shot=n, n_query=3, n_episodes=50).block(0, 50) for n in (1, 3))
    large = few.class_ids[0] < 3
    assert np.array_equal(few.support[:, large, 0], many.support[:, large, 0])


def test_natural_prevalence_shares_the_queries_by_films():
    films = make_films(SIZES)
    episodes = Episodes.draw(films, n_shot=2, n_query=15, n_episodes=50, prevalence="natural")
    block = episodes.block(0, 50)
    check_padding(block)
    # 60 queries for 400 + 120 + 40 + 12 films: 41.96, 12.59, 4.20, 1.26
    expected = {"normal": {(2, 42)}, "pneumonia": {(2, 13)}, "effusion": {(2, 4)}, "edema": {(2, 1)}}
    assert counts_of(films, block) == expected
    assert len(list(block.parts())) == 1


def test_natural_prevalence_follows_the_classes_of_the_episode():
    films = make_films(SIZES)
    episodes = Episodes.draw(films, n_way=2, n_shot=2, n_query=6, n_episodes=200, prevalence="natural")
    for block in episodes.blocks(7):
        check_padding(block)
        assert block.query.shape[2] == episodes.block(0, 1).query.shape[2]
        assert ((block.query >= 0).sum(axis=(1, 2)) == 12).all()
        for class_ids, query in zip(block.class_ids, block.query, strict=True):
            sizes = [SIZES[films.class_names[c]] for c in class_ids]
            share = max(1, round(12 * sizes[1] / sum(sizes)))
            assert (query[1] >= 0).sum() == share


def test_too_few_films_are_an_error_by_default():
    with pytest.raises(ValueError, match="^too few films") as error:
        Episodes.draw(make_films(SIZES, films_per_patient=4), n_shot=5, n_query=15)
    assert str(error.value) == (
        "too few films for 5-shot episodes with 15 queries per class: edema has 12 films of 3 patients. "
        "Support and query never share a patient. if_too_small='shrink_query', 'shrink_shot' or 'skip_class' settles "
        "it class by class. Take fewer shots (n_shot) or queries (n_query), or drop the class"
    )


@pytest.mark.parametrize("policy", ["shrink_query", "shrink_shot"])
def test_a_policy_that_does_not_help_is_not_recommended(policy):
    films = make_films({"edema": 12, "mass": 40}, films_per_patient=40)  # of one patient each
    told = f"share a patient. {policy} does not settle it. Take fewer shots"
    with pytest.raises(ValueError, match=told):
        Episodes.draw(films, n_shot=5, n_query=5, if_too_small=policy)


@pytest.mark.parametrize(
    ("policy", "counts", "note"),
    [
        ("shrink_query", (5, 7), "5 shots and 7 queries there"),
        ("shrink_shot", (2, 10), "2 shots and 10 queries there"),
        ("skip_class", None, "left out"),
    ],
)
def test_the_policy_changes_the_small_class_alone(policy, counts, note):
    films = make_films(SIZES)
    n_query = 10 if policy == "shrink_shot" else 15
    episodes = Episodes.draw(films, n_shot=5, n_query=n_query, n_episodes=40, if_too_small=policy)
    block = episodes.block(0, 40)
    check_padding(block)
    found = counts_of(films, block)
    assert found.pop("edema", {counts}) == {counts}
    assert found.keys() == {"normal", "pneumonia", "effusion"}
    assert all(both == {(5, n_query)} for both in found.values())
    wish = f"edema has 12 films of 12 patients, too few for 5 shots and {n_query} queries: {note}"
    assert episodes.notes == (wish,)
    assert json.loads(json.dumps(episodes.to_json()))["notes"] == [wish]
    assert episodes.n_way == episodes.to_json()["n_way"] == (3 if policy == "skip_class" else 4)


@pytest.mark.parametrize("policy", ["shrink_query", "shrink_shot"])
@pytest.mark.parametrize("seed", range(20))
def test_a_shrunk_class_can_always_be_drawn(seed, policy):
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 5, draw.integers(3, 9))
    patients = [*np.repeat(np.arange(len(sizes)), sizes), *range(100, 200)]
    films = Embeddings(np.zeros((len(patients), 1)), ["rare"] * sizes.sum() + ["normal"] * 100, patients)
    n_shot, n_query = (2, 15) if policy == "shrink_query" else (12, 2)
    block = Episodes.draw(films, n_shot=n_shot, n_query=n_query, n_episodes=40, if_too_small=policy).block(0, 40)
    check_padding(block)
    ((shots, queries),) = counts_of(films, block)["rare"]
    assert shots <= n_shot
    assert queries <= n_query
    if (shots, queries) == (n_shot, n_query):
        return
    # the most that always fits: so many patients give the shots that, whichever they are, enough films remain
    ascending = np.sort(sizes)
    wishes = [(2, q) for q in range(1, 16)] if policy == "shrink_query" else [(s, 2) for s in range(1, 13)]
    fitting = [
        (s, q)
        for s, q in wishes
        for count in range(1, min(s, len(sizes)) + 1)
        if sum(ascending[:count]) >= s and sum(ascending[: len(sizes) - count]) >= q
    ]
    assert (shots, queries) == max(fitting)


def test_a_class_that_no_policy_helps_is_refused():
    films = make_films({**SIZES, "hernia": 1})
    for policy in ("shrink_query", "shrink_shot"):
        with pytest.raises(ValueError, match="too few films .*: hernia has 1 film of 1 patient"):
            Episodes.draw(films, n_shot=1, n_query=5, if_too_small=policy)
    assert Episodes.draw(films, n_shot=1, n_query=5, if_too_small="skip_class").n_way == 4


def test_two_classes_must_remain():
    films = make_films({"normal": 90, "edema": 3, "hernia": 2})
    with pytest.raises(ValueError, match=r"too few films .*edema has 3 films of 3 patients; hernia has 2 films"):
        Episodes.draw(films, n_shot=5, n_query=5, if_too_small="skip_class")
    with pytest.raises(ValueError, match="^n_way is 4, but only 3 findings have enough films: effusion, normal, pneu"):
        Episodes.draw(make_films(SIZES), n_way=4, n_shot=5, n_query=15, if_too_small="skip_class")


@pytest.mark.parametrize(
    ("shots", "message"),
    [
        ({"normal": 3, "pneumonia": 3, "edema": 1}, "^n_shot says nothing about effusion; give a number"),
        ({**dict.fromkeys(SIZES, 1), "efusion": 2}, r"unknown finding 'efusion' \(did you mean 'effusion'\?\); choose"),
        ({**dict.fromkeys(SIZES, 1), "edema": 0}, "^n_shot of edema must be at least 1, got 0$"),
        (
            {**dict.fromkeys(SIZES, 1), "edema": 12},
            "too few films for episodes with 15 queries per class and the shots",
        ),
    ],
)
def test_wrong_shots_are_refused(shots, message):
    with pytest.raises(ValueError, match=message):
        Episodes.draw(make_films(SIZES), n_shot=shots)


def test_overlap_is_allowed_only_with_a_note_in_plain_words():
    films = make_films({"normal": 60, "edema": 60}, films_per_patient=20)
    episodes = Episodes.draw(films, n_shot=5, n_query=15, n_episodes=50, allow_patient_overlap=True)
    block = episodes.block(0, 50)
    for support, query in zip(block.support, block.query, strict=True):
        assert set(films.patient_ids[support].ravel()) & set(films.patient_ids[query].ravel())
        assert not set(support.ravel()) & set(query.ravel())
    assert episodes.notes[0].startswith("patients are NOT kept apart")
    assert episodes.to_json()["allow_patient_overlap"]
    assert Episodes.draw(films, n_shot=5, n_query=15).notes == ()

"""Findings that are always or never in an episode, films that may stand on one side, and films from outside."""

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes

NAMES = ["normal", "pneumonia", "effusion", "edema", "covid19"]


def make_films(n=600, n_patients=400, seed=0):
    draw = np.random.default_rng(seed)
    class_ids = draw.integers(0, len(NAMES), n)
    return Embeddings(
        np.zeros((n, 1)), class_ids, draw.integers(0, n_patients, n), NAMES, paths=[f"{i}.png" for i in range(n)]
    )


def check_outside(films, block):
    for class_ids, support, outside in zip(block.class_ids, block.support, block.outside, strict=True):
        (finding,) = set(films.class_ids[outside].tolist())
        assert finding not in class_ids
        assert len(set(outside.tolist())) == len(outside)
        assert not set(films.patient_ids[outside]) & set(films.patient_ids[support].ravel())


WORLDS = [{"n": 600, "n_patients": 400}, {"n": 200, "n_patients": 90}, {"n": 2000, "n_patients": 2000}]


@pytest.mark.parametrize("world", WORLDS)
def test_outside_films_are_of_another_finding_and_other_patients(world):
    films = make_films(**world)
    episodes = Episodes.draw(films, n_way=3, n_shot=3, n_query=5, n_episodes=200)
    assert episodes.to_json()["n_outside"] == 5
    assert episodes.notes == ()
    blocks = list(episodes.blocks(31))
    for block in blocks:
        assert block.outside.shape == (len(block), 5)
        check_outside(films, block)
    whole = np.concatenate([block.outside for block in blocks])
    assert np.array_equal(whole, episodes.block(0, 200).outside)
    assert set(films.class_ids[whole].ravel().tolist()) == set(range(5))


def test_nothing_is_outside_where_every_finding_is_in_the_episode():
    episodes = Episodes.draw(make_films(), n_episodes=5)
    assert episodes.block(0, 5).outside is None
    assert episodes.to_json()["n_outside"] == 0
    assert episodes.notes == ()


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("n_way", [None, 2])
def test_findings_named_never_are_only_ever_outside(world, n_way):
    films = make_films(**world)
    episodes = Episodes.draw(films, n_way=n_way, n_shot=2, n_query=5, n_episodes=100, never=["covid19", "edema"])
    assert episodes.n_way == (n_way or 3)
    block = episodes.block(0, 100)
    assert block.class_ids.max() == 2
    assert set(films.class_ids[block.outside].ravel().tolist()) == {3, 4}
    check_outside(films, block)


@pytest.mark.parametrize("n_way", [2, 4])
def test_findings_named_always_are_in_every_episode(n_way):
    films = make_films()
    block = Episodes.draw(films, n_way=n_way, n_shot=2, n_query=5, always=["covid19"]).block(0, 300)
    assert (block.class_ids == 4).any(axis=1).all()
    assert len(np.unique(block.class_ids)) == 5
    check_outside(films, block)


def test_few_films_outside_are_stated():
    names = ["a"] * 40 + ["b"] * 40 + ["rare"] * 3
    films = Embeddings(np.zeros((83, 1)), names)
    episodes = Episodes.draw(films, n_shot=2, n_query=5, n_episodes=20, never=["rare"])
    assert np.array_equal(np.sort(episodes.block(0, 20).outside, axis=1), np.tile([80, 81, 82], (20, 1)))
    assert episodes.to_json()["n_outside"] == 3
    assert episodes.notes == ("3 instead of 5 films of a finding outside each episode: one has no more",)


def test_a_finding_whose_patients_may_all_be_support_gives_nothing_outside():
    films = Embeddings(np.zeros((83, 1)), ["a"] * 40 + ["b"] * 40 + ["rare"] * 3, [*range(80), 0, 1, 2])
    episodes = Episodes.draw(films, n_shot=2, n_query=5, n_episodes=20, never=["rare"])
    assert episodes.block(0, 20).outside is None
    assert episodes.notes[0].startswith("no films from outside the episodes: ")


@pytest.mark.parametrize("world", WORLDS)
def test_support_and_query_can_come_from_two_sources(world):
    films = make_films(**world)
    is_first = np.random.default_rng(1).random(len(films)) < 0.5
    settings = {"n_shot": 3, "n_query": 5, "n_episodes": 100, "may_support": is_first, "may_query": ~is_first}
    episodes = Episodes.draw(films, **settings)
    block = episodes.block(0, 100)
    assert is_first[block.support].all()
    assert not is_first[block.query].any()
    assert (films.class_ids[block.query] == block.class_ids[:, :, None]).all()
    for support, query in zip(block.support, block.query, strict=True):
        assert not set(films.patient_ids[support].ravel()) & set(films.patient_ids[query].ravel())
    assert episodes.to_json()["n_may_support"] == is_first.sum()
    order = np.random.default_rng(2).permutation(len(films))
    shuffled = Embeddings(
        films.vectors, films.class_ids[order], films.patient_ids[order], NAMES, paths=[films.paths[i] for i in order]
    )
    again = Episodes.draw(shuffled, **{**settings, "may_support": is_first[order], "may_query": ~is_first[order]})
    assert again.hash == episodes.hash
    assert np.array_equal(order[again.block(0, 100).query], block.query)


def test_all_films_on_both_sides_are_no_mask_at_all():
    films, both = make_films(), np.ones(600, dtype=bool)
    plain, masked = (
        Episodes.draw(films, n_episodes=9, **masks) for masks in ({}, {"may_support": both, "may_query": both})
    )
    assert np.array_equal(plain.block(0, 9).query, masked.block(0, 9).query)


def test_a_class_with_films_on_one_side_alone_is_named():
    films = make_films()
    is_first = (films.class_ids != 2) & (np.arange(600) % 2 == 0)
    with pytest.raises(
        ValueError, match=r"effusion has \d+ films of \d+ patients \(0 may be support, \d+ may be query\)"
    ):
        Episodes.draw(films, may_support=is_first, may_query=~is_first)
    episodes = Episodes.draw(films, may_support=is_first, may_query=~is_first, if_too_small="skip_class")
    assert episodes.n_way == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"always": ["covid"]}, r"^always names an unknown finding 'covid' \(did you mean 'covid19'\?\); choose from"),
        ({"never": ["edemas"]}, r"^never names an unknown finding 'edemas' \(did you mean 'edema'\?\); choose from"),
        ({"always": ["edema"], "never": ["edema"]}, "^always and never both name edema; leave it out of one of them$"),
        ({"always": NAMES[:3], "n_way": 2}, "^always names 3 findings, but n_way is 2; raise n_way$"),
        ({"n_way": 5, "never": ["edema"]}, "^n_way is 5, but only 4 findings have films: covid19, effusion"),
        ({"n_shot": 200, "if_too_small": "skip_class", "always": ["edema"]}, "too few films"),
        ({"may_support": np.ones(600)}, r"^may_support must be bool of shape \(600,\), one entry for each film$"),
        ({"may_query": np.ones(5, dtype=bool)}, r"^may_query must be bool of shape \(600,\)"),
    ],
)
def test_wrong_wishes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Episodes.draw(make_films(), **settings)


def test_a_finding_without_films_can_be_neither_always_nor_never():
    films = Embeddings(np.zeros((80, 1)), [0, 1] * 40, None, ["a", "b", "c"])
    for what in ("always", "never"):
        with pytest.raises(ValueError, match=f"^{what} names 'c', which has no films; leave it out$"):
            Episodes.draw(films, **{what: ["c"]})

"""The best and the worst episodes: what a slow walk over all of them finds too."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_films import change, make_films, make_multi_label, slow_episodes
from made_results import changed

from fewshot_cxr.evaluation import evaluate_plan, extreme_episodes, plan_episodes, replay_plan
from fewshot_cxr.evaluation.episodic.extremes import episode_accuracies
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.inference import RULES

HARD = {"within": 1.2, "spread": 1.0}
COUNTS = {"n_shot": 3, "n_query": 6, "n_episodes": 300}
SETTINGS = {"rule": "mean_distance", "distance": "euclidean"}


@pytest.fixture(scope="module")
def films():
    return make_films(**HARD)


@pytest.fixture(scope="module")
def plan(films):
    return plan_episodes(films, **COUNTS, seed=4)


@pytest.fixture(scope="module")
def result(films, plan):
    return evaluate_plan(films, plan, **SETTINGS, patient_interval=False)


def accuracies(films, plan, **settings):
    rule = FilmRule(films, **SETTINGS | settings)
    return np.concatenate([right for _, right in episode_accuracies(rule, plan.episodes)])


def test_extremes_agree_with_a_slow_walk(films, plan):
    walked = list(slow_episodes(films, plan.episodes))
    slow = [episode.right.mean() for episode in walked]
    order = sorted(range(len(slow)), key=lambda number: (round(slow[number], 9), number))
    best_first = sorted(range(len(slow)), key=lambda number: (-round(slow[number], 9), number))
    shown = extreme_episodes(films, plan, **SETTINGS, n_best=2, n_worst=3)
    assert [one.number for one in shown] == best_first[:2] + order[:3]
    assert [one.is_best for one in shown] == [True] * 2 + [False] * 3
    for one in shown:
        episode = walked[one.number]
        assert one.accuracy == pytest.approx(slow[one.number], abs=1e-9)
        assert [path for _, path in one.support] == [films.paths[row] for own in episode.support for row in own]
        assert [query.path for query in one.queries] == [films.paths[row] for row in episode.rows]
        names = [films.class_names[class_id] for class_id in episode.class_ids]
        assert [query.finding for query in one.queries] == [names[label] for label in episode.labels]
        for query, distances, right in zip(one.queries, episode.distances, episode.right, strict=True):
            assert list(query.distances) == names
            assert list(query.distances.values()) == pytest.approx(distances.tolist(), rel=1e-4)
            assert query.is_right == (right == 1)


def test_mean_over_all_episodes_is_the_result(films, plan, result):
    assert accuracies(films, plan).mean() == pytest.approx(result.accuracy.value, abs=1e-12)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_agrees_with_a_loop(rule, films, plan):
    few = replace(plan, episodes=replace(plan.episodes, n_episodes=8))
    vectors = torch.from_numpy(films.vectors)
    slow = []
    for block in few.episodes.blocks():
        for support, query in zip(block.support, block.query, strict=True):
            labels, truth = (torch.arange(3).repeat_interleave(side.shape[1]) for side in (support, query))
            rows = [torch.from_numpy(side.ravel()) for side in (support, query)]
            found = RULES[rule](vectors[rows[0]], labels, vectors[rows[1]], distance="euclidean")
            slow.append((found.argmin(dim=1) == truth).double().mean().item())
    assert accuracies(films, few, rule=rule) == pytest.approx(np.array(slow), abs=1e-9)


def test_of_equals_the_lowest_number_and_no_episode_twice():
    easy = make_films(within=0.01, spread=30.0)
    plan = plan_episodes(easy, **COUNTS | {"n_episodes": 5}, seed=1)
    shown = extreme_episodes(easy, plan, **SETTINGS, n_best=2, n_worst=2)
    assert [(one.number, one.is_best) for one in shown] == [(0, True), (1, True), (2, False), (3, False)]
    assert len(extreme_episodes(easy, plan, **SETTINGS, n_best=9, n_worst=9)) == 5
    assert not extreme_episodes(easy, plan, **SETTINGS, n_best=0, n_worst=0)


def test_ties_are_told(films, plan):
    same = change(films, vectors=np.tile(np.arange(2.0), (len(films), 1)))
    (one,) = extreme_episodes(same, plan, **SETTINGS, n_worst=0)
    assert one.accuracy == pytest.approx(1 / 3)
    assert one.queries[0].predicted == tuple(films.class_names)
    assert not one.queries[0].is_right


def test_progress_counts_every_episode(films, plan):
    told = []
    extreme_episodes(films, plan, **SETTINGS, progress=lambda *counts: told.append(counts))
    assert told[-1] == (300, 300)


@pytest.mark.parametrize("protocol", ["closed", "novel", "fixed_support"])
def test_a_result_draws_its_episodes_again(films, protocol):
    counts = {} if protocol == "fixed_support" else COUNTS
    more = {"novel": ("finding 2",), "seen": ("finding 0", "finding 1")} if protocol == "novel" else {}
    plan = plan_episodes(films, protocol=protocol, **counts, **more, seed=9)
    result = evaluate_plan(films, plan, **SETTINGS, patient_interval=False)
    shuffled = change(films, np.random.default_rng(0).permutation(len(films)))
    again = replay_plan(shuffled, result)
    assert again.episodes.hash == plan.episodes.hash
    assert (again.protocol, again.novel) == (plan.protocol, plan.novel)
    names = [[one.number for one in extreme_episodes(some, it, **SETTINGS)] for some, it in [(films, plan)]]
    assert names == [[one.number for one in extreme_episodes(shuffled, again, **SETTINGS)]]


def test_other_films_are_refused(films, result):
    other = change(films, paths=[f"other/{path}" for path in films.paths])
    with pytest.raises(ValueError, match=r"^the episodes are others \(hash .{12}, not .{12}\): the films are not"):
        replay_plan(other, result)
    few = change(films, np.arange(len(films))[::15])
    with pytest.raises(ValueError, match=r"cannot be drawn again \(.+\): the films are not those that the result"):
        replay_plan(few, result)


def test_films_drawn_by_source_are_refused(films, result):
    chosen = changed(result, protocol=result.asked.protocol | {"name": "cross_source", "n_may_support": 12})
    with pytest.raises(ValueError, match="protocol cross_source were drawn from chosen sources"):
        replay_plan(films, chosen)


def test_films_of_several_findings_are_refused():
    films = make_multi_label()
    plan = plan_episodes(films, n_shot=2, n_query=2, n_episodes=3)
    with pytest.raises(ValueError, match="no one accuracy by which an episode is the best"):
        extreme_episodes(films, plan, **SETTINGS)

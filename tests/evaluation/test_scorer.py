import numpy as np
import pytest
import torch
from made_films import make_films, slow_episodes

from fewshot_cxr.episodes import EpisodeBlock
from fewshot_cxr.evaluation import evaluate_episodes, plan_episodes
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.evaluation.episodic.scorer import Scorer
from fewshot_cxr.evaluation.episodic.tally import CONFUSION_SUMS, Layout
from fewshot_cxr.inference import RULES


def make_scorer(films, **layout):
    return Scorer(FilmRule(films, rule="mean_distance", distance="euclidean"), Layout(films.class_names, **layout))


def test_rows_are_those_of_the_episodes_in_their_order():
    films = make_films(4, films_of_patient=(1, 2, 4), n_classes=4)
    shape = {"n_way": 3, "n_shot": 2, "n_query": 9, "prevalence": "natural", "if_too_small": "shrink_query"}
    episodes = plan_episodes(films, n_episodes=40, **shape).episodes
    block = episodes.block(0, 40)
    assert len(list(block.parts())) > 1
    scorer = make_scorer(films)
    rows = scorer(block).rows
    for number, one in enumerate(slow_episodes(films, episodes)):
        table = np.zeros((4, 4))
        for label, credits in zip(one.labels, one.credits, strict=True):
            table[one.class_ids[label], one.class_ids] += credits
        found = scorer.layout.split(rows[number])
        wrong = table * (1 - np.eye(4))
        for name, sums in zip(CONFUSION_SUMS, (np.diag(table), wrong.sum(axis=1), wrong.sum(axis=0)), strict=True):
            np.testing.assert_allclose(found[name], sums, atol=1e-6)
        np.testing.assert_array_equal(np.flatnonzero(found["ranked"]), one.class_ids)
        assert float(found["count0"].sum()) == len(one.labels)


def test_a_block_is_the_sum_of_its_episodes():
    films = make_films(n_classes=3)
    episodes = plan_episodes(films, n_way=2, n_shot=2, n_query=3, n_episodes=70).episodes
    scorer = make_scorer(films, has_outside=True)
    whole = scorer(episodes.block(0, 70))
    single = [scorer(episodes.block(first, 1)) for first in range(70)]
    torch.testing.assert_close(whole.rows, torch.cat([one.rows for one in single]), atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(whole.confusion, sum(one.confusion for one in single))
    np.testing.assert_allclose(whole.risks, sum(one.risks for one in single), atol=1e-5)
    assert not scorer.confusion.any()
    scorer.count(whole)
    np.testing.assert_array_equal(scorer.confusion, whole.confusion)
    assert [coverage for coverage, _ in scorer.mean_risks()][-1] == 1
    assert scorer.mean_risks()[-1][1] == pytest.approx(whole.risks[-1] / 70)


def test_duplicated_exemplars_share_the_credit():
    films = make_films(3, n_classes=2, films_of_patient=(1,))
    films.vectors[3] = films.vectors[0]
    block = EpisodeBlock(0, np.array([[0, 1]]), np.array([[[0], [3]]]), np.array([[[1, 2], [4, 5]]]))
    np.testing.assert_array_equal(make_scorer(films)(block).confusion, [[1, 1], [1, 1]])


def test_clock_counts_distances_and_metrics():
    films = make_films(10)
    scorer = make_scorer(films)
    scorer(plan_episodes(films, n_shot=2, n_query=2, n_episodes=5).episodes.block(0, 5))
    assert scorer.clock.seconds.keys() == {"distances", "metrics"}
    assert min(scorer.clock.seconds.values()) > 0


@pytest.mark.parametrize("rule", sorted(RULES.keys() - {"template"}))
@pytest.mark.slow
def test_threads_change_no_number(rule):
    films = make_films(20)
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            asked = {"n_way": 2, "n_shot": 2, "n_query": 3, "n_episodes": 40, "patient_interval": False}
            result = evaluate_episodes(films, rule=rule, device="cpu", **asked)
            assert torch.get_num_threads() == n_threads
            found.append({name: value for name, value in result.to_json().items() if "second" not in name})
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]

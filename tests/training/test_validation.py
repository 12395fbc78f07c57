"""Validation episodes fit the films there are, and every one of them can be drawn."""

from dataclasses import replace

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes
from fewshot_cxr.evaluation import evaluate_episodes
from fewshot_cxr.training.validation import episode_recalls, films_asked, plan_validation, validation_accuracy


def labelled(class_ids, patient_ids):
    vectors = np.random.default_rng(0).normal(size=(len(class_ids), 4)).astype(np.float32)
    return Embeddings(vectors, class_ids, patient_ids, ("a", "b", "c"))


def test_patients_with_several_findings_shrink_the_episodes():
    films = labelled(np.tile([0, 1], 3), np.repeat(np.arange(3), 2))
    plan = plan_validation(films, n_shot=5, n_query=10, n_episodes=200)
    assert (plan.class_ids, plan.n_shot, plan.n_query) == ((0, 1), 2, 1)
    assert plan.notes == (
        "validation episodes are 2-shot with 1 queries per class instead of 5 and 10: "
        "a finding has few validation patients",
    )


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.slow
def test_a_plan_can_always_be_judged(seed):
    rng = np.random.default_rng(seed)
    n_films = int(rng.integers(6, 25))
    films = labelled(rng.integers(0, 3, n_films), rng.integers(0, max(2, n_films // 3), n_films))
    plan = plan_validation(films, n_shot=5, n_query=10, n_episodes=100)
    if plan is not None:
        accuracy = validation_accuracy(films, plan, rule="prototype", distance="euclidean")
        assert 0 <= accuracy <= 1


@pytest.mark.parametrize(
    ("rule", "distance"), [("prototype", "cosine"), ("knn", "euclidean"), ("tim", "squared_euclidean")]
)
def test_it_is_what_an_evaluation_in_the_same_episodes_finds(rule, distance):
    draw = np.random.default_rng(1)
    films = labelled(np.repeat([0, 1, 2], (20, 30, 2)), [*range(50), 50, 50])
    films = replace(films, vectors=np.round(draw.normal(size=(52, 4)), 1))  # so that some are tied
    plan = plan_validation(films, n_shot=2, n_query=3, n_episodes=150)
    assert (plan.class_ids, plan.n_query) == ((0, 1), 3)
    asked = films_asked(films, plan.class_ids)
    same = {"rule": rule, "distance": distance}
    told = evaluate_episodes(asked, n_shot=2, n_query=3, n_episodes=150, patient_interval=False, **same)
    assert validation_accuracy(films, plan, **same) == pytest.approx(told.accuracy.value, abs=1e-12)
    recalls = episode_recalls(asked, plan.episodes, **same)
    for class_id, name in enumerate("ab"):
        assert recalls[class_id] == pytest.approx(told.per_class_recall[name].value, abs=1e-12)
    assert np.isnan(recalls[2])


def test_episodes_are_drawn_once_for_all_epochs(monkeypatch):
    films = labelled(np.repeat([0, 1], 20), np.arange(40))
    plan = plan_validation(films, n_shot=2, n_query=2, n_episodes=10)
    monkeypatch.setattr(Episodes, "block", None)
    for _ in range(2):
        validation_accuracy(films, plan, rule="prototype", distance="cosine")


def test_a_finding_of_one_patient_is_left_out_by_name():
    films = labelled(np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 2, 3, 4, 4]))
    plan = plan_validation(films, n_shot=1, n_query=1, n_episodes=10)
    assert plan.class_ids == (0, 1)
    assert plan.notes == ("c has films of one patient in validation: left out there",)


def test_no_episode_no_plan():
    films = labelled(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]))
    assert plan_validation(films, n_shot=1, n_query=1, n_episodes=10) is None


def test_validation_speaks_of_films_where_patients_are_unknown():
    films = labelled(np.array([0, 0, 1, 1, 2]), None)
    assert plan_validation(films, n_shot=1, n_query=1, n_episodes=10).notes == (
        "c has one film in validation: left out there",
    )

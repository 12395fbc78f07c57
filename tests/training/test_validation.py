"""Validation episodes fit the films there are, and every one of them can be drawn."""

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import evaluate_episodes
from fewshot_cxr.training.validation import plan_validation, validation_accuracy


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
        accuracy = validation_accuracy(films, plan, rule="prototype", distance="euclidean", n_episodes=100)
        assert 0 <= accuracy <= 1


def test_validation_takes_no_interval_over_patients(monkeypatch):
    asked = []

    def spy(*arguments, **options):
        asked.append(options)
        return evaluate_episodes(*arguments, **options)

    monkeypatch.setattr("fewshot_cxr.training.validation.evaluate_episodes", spy)
    films = labelled(np.repeat([0, 1], 20), np.arange(40))
    plan = plan_validation(films, n_shot=2, n_query=2, n_episodes=10)
    validation_accuracy(films, plan, rule="prototype", distance="cosine", n_episodes=10)
    assert [(options["patient_interval"], options.get("baselines")) for options in asked] == [(False, None)]


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

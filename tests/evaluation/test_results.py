import json
from dataclasses import fields, replace

import numpy as np
import pytest
from made_films import make_films

from fewshot_cxr import evaluation
from fewshot_cxr.evaluation import (
    Answers,
    EpisodeFacts,
    Estimate,
    Result,
    evaluate_closed_set,
    evaluate_episodes,
    evaluate_plan,
    plan_episodes,
)

FEW = {"n_way": 2, "n_shot": 2, "n_query": 3, "n_episodes": 20, "device": "cpu"}


@pytest.fixture(scope="module")
def result():
    films = make_films(20)
    return evaluate_episodes(films, baselines=films, calibrate=make_films(20, seed=1), **FEW)


def test_json_rebuilds_the_result(result):
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert Result.from_json(plain) == result
    assert plain["kind"] == "episodes"


def test_json_keeps_the_fields_of_before_and_has_the_new_ones(result):
    plain = result.to_json()
    assert {"accuracy", "per_class_recall", "confusion", "n_way", "n_shot", "seed", "floor"} <= plain.keys()
    assert {
        "balanced_accuracy",
        "macro_f1",
        "auroc",
        "calibration",
        "open_set",
        "episodes_hash",
        "seconds",
    } <= plain.keys()
    assert {"warnings", "episodes_per_second", "data_hash"} <= plain.keys()
    assert plain["accuracy"].keys() == {"mean", "ci95", "ci95_episodes", "ci95_patients"}
    assert plain["accuracy"]["ci95"] == plain["accuracy"]["ci95_patients"]
    assert plain["per_class_recall"]["finding 0"] == plain["per_class"]["finding 0"]["sensitivity"]
    assert {item.name for item in fields(EpisodeFacts)} <= plain.keys()


def test_another_value_is_no_result(result):
    plain = result.to_json()
    with pytest.raises(
        ValueError,
        match=r"this is no result of episode-eval or evaluate .*\(kind missing\); run epis",
    ):
        Result.from_json({**plain, "kind": "closed"})
    del plain["open_set"], plain["seed"]
    with pytest.raises(ValueError, match=r"\(open_set, seed missing\)"):
        Result.from_json(plain)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("replicates", "batches", "accuracy"), [], "replicates.batches must have equally many shares of each number"),
        (("replicates", "influence", "accuracy", 0), [], "replicates.influence must have equally many units"),
        (("replicates", "influence", "accuracy"), [], "replicates.influence must have equally many units"),
        (("protocol", "seen"), "x", "protocol.seen must be a list, got 'x'"),
        (("protocol", "novel"), [7], "protocol.novel, an item, must be a text, got 7"),
        (("protocol", "name"), {}, "protocol.name must be a text"),
        (("protocol", "allow_patient_overlap"), "no", "protocol.allow_patient_overlap must be true or false"),
    ],
)
def test_what_does_not_go_together_is_refused_by_its_key(result, place, value, words):
    plain = json.loads(json.dumps(result.to_json()))
    inner = plain
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ValueError, match=f"this result is not whole: {words}"):
        Result.from_json(plain)


def test_an_estimate_without_a_number_says_why():
    absent = Estimate(None, reason="nobody was asked")
    assert absent.to_json() == {
        "mean": None,
        "ci95": None,
        "ci95_episodes": None,
        "ci95_patients": None,
        "reason": "nobody was asked",
    }
    assert Estimate.from_json(absent.to_json()) == absent
    with pytest.raises(ValueError, match="the number is undefined: nobody was asked"):
        absent.value  # noqa: B018  # the property raises
    assert Estimate(0.5).value == 0.5


def test_estimates_of_before_the_interval_over_patients_are_read():
    assert Estimate.from_json({"mean": 0.5, "ci95_episodes": [0.4, 0.6]}) == Estimate(0.5, (0.4, 0.6))


@pytest.mark.parametrize("name", ["EpisodicResult", "ClosedSetResult", "MultiLabelResult"])
def test_the_results_of_before_are_one(name):
    with pytest.warns(DeprecationWarning, match=f"fewshot_cxr.evaluation.{name} is now Result"):
        assert getattr(evaluation, name) is Result


def test_what_results_of_before_had_at_their_top_is_found(result):
    with pytest.warns(DeprecationWarning, match=r"result.n_way is now result.episodes.n_way"):
        assert result.n_way == 2
    with pytest.warns(DeprecationWarning, match=r"result.floor is now result.baselines"):
        assert result.floor is result.baselines
    for name in ("films", "__len__"):
        with pytest.raises(AttributeError, match=f"a result has no '{name}'"):
            getattr(result, name)
    assert not hasattr(replace(result, episodes=None), "n_way")
    with pytest.raises(ValueError, match="a result of episode-eval holds no answers film by film"):
        result.answered  # noqa: B018  # the property raises
    with pytest.raises(AttributeError, match="there is no number 'auc' over all findings; there are accuracy, bal"):
        result.scores.auc  # noqa: B018


def test_decisions_are_answers():
    values = {"findings": ("b", "a"), "probabilities": [[0.5, 0.5], [0, 1]], "paths": ("y", "x")}
    with pytest.warns(DeprecationWarning, match="Decisions is now Answers"):
        decisions = evaluation.Decisions(true_ids=[0, 1], **values)
    assert decisions == Answers(truth=[[1, 0], [0, 1]], is_exclusive=True, **values)
    assert decisions.true_ids.tolist() == [0, 1]
    assert decisions != Answers(truth=[1, 1], **values)


@pytest.mark.parametrize("truth", [[[1, 1], [0, 1]], [[1, np.nan], [0, 1]]])
def test_films_of_one_finding_each_show_one(truth):
    with pytest.raises(ValueError, match="film y needs one finding, and the others stated as absent"):
        Answers(findings=("a", "b"), truth=truth, probabilities=np.eye(2), paths=("y", "x"), is_exclusive=True)


def test_floor_is_baselines():
    films = make_films(20)
    plan = plan_episodes(films, n_way=2, n_shot=2, n_query=3, n_episodes=5)
    answers = Answers(findings=("a", "b"), truth=[0, 1], probabilities=np.eye(2), paths=("x", "y"))
    calls = [
        lambda: evaluate_episodes(films, floor=films, **FEW | {"n_episodes": 5}),
        lambda: evaluate_plan(films, plan, floor=films, device="cpu"),
        lambda: evaluate_closed_set(answers, floors={"pixels": answers}),
    ]
    for call in calls:
        with pytest.warns(DeprecationWarning, match=r"floors? is now baselines"):
            assert "pixels" in call().baselines

import json
from dataclasses import fields

import pytest
from made_films import make_films

from fewshot_cxr.evaluation import EpisodicResult, Estimate, evaluate_episodes

FEW = {"n_way": 2, "n_shot": 2, "n_query": 3, "n_episodes": 20, "device": "cpu"}


@pytest.fixture(scope="module")
def result():
    films = make_films(20)
    return evaluate_episodes(films, floor=films, calibrate=make_films(20, seed=1), **FEW)


def test_json_rebuilds_the_result(result):
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert EpisodicResult.from_json(plain) == result
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
    assert {item.name for item in fields(EpisodicResult)} - {"scores"} <= plain.keys()


def test_another_value_is_no_result(result):
    plain = result.to_json()
    with pytest.raises(
        ValueError, match=r"this is no result of episode-eval .*\(kind missing\); run episode-eval again"
    ):
        EpisodicResult.from_json({**plain, "kind": "closed"})
    del plain["open_set"], plain["seed"]
    with pytest.raises(ValueError, match=r"\(open_set, seed missing\)"):
        EpisodicResult.from_json(plain)


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

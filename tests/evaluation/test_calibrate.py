import numpy as np
import pytest
import torch
from made_films import change, make_films
from scipy.special import log_softmax

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import evaluate_episodes, plan_episodes
from fewshot_cxr.evaluation.episodic.calibrate import fit_on_episodes, fit_on_supports
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule
from fewshot_cxr.inference import RULES

FEW = {"n_shot": 3, "n_query": 5, "n_episodes": 200, "patient_interval": False, "device": "cpu"}
RULE = {"rule": "mean_distance", "distance": "euclidean"}


def test_a_temperature_mends_distances_that_are_too_sure():
    films, others = make_films(seed=1), make_films(seed=2)
    films, others = (change(some, vectors=30 * some.vectors) for some in (films, others))
    calibration = evaluate_episodes(films, calibrate=others, **FEW).calibration
    assert calibration.before.temperature > 5
    assert calibration.after.temperature > 5
    assert calibration.before.ece.mean < 0.06
    assert calibration.after.ece.mean < 0.06
    assert [one.basis for one in (calibration.before, calibration.after)] == ["exemplars", "other films"]
    assert calibration.reason is None


@pytest.mark.parametrize("rule", ["mean_distance", "nearest", "linear_probe"])
def test_the_temperature_of_the_supports_is_that_of_a_slow_loop(rule):
    films = make_films(seed=1, films_of_patient=(1, 3))
    episodes = plan_episodes(films, n_shot=3, n_query=2, n_episodes=9).episodes
    logs, distances, labels = np.log(np.geomspace(1e-3, 1e5, 4001)), [], []
    for block in episodes.blocks():
        for support in block.support:
            rows, own = support.ravel(), np.repeat(np.arange(len(support)), support.shape[1])
            for place, row in enumerate(rows):
                # One of each finding is left out, for a mean of fewer lies farther; of mean distances it does not.
                others = [3 * label + (place - 1) % 3 for label in range(3) if label != own[place]]
                kept = np.delete(np.arange(len(rows)), [place, *(others if rule != "mean_distance" else ())])
                if films.patient_ids[row] not in films.patient_ids[rows[kept]]:
                    known, asked = (torch.from_numpy(films.vectors[some]) for some in (rows[kept], rows[[place]]))
                    distances.append(RULES[rule](known, torch.from_numpy(own[kept]), asked)[0].numpy())
                    labels.append(own[place])
    distances, labels = np.array(distances, dtype=float), np.array(labels)
    n_own = np.bincount(labels)[labels][:, None]
    targets = (n_own * np.eye(3)[labels] + 1) / (n_own + 3)
    best = min(logs, key=lambda log: -np.sum(targets * log_softmax(-distances / np.exp(log), axis=1)))
    found = fit_on_supports(FilmRule(films, rule=rule, distance="euclidean"), episodes)
    assert np.log(found) == pytest.approx(best, abs=logs[1] - logs[0])


@pytest.mark.parametrize("rule", ["prototype", "simpleshot", "nearest", "linear_probe", "ridge", "knn"])
@pytest.mark.parametrize("n_shot", [2, 3])
def test_few_shots_leave_probabilities_that_tell_the_findings_apart(rule, n_shot):
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((3, 200)) * (4 / np.sqrt(200))
    class_ids = np.repeat(np.arange(3), 60)
    vectors = centres[class_ids] + draw.standard_normal((180, 200))
    films = Embeddings(vectors, class_ids, class_names=["a", "b", "c"])
    asked = FEW | {"n_shot": n_shot}
    result = evaluate_episodes(films, rule=rule, **asked)
    assert result.calibration.before.ece.mean < 0.2  # 0.32 was seen
    assert result.calibration.before.brier.mean < 0.58  # 0.667 where each has a third


def test_one_shot_or_a_rule_that_looks_at_all_queries_leaves_the_probabilities_uncalibrated():
    films = make_films(seed=1)
    for asked in ({"n_shot": 1}, {"rule": "tim"}):
        before = evaluate_episodes(films, **FEW | asked).calibration.before
        assert (before.temperature, before.words) == (1.0, "not calibrated")


def test_the_queries_do_not_enter_the_temperature():
    films = make_films(seed=1)
    episodes = plan_episodes(films, n_shot=3, n_query=5, n_episodes=1).episodes
    moved = films.vectors.copy()
    moved[episodes.block(0, 1).query.ravel()] += 100
    found = [fit_on_supports(FilmRule(some, **RULE), episodes) for some in (films, change(films, vectors=moved))]
    assert found[0] == found[1]


def test_a_temperature_changes_no_decision():
    films, others = make_films(seed=1), make_films(seed=2)
    plain, fitted = (evaluate_episodes(films, calibrate=some, **FEW) for some in (None, others))
    assert plain.scores == fitted.scores
    assert plain.calibration.before == fitted.calibration.before
    assert plain.calibration.after is None
    assert plain.calibration.reason == (
        "no films outside the test were named for it (--calibrate-split, or calibrate=)"
    )


def test_the_temperature_grows_with_the_distances():
    films, others = make_films(seed=1), make_films(seed=2)
    episodes = plan_episodes(films, n_shot=3, n_query=5).episodes
    one, ten = (
        fit_on_episodes(change(others, vectors=scale * others.vectors), FilmRule(films, **RULE), episodes)
        for scale in (1, 10)
    )
    assert ten == pytest.approx(10 * one, rel=1e-2)


def test_films_of_the_test_are_refused_by_name():
    films = make_films(seed=1)
    some = change(films, np.arange(30, len(films)))
    with pytest.raises(ValueError, match=rf"{len(some)} films are in the calibration .*, such as 1/100\.png"):
        evaluate_episodes(films, calibrate=some, **FEW)


def test_films_that_do_not_serve_are_refused_as_those_of_the_calibration():
    few = make_films(3, films_of_patient=(1,), seed=2)
    with pytest.raises(ValueError, match="the films for calibration do not serve: too few films for 3-shot"):
        evaluate_episodes(make_films(seed=1), calibrate=few, **FEW)


@pytest.mark.parametrize(
    "asked",
    [
        {"n_shot": {"finding 0": 2, "finding 1": 3, "finding 2": 4}, "n_query": 5, "n_episodes": 20},
        {"protocol": "fixed_support"},
        {"n_way": 2, "n_shot": 2, "n_query": 5, "n_episodes": 20, "rule": "bd_cspn"},
        {"n_shot": 2, "n_query": 40, "n_episodes": 20},
    ],
)
def test_other_shapes_and_fewer_findings_serve(asked):
    films, others = make_films(60, seed=1), make_films(seed=2, n_classes=2)
    calibration = evaluate_episodes(films, calibrate=others, patient_interval=False, device="cpu", **asked).calibration
    assert 0 < calibration.after.ece.mean < 1

import numpy as np
import pytest
from made_films import change, make_films

from fewshot_cxr.evaluation import evaluate_episodes, plan_episodes
from fewshot_cxr.evaluation.episodic.calibrate import fit_on_episodes
from fewshot_cxr.evaluation.episodic.film_rule import FilmRule

FEW = {"n_shot": 3, "n_query": 5, "n_episodes": 200, "patient_interval": False, "device": "cpu"}
RULE = {"rule": "mean_distance", "distance": "euclidean"}


def test_a_temperature_mends_distances_that_are_too_sure():
    films, others = make_films(seed=1), make_films(seed=2)
    films, others = (change(some, vectors=30 * some.vectors) for some in (films, others))
    calibration = evaluate_episodes(films, calibrate=others, **FEW).calibration
    assert calibration.before.temperature == 1
    assert calibration.after.temperature > 5
    assert calibration.before.ece.mean > 0.2
    assert calibration.after.ece.mean < 0.06
    assert calibration.after.brier.mean < calibration.before.brier.mean
    assert calibration.reason is None


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

"""How many films are enough: each point is what plain episodes give, and nothing that cannot be is measured."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes
from fewshot_cxr.evaluation import LearningCurve, evaluate_episodes, measure_learning_curve

FEW = {"n_query": 5, "n_episodes": 60, "n_patient_episodes": 400, "progress": None, "device": "cpu"}


def make_films(n_patients=40, seed=0, n_covid=None):
    draw = np.random.default_rng(seed)
    counts = {"normal": n_patients, "pneumonia": n_patients, "covid19": n_covid or n_patients}
    names = [name for name, count in counts.items() for _ in range(count) for _ in range(2)]
    patients = [f"{name}-{number}" for name, count in counts.items() for number in range(count) for _ in range(2)]
    centres = {"normal": (1.5, 0, 0), "pneumonia": (0, 1.5, 0), "covid19": (0, 0, 1.5)}
    shift = {patient: draw.normal(size=3) for patient in dict.fromkeys(patients)}
    vectors = [centres[n] + shift[p] + 0.5 * draw.normal(size=3) for n, p in zip(names, patients, strict=True)]
    return Embeddings(np.array(vectors), names, patients, paths=[f"{i}.png" for i in range(len(names))])


@pytest.fixture(scope="module")
def curve():
    return measure_learning_curve(make_films(), shots=(1, 2, 5), novel=("covid19",), rule="prototype", **FEW)


def test_the_largest_point_is_what_plain_episodes_give(curve):
    shape = {"n_shot": 5, "n_query": 5, "n_episodes": 60, "rule": "prototype", "progress": None}
    plain = evaluate_episodes(make_films(), patient_interval=False, **shape)
    assert curve.points[-1].accuracy.mean == pytest.approx(plain.accuracy.mean)
    for name, one in plain.per_class_recall.items():
        assert curve.points[-1].recalls[name].mean == pytest.approx(one.mean)


def test_each_point_is_what_a_slow_loop_gives(curve):
    films = make_films()
    block = Episodes.draw(films, n_shot=5, n_query=5, n_episodes=60).block(0, 60)
    for point in curve.points:
        right = []
        for support, query in zip(block.support, block.query, strict=True):
            centres = films.vectors[support[:, : point.n_shot]].mean(axis=1)
            gaps = np.linalg.norm(films.vectors[query][:, :, None] - centres, axis=-1)
            right.append(gaps.argmin(axis=-1) == np.arange(3)[:, None])
        assert point.accuracy.mean == pytest.approx(np.mean(right))
        recalls = dict(zip(films.class_names, np.mean(right, axis=(0, 2)), strict=True))
        assert {name: one.mean for name, one in point.recalls.items()} == pytest.approx(recalls)


def test_every_number_has_an_interval_over_patients(curve):
    for point in curve.points:
        for one in (point.accuracy, *point.recalls.values()):
            assert one.ci95[0] < one.mean < one.ci95[1]
    assert [point.n_shot for point in curve.points] == [1, 2, 5]
    assert curve.novel == ("covid19",)
    assert {one.number for one in curve.forecasts} == {"accuracy", "recall of covid19"}
    assert max(one.n_shot for one in curve.forecasts) == 25
    assert "more than 4 times" in curve.forecasts[-1].value.reason


def test_shots_that_the_patients_do_not_allow_are_listed_and_left_out():
    films = make_films(n_covid=9)
    curve = measure_learning_curve(films, shots=(30, 1, 5, 14), novel=("covid19",), ahead=(), **FEW)
    assert [point.n_shot for point in curve.points] == [1, 5]
    assert [one.n_shot for one in curve.left_out] == [14, 30]
    assert "covid19 has 18 films of 9 patients" in curve.left_out[0].reason
    assert curve.forecasts == ()
    with pytest.raises(ValueError, match="no number of shots can be measured: too few films for 30-shot"):
        measure_learning_curve(films, shots=(30,), **FEW)


def test_support_and_queries_stay_on_their_sides(monkeypatch):
    films = make_films()
    may_query = np.array([int(path.partition(".")[0]) % 4 < 2 for path in films.paths])
    drawn = []
    original = Episodes.block

    def block(self, first, size):
        found = original(self, first, size)
        drawn.append(found)
        return found

    monkeypatch.setattr(Episodes, "block", block)
    asked = {"may_support": ~may_query, "may_query": may_query}
    curve = measure_learning_curve(films, shots=(1, 5), novel=("covid19",), **asked, **FEW)
    nested = [found for found in drawn if (~may_query)[found.support].all()]
    assert any(found.support.shape[2] == 5 for found in nested)
    assert all(may_query[found.query].all() for found in nested)
    assert (curve.n_support_films, curve.n_query_films) == (120, 120)


def test_films_of_neither_side_change_nothing():
    films = make_films(n_patients=30)
    may_query = np.array([int(path.partition(".")[0]) % 60 < 40 for path in films.paths])
    asked = FEW | {"shots": (1, 3), "ahead": (), "novel": ("covid19",)}
    curve = measure_learning_curve(films, may_support=may_query, may_query=may_query, **asked)
    alone = measure_learning_curve(films.take(np.flatnonzero(may_query)), **asked)
    assert replace(curve, seconds=0) == replace(alone, seconds=0)
    assert (curve.n_films, curve.n_patients) == (120, 60)


def test_findings_that_were_not_trained_on_are_new_unless_others_are_named():
    films = make_films(n_patients=20)
    asked = FEW | {"shots": (1,), "ahead": ()}
    assert measure_learning_curve(films, seen=("normal", "pneumonia"), **asked).novel == ("covid19",)
    assert measure_learning_curve(films, **asked).novel == ()
    assert measure_learning_curve(films, seen=(), novel=("covid19",), **asked).novel == ("covid19",)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"shots": (1, 1)}, "shots must hold distinct numbers"),
        ({"shots": ()}, "shots must hold distinct numbers, one at least"),
        ({"shots": (0, 1)}, "shots must be at least 1, got 0"),
        ({"may_query": np.ones(3, dtype=bool)}, "may_query must say of each of 120 films whether it may"),
        ({"novel": ("covid",)}, "novel names an unknown finding 'covid'"),
        ({"seen": ("covid19",), "novel": ("covid19",)}, "the encoder was trained on covid19"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked, words):
    with pytest.raises(ValueError, match=words):
        measure_learning_curve(make_films(n_patients=20), **({"shots": (1, 2)} | asked), **FEW)


def test_json_keeps_everything_and_checks_what_it_reads(curve):
    plain = json.loads(json.dumps(curve.to_json(), allow_nan=False))
    assert plain["kind"] == "learning_curve"
    assert LearningCurve.from_json(plain) == curve
    with pytest.raises(ValueError, match=r"no learning curve \(kind 'episodes'\)"):
        LearningCurve.from_json({"kind": "episodes"})
    for broken, words in [
        ({"points": []}, "points must be of rising shots"),
        ({"n_episodes": "many"}, "n_episodes is 'many', a whole number was expected"),
        ({"rule": 3}, "rule is 3, a text was expected"),
    ]:
        with pytest.raises(ValueError, match=words):
            LearningCurve.from_json(plain | broken)
    high = replace(curve.points[0], accuracy=replace(curve.points[0].accuracy, mean=1.5))
    with pytest.raises(ValueError, match="accuracy .*at 1 shots is 1.5, a proportion"):
        LearningCurve.from_json(json.loads(json.dumps(replace(curve, points=(high,)).to_json())))


def test_it_says_in_a_line_what_it_is(curve):
    assert repr(curve).startswith("LearningCurve(accuracy, 1-shot: ")
    assert "<table" in curve._repr_html_()

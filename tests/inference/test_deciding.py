"""The one place where exemplars decide: every rule as the table has it, each film by those of other patients."""

import numpy as np
import pytest
import torch

from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference import RULES, TRANSDUCTIVE, deciding
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.inference.predictor import predict_by

DRAW = np.random.default_rng(0)
SUPPORT = Embeddings(DRAW.normal(size=(12, 4)), ["b", "a", "c"] * 4, [0, 1, 2, 0, 3, 4, 5, 6, 7, 8, 9, 9])
QUERIES = DRAW.normal(size=(9, 4)).astype(np.float32)


def many(n, *, seed=0):
    """So many films of three findings."""
    return Embeddings(np.random.default_rng(seed).normal(size=(n, 6)), [("a", "b", "c")[row % 3] for row in range(n)])


@pytest.mark.parametrize("rule", RULES)
def test_distances_are_the_rules(rule):
    decider = Decider(SUPPORT, rule=rule)
    assert decider.findings == ("a", "b", "c")
    labels = torch.tensor([decider.findings.index(name) for name in ["b", "a", "c"] * 4])
    expected = RULES[rule](torch.from_numpy(SUPPORT.vectors), labels, torch.from_numpy(QUERIES), distance="euclidean")
    torch.testing.assert_close(decider.distances(QUERIES), expected.double())


@pytest.mark.parametrize("rule", [name for name in RULES if name not in TRANSDUCTIVE])
def test_each_exemplar_is_decided_by_those_of_other_patients(rule):
    rows, found = Decider(SUPPORT, rule=rule).left_out()
    assert sorted(rows.tolist()) == list(range(12))
    for row, distances in zip(rows.tolist(), found, strict=True):
        others = Decider(SUPPORT.take(np.flatnonzero(SUPPORT.patient_ids != SUPPORT.patient_ids[row])), rule=rule)
        torch.testing.assert_close(distances, others.distances(SUPPORT.vectors[[row]])[0])


def test_a_patient_with_all_films_of_a_finding_is_not_asked():
    few = Embeddings(np.eye(4), ["a", "a", "b", "b"], ["p", "q", "r", "r"])
    rows, distances = Decider(few).left_out()
    assert rows.tolist() == [0, 1]
    assert distances.shape == (2, 2)


def test_a_learned_distance_holds_for_each_exemplar():
    options = {"weights": torch.tensor([1.0, 2.0, 3.0, 4.0]), "bias": 0.5}
    found = Decider(SUPPORT, rule="template", options=options).to_exemplars(QUERIES)
    slow = [[np.abs(query - one) @ [1, 2, 3, 4] for one in SUPPORT.vectors] for query in QUERIES]
    assert found.argsort(dim=1).tolist() == np.argsort(slow, axis=1).tolist()


def test_left_out_exemplars_are_missed():
    is_out = np.arange(12) < 6
    found = Decider(SUPPORT).without(is_out).distances(QUERIES)
    torch.testing.assert_close(found, Decider(SUPPORT.take(np.arange(6, 12))).distances(QUERIES))


def test_what_cannot_decide_is_refused():
    with pytest.raises(ValueError, match="one finding only"):
        Decider(SUPPORT.take(np.flatnonzero(SUPPORT.class_ids == 0)))
    with pytest.raises(ValueError, match="unknown rule"):
        Decider(SUPPORT, rule="no")
    with pytest.raises(ValueError, match="one finding each"):
        Decider(Embeddings(np.eye(2), np.eye(2), class_names=["a", "b"]))


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize("rule", ["nearest", "knn", "mean_distance", "prototype"])
@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_an_index_of_many_exemplars_says_what_measuring_all_says(rule, distance, kind, monkeypatch):
    support, films = many(200), np.concatenate([many(20, seed=1).vectors, many(200).vectors[:5]])
    names = [f"film {row}" for row in range(25)]
    plain = Decider(support, rule=rule, distance=distance)
    assert plain.index is None
    monkeypatch.setattr(deciding, "INDEXED_FROM", 100)
    indexed = Decider(support, rule=rule, distance=distance, index=kind)
    assert indexed.index.kind == kind
    if kind == "ivf":
        indexed.index.effort = 1000  # all cells
    torch.testing.assert_close(indexed.distances(films), plain.distances(films), rtol=1e-5, atol=1e-6)
    found, expected = (predict_by(by, films, names, n_nearest=4) for by in (indexed, plain))
    assert [one.findings for one in found] == [one.findings for one in expected]
    assert [bool(one.notes) for one in found] == [row >= 20 for row in range(25)]
    for ours, theirs in zip(found, expected, strict=True):
        assert [one.path for one in ours.exemplars] == [one.path for one in theirs.exemplars]
        assert np.allclose(*([one.distance for one in shown.exemplars] for shown in (ours, theirs)), rtol=1e-5)


def test_the_answered_finding_is_shown_though_others_are_nearer(monkeypatch):
    monkeypatch.setattr(deciding, "INDEXED_FROM", 2)
    support = Embeddings([[0.0], [0.1], [20.0], [9.0], [9.5]], ["a", "a", "a", "b", "b"])
    film = np.array([[1.0]], dtype=np.float32)  # two of a are near, and their mean is far
    (found,) = predict_by(Decider(support), film, ["film"], n_nearest=2)
    assert (found.findings, [one.distance for one in found.exemplars]) == (("a",), [pytest.approx(0.9), 1.0])
    support = Embeddings([[0.0], [8.0], [5.0], [5.5]], ["a", "a", "b", "b"])
    (found,) = predict_by(Decider(support, rule="prototype"), film * 4.2, ["film"], n_nearest=1)
    assert (found.findings, [one.finding for one in found.exemplars]) == (("a",), ["a"])  # b at 5 is nearer


@pytest.mark.parametrize("times", [1e-20, 1, 1e15])
def test_the_film_itself_is_found_among_its_likes(times):
    vectors = np.repeat(np.random.default_rng(0).normal(size=(50, 8)), 2, axis=0).astype(np.float32) * np.float32(times)
    vectors[1::2] += np.float32(1e-3 * times)
    decider = Decider(Embeddings(vectors, ["a", "b"] * 50))
    for row in range(100):
        moved = vectors[row] * np.float32(1 + 1e-6)
        slow = np.flatnonzero(np.abs(vectors - moved).max(axis=1) < 1e-5 * np.abs(vectors).max())
        assert np.flatnonzero(decider.same_film(moved)).tolist() == slow.tolist() == [row]
    assert not decider.same_film(vectors[0] + np.float32(times)).any()


def test_an_index_that_is_asked_for_is_made_of_few_too_or_refused():
    assert Decider(SUPPORT, index="exact").index.kind == "exact"
    with pytest.raises(ValueError, match="learned distance, which no index knows: leave index out"):
        Decider(SUPPORT, rule="template", options={"weights": torch.ones(4), "bias": 0.0}, index="exact")

"""The one place where exemplars decide: every rule as the table has it, each film by those of other patients."""

import numpy as np
import pytest
import torch

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference import RULES, TRANSDUCTIVE
from fewshot_cxr.inference.deciding import Decider

DRAW = np.random.default_rng(0)
SUPPORT = Embeddings(DRAW.normal(size=(12, 4)), ["b", "a", "c"] * 4, [0, 1, 2, 0, 3, 4, 5, 6, 7, 8, 9, 9])
QUERIES = DRAW.normal(size=(9, 4)).astype(np.float32)


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

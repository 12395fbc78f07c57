import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference import predict, sample_exemplars
from fewshot_cxr.records import Record, Records

SUPPORT = Embeddings(
    [[0.0, 0], [0, 2], [10, 0], [10, 2], [20, 0]], ["a", "a", "b", "b", "c"], paths=["a0", "a1", "b0", "b1", "c0"]
)


def test_a_film_is_named_by_its_mean_distance_and_shows_its_nearest_exemplars():
    (found,) = predict(np.array([[1.0, 1.0]]), ["x.png"], SUPPORT, n_nearest=2)
    assert found.findings == ("a",)
    assert found.distances == pytest.approx({"a": 2**0.5, "b": (81 + 1) ** 0.5, "c": (361 + 1) ** 0.5})
    assert [(exemplar.path, exemplar.finding) for exemplar in found.exemplars] == [("a0", "a"), ("a1", "a")]
    assert found.exemplars[0].distance == pytest.approx(2**0.5)
    assert found.to_json()["findings"] == ["a"]
    assert found.notes == ()


def test_the_distance_is_that_of_the_training_unless_another_is_named():
    support = Embeddings([[1.0, 0], [0, 9]], ["a", "b"])
    trained = Embeddings(support.vectors, ["a", "b"], distance="cosine")
    asked = (np.array([[1.0, 2.0]]), ["x.png"])
    assert [predict(*asked, known)[0].findings for known in (support, trained)] == [("a",), ("b",)]
    assert predict(*asked, trained, distance="euclidean")[0].findings == ("a",)


def test_an_exemplar_of_the_answered_finding_is_shown_though_others_are_nearer():
    support = Embeddings([[0.0, 3], [0, -3], [2, 0], [90, 0]], ["a", "a", "b", "b"], paths=["a0", "a1", "b0", "b1"])
    (found,) = predict(np.array([[0.5, 0.0]]), ["x.png"], support, rule="prototype", n_nearest=1)
    assert found.findings == ("a",)
    assert [exemplar.finding for exemplar in found.exemplars] == ["a"]
    (found,) = predict(np.array([[0.5, 0.0]]), ["x.png"], support, rule="prototype", n_nearest=2)
    assert [exemplar.finding for exemplar in found.exemplars] == ["b", "a"]


def test_a_tie_names_both():
    (found,) = predict(np.array([[5.0, 1.0]]), ["x.png"], SUPPORT)
    assert found.findings == ("a", "b")


def test_the_film_itself_is_no_exemplar():
    (found,) = predict(np.array([[20.0, 0.0]]), ["c0"], SUPPORT)
    assert "c" not in found.distances
    assert found.notes == ("the film itself is among the exemplars: left out",)


@pytest.mark.parametrize(
    ("queries", "told"),
    [
        (np.zeros((2, 2)), r"queries must be a row for each of 1 paths, \(N, dim\), got \(2, 2\)"),
        (np.zeros(2), r"queries must be a row for each of 1 paths, \(N, dim\), got \(2,\)"),
        (np.full((1, 2), np.nan), "the embedding of x.png is not finite; a diverged encoder"),
    ],
)
def test_what_is_no_embedding_of_a_film_is_refused(queries, told):
    with pytest.raises(ValueError, match=told):
        predict(queries, ["x.png"], SUPPORT)


def test_one_finding_is_no_choice():
    with pytest.raises(ValueError, match=r"holds one finding only \(a\); two are needed"):
        predict(np.zeros((1, 2)), ["x"], Embeddings(np.eye(2), ["a", "a"]))
    with pytest.raises(ValueError, match="dim 3 cannot be compared with dim 2"):
        predict(np.zeros((1, 3)), ["x"], SUPPORT)


def films(n_patients=30):
    rows = [
        Record(f"{finding}{patient}_{film}", (finding,), patient_id=f"{finding}{patient}")
        for finding in ("a", "b")
        for patient in range(n_patients)
        for film in range(1 + patient % 3)
    ]
    return Records(tuple(rows), ".")


def test_exemplars_are_diverse_and_follow_from_the_seed_alone():
    records = films()
    chosen = sample_exemplars(records, 8, seed=1)
    assert chosen.count_by(lambda film: film.finding) == {"a": 8, "b": 8}
    assert len({film.patient_id for film in chosen}) == 16
    shuffled = records.take(np.random.default_rng(0).permutation(len(records)).tolist())
    assert {film.path for film in sample_exemplars(shuffled, 8, seed=1)} == {film.path for film in chosen}
    assert {film.path for film in sample_exemplars(records, 8, seed=2)} != {film.path for film in chosen}


def test_a_small_finding_gives_all_it_has():
    assert len(sample_exemplars(films(2), 50)) == len(films(2))
    with pytest.raises(ValueError, match="n_exemplars must be at least 1"):
        sample_exemplars(films(), 0)


def test_transductive_rules_do_not_judge_single_films():
    with pytest.raises(ValueError, match="rule 'tim' judges all films together, so that one film's"):
        predict(np.zeros((1, 2)), ["new.png"], SUPPORT, rule="tim")

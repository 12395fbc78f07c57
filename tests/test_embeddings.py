import numpy as np
import pytest
import torch

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.storage import load_tensors, save_tensors


def test_any_hashable_ids_are_relabelled():
    films = Embeddings(torch.eye(4), ["b", "a", "b", "c"], patient_ids=[("x", 1), None, ("x", 1), 7])
    assert films.class_names == ("a", "b", "c")
    assert films.class_ids.tolist() == [1, 0, 1, 2]
    assert films.patient_ids.tolist() == [0, 1, 0, 2]
    assert Embeddings(np.eye(3), [5, 2, 5]).class_names == ("2", "5")
    assert Embeddings(np.eye(3), [1, 0, 1], class_names=["x", "y"]).class_ids.tolist() == [1, 0, 1]


def test_without_patients_each_row_is_its_own():
    assert Embeddings(np.eye(3), [0, 0, 1]).patient_ids.tolist() == [0, 1, 2]


def test_films_of_unknown_patients_are_of_a_patient_each():
    patients = ["p", None, None, "", " ", float("nan"), np.nan, "p", np.float32("nan")]
    assert Embeddings(np.eye(9), [0] * 9, patients).patient_ids.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 7]
    assert Embeddings(np.eye(3), [0] * 3, np.array([np.nan, np.nan, 5.0])).patient_ids.tolist() == [0, 1, 2]


def test_multi_label_may_be_lists():
    rows = [[1, 0, None], [0, 1, 1]]
    films = Embeddings(np.eye(2), rows, class_names=["a", "b", "c"])
    np.testing.assert_array_equal(films.class_ids, [[1, 0, np.nan], [0, 1, 1]])
    again = Embeddings(np.eye(2), list(map(np.array, [[1, 0], [0, 1]])), class_names=["a", "b"])
    assert again.is_multi_label


def test_multi_label_keeps_what_is_not_stated():
    films = Embeddings(np.eye(2), np.array([[1, 0, np.nan], [0, 1, 1]]), class_names=["a", "b", "c"])
    assert films.is_multi_label
    assert np.isnan(films.class_ids[0, 2])


def test_round_trip_through_a_file(tmp_path):
    films = Embeddings(np.eye(3), ["a", "b", "a"], [1, 1, 2], sources=["s", None, "t"], paths=["x", "y", "z"])
    films.save(tmp_path / "e.safetensors")
    again = Embeddings.load(tmp_path / "e.safetensors")
    for name in ("vectors", "class_ids", "patient_ids"):
        assert np.array_equal(getattr(films, name), getattr(again, name))
    assert (again.class_names, again.sources, again.paths) == (("a", "b"), ("s", "", "t"), ("x", "y", "z"))


def test_the_distance_of_the_training_travels_and_older_files_have_none(tmp_path):
    films = Embeddings(np.eye(3), ["a", "b", "a"], paths=["x", "y", "z"], distance="cosine")
    films.save(tmp_path / "e.safetensors")
    assert Embeddings.load(tmp_path / "e.safetensors").distance == films.take([2, 0]).distance == "cosine"
    tensors, header = load_tensors(tmp_path / "e.safetensors", kind="embeddings")
    del header["distance"]
    save_tensors(tmp_path / "old.safetensors", tensors, kind="embeddings", header=header)
    assert Embeddings.load(tmp_path / "old.safetensors").distance is None


def test_rows_are_taken_in_the_order_asked_for_under_the_same_names():
    films = Embeddings(np.eye(3), ["a", "b", "c"], ["p", "q", "r"], sources=["s", None, "t"], paths=["x", "y", "z"])
    some = films.take([2, 0])
    assert (some.class_names, some.sources, some.paths) == (films.class_names, ("t", "s"), ("z", "x"))
    assert np.array_equal(some.vectors, films.vectors[[2, 0]])
    assert (some.class_ids.tolist(), some.patient_ids.tolist()) == ([2, 0], [0, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vectors": np.zeros(3), "class_ids": [0]}, r"vectors must have shape \(N, dim\)"),
        ({"vectors": np.array([[0.0], [np.nan]]), "class_ids": [0, 1]}, "row 1 of vectors is not finite"),
        ({"vectors": np.eye(2), "class_ids": [0]}, "class_ids has 1 entries for 2 vectors"),
        ({"vectors": np.eye(2), "class_ids": [0, 5], "class_names": ["a"]}, "class id 5 is not in class_names"),
        ({"vectors": np.eye(2), "class_ids": [0, 1], "class_names": ["a", "a"]}, "must differ from each other"),
        ({"vectors": np.eye(2), "class_ids": [0, 1], "paths": ["x"]}, "paths has 1 entries"),
        ({"vectors": np.eye(2), "class_ids": np.eye(2), "class_names": ["a", "a"]}, "must differ from each other"),
        ({"vectors": np.eye(2), "class_ids": [[1, 0], [1]], "class_names": ["a", "b"]}, "must be rows of equal length"),
        ({"vectors": np.eye(2), "class_ids": [["a"], ["b"]], "class_names": ["a"]}, "must be rows of equal length"),
        ({"vectors": np.eye(2), "class_ids": np.full((2, 1), 3), "class_names": ["a"]}, r"must hold 1 \(present\)"),
    ],
)
def test_wrong_input_stops_at_the_door(arguments, message):
    with pytest.raises(ValueError, match=message):
        Embeddings(**arguments)


def test_embeddings_show_themselves_in_a_line_and_in_a_table():
    films = Embeddings(np.zeros((3, 2)), ["<b>", "a", "a"], [1, 1, 2], sources=["x", "x", "y"], distance="cosine")
    facts = "films: 3; numbers a film: 2; findings: a 2, <b> 1; patients: 2; sources: x 2, y 1; distance: cosine"
    assert repr(films) == f"Embeddings({facts})"
    assert "<b>" not in films._repr_html_()
    assert "&lt;b&gt; 1" in films._repr_html_()


def test_films_of_no_stated_source_are_said_to_be_of_an_unknown_one():
    assert "sources: unknown 2, x 1;" in repr(Embeddings(np.eye(3), ["a", "b", "a"], sources=["", "x", None]))


def test_embeddings_of_many_films_stay_short():
    several = np.eye(40)[np.arange(1_000) % 40]
    films = Embeddings(np.zeros((1_000, 2)), several, class_names=[f"finding {n}" for n in range(40)])
    assert len(repr(films)) < 300
    assert "patients: unknown" in repr(films)


@pytest.mark.parametrize("shape", [(1, 3), (5, 1), (2000, 4)])
def test_a_notebook_shows_a_dot_a_film_of_at_most_500(shape):
    films = Embeddings(np.random.default_rng(0).normal(size=shape), [f"finding {row % 3}" for row in range(shape[0])])
    assert films._repr_html_().count("<circle") == min(shape[0], 500)


WRONG = [None, [], {}, 3, True, -1e308, 10**400, "x" * 100_000, [None], [[1]], {"a": {}}]


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
@pytest.mark.parametrize("key", ["class_names", "sources", "paths", "distance"])
def test_a_header_of_another_form_is_refused_by_name(tmp_path, key, wrong):
    path = tmp_path / "e.safetensors"
    Embeddings(np.eye(3), ["a", "b", "a"], paths=list("xyz")).save(path)
    tensors, header = load_tensors(path, kind="embeddings")
    save_tensors(path, tensors, kind="embeddings", header=header | {key: wrong})
    if wrong is None and key != "class_names":
        assert getattr(Embeddings.load(path), key) is None
        return
    if key == "distance" and isinstance(wrong, str):
        return
    with pytest.raises(
        ValueError, match=rf"^\S*e.safetensors(: its header.{key}(, an item,)?| holds no emb\S* .*{key}) "
    ) as caught:
        Embeddings.load(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "changes",
    [
        {"vectors": None},
        {"vectors": torch.full((3, 3), torch.nan)},
        {"vectors": torch.ones(3)},
        {"vectors": torch.ones(3, 3, dtype=torch.bfloat16)},
        {"class_ids": torch.tensor([0, 1, -1])},
        {"class_ids": torch.tensor([0, 1, 2])},
        {"class_ids": torch.ones(3, 3)},
        {"patient_ids": torch.ones(3, 2)},
        {"patient_ids": torch.ones(2)},
        {"has_patient": torch.ones(2)},
        {"more": torch.ones(3)},
    ],
)
def test_tensors_that_make_no_sense_are_refused_by_name(tmp_path, changes):
    path = tmp_path / "e.safetensors"
    Embeddings(np.eye(3), ["a", "b", "a"]).save(path)
    tensors, header = load_tensors(path, kind="embeddings")
    kept = {name: tensor for name, tensor in (tensors | changes).items() if tensor is not None}
    save_tensors(path, kept, kind="embeddings", header=header)
    with pytest.raises(ValueError, match=r"^\S*e.safetensors holds (no embeddings that can be used: |'more', which)"):
        Embeddings.load(path)


@pytest.mark.parametrize("vectors", [np.zeros((4, 3)), np.full((4, 3), 7.0), np.full((4, 3), 1e30) + np.eye(4, 3)])
def test_vectors_that_are_all_the_same_are_warned_of(tmp_path, vectors):
    films = Embeddings(vectors, list("abab"))
    films.save(tmp_path / "e.safetensors")
    with pytest.warns(UserWarning, match="e.safetensors: the vectors of all 4 films are the same") as caught:
        Embeddings.load(tmp_path / "e.safetensors")
    assert caught[0].filename == __file__
    films.take([0]).save(tmp_path / "e.safetensors")
    Embeddings.load(tmp_path / "e.safetensors")


def test_whose_weights_made_them_is_kept(tmp_path):
    told = {"name": "made", "licence": "MIT", "trained_on": ["CheXpert"]}
    films = Embeddings(np.eye(3), ["a", "b", "a"], weights=told)
    films.take([0, 2]).save(tmp_path / "films.safetensors")
    loaded = Embeddings.load(tmp_path / "films.safetensors")
    assert loaded.weights == films.weights
    assert "weights: made" in repr(loaded)
    plain = Embeddings(np.eye(3), ["a", "b", "a"], weights={})
    plain.save(tmp_path / "plain.safetensors")
    assert "weights" not in load_tensors(tmp_path / "plain.safetensors", kind="embeddings")[1]

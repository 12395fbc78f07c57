"""Whose patients are whose, where several sets become one."""

import pytest

from fewshot_cxr.data import merge_records, namespace_notes, patient_namespaces
from fewshot_cxr.records import Record, Records


def sets(folder, *names, film="{}.png", patient="1"):
    parts = {name: Records((Record(film.format(name), ("x",), patient_id=patient),), folder) for name in names}
    return parts, [folder / f"{name}.csv" for name in names]


def test_the_same_number_in_two_sets_is_two_patients_and_said(tmp_path):
    parts, paths = sets(tmp_path, "a", "b")
    whose = patient_namespaces(parts, paths)
    assert whose == {"a": "a", "b": "b"}
    told = "patient ids in several of a, b: 1, such as 1; each is taken for different patients; --same-patients"
    assert [note.startswith(told) for note in namespace_notes(parts, whose)] == [True]
    assert [film.patient_id for film in merge_records(parts, patients=whose)] == ["a:1", "b:1"]


@pytest.mark.parametrize(
    ("first", "second", "are_same"),
    [
        ("train.csv", "test.csv", True),
        ("cxr_train.csv", "cxr-validation.csv", True),
        ("train/films.csv", "val/films.csv", True),
        ("site/train", "site/test", True),
        ("one/train.csv", "two/test.csv", False),
        ("one/films.csv", "two/films.csv", False),
        ("chest.csv", "test.csv", False),
    ],
)
def test_parts_of_one_split_share_their_patients(tmp_path, first, second, are_same):
    parts, _ = sets(tmp_path, "first", "second")
    whose = patient_namespaces(parts, [tmp_path / first, tmp_path / second])
    assert (whose["second"] == "first") == are_same
    assert ("one patient" in namespace_notes(parts, whose)[0].partition(";")[2][:40]) == are_same


def test_a_film_in_two_sets_joins_them_and_a_third_joins_both(tmp_path):
    parts, paths = sets(tmp_path, "a", "b", film="one.png")
    assert patient_namespaces(parts, paths) == {"a": "a", "b": "a"}
    other = parts | {"b": parts["b"].each(lambda film: Record("one.png", ("x",), patient_id="2"))}
    assert patient_namespaces(other, paths) == {"a": "a", "b": "b"}
    lone, paths = sets(tmp_path, "a", "b", "c")
    both = lone | {"c": Records((*lone["a"], *lone["b"]), tmp_path)}
    assert set(patient_namespaces(both, paths).values()) == {"a"}


def test_unknown_patients_join_nothing(tmp_path):
    parts, paths = sets(tmp_path, "a", "b", film="one.png", patient=None)
    assert patient_namespaces(parts, paths) == {"a": "a", "b": "b"}
    assert namespace_notes(parts, {"a": "a", "b": "b"}) == []

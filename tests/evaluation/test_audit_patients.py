from dataclasses import replace
from pathlib import Path

import pytest

from fewshot_cxr.evaluation.audit.patients import (
    association,
    children_among_adults,
    contradictory_patients,
    find_leaks,
    views,
)
from fewshot_cxr.evaluation.audit.result import ExactDuplicates, NearDuplicate
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.records import Problem, Record, Records


def films(*rows):
    return Records(tuple(Record(path, tuple(findings.split("|")), **more) for path, findings, more in rows), Path())


def test_a_patient_in_two_splits_is_a_leak_and_its_group_is_not_told_twice():
    records = films(
        ("a", "x", {"patient_id": "p1", "group_id": "g1", "split": "train"}),
        ("b", "x", {"patient_id": "p1", "group_id": "g1", "split": "test"}),
        ("c", "x", {"patient_id": "p2", "group_id": "g2", "split": "train"}),
        ("d", "x", {"patient_id": "p3", "group_id": "g2", "split": "val"}),
        ("e", "x", {"patient_id": "p4", "split": "val"}),
        ("f", "x", {"patient_id": "p4"}),
    )
    leaks = find_leaks(records)
    assert [(leak.by, leak.name, leak.splits, leak.paths) for leak in leaks] == [
        ("patient", "p1", ("test", "train"), ("a", "b")),
        ("group", "g2", ("train", "val"), ("c", "d")),
    ]


def test_duplicates_over_splits_are_leaks_and_those_within_one_are_not():
    records = films(*((name, "x", {"split": split}) for name, split in zip("abcd", "1122", strict=True)))
    exact = (ExactDuplicates(("a", "b"), "bytes", None, True), ExactDuplicates(("b", "c"), "pixels", None, True))
    near = (NearDuplicate("a", "d", 2, 0.99, None, True), NearDuplicate("c", "d", 2, 0.99, None, True))
    leaks = find_leaks(records, exact, near)
    assert [(leak.by, leak.name, leak.paths) for leak in leaks] == [
        ("exact_duplicate", None, ("b", "c")),
        ("near_duplicate", None, ("a", "d")),
    ]


def test_a_file_that_two_joined_lists_name_is_a_leak():
    records = films(("a", "x", {"split": "train"}), ("a", "x", {"split": "test"}))
    (leak,) = find_leaks(records, (ExactDuplicates(("a", "a"), "bytes", None, True),))
    assert (leak.by, leak.splits) == ("exact_duplicate", ("test", "train"))


def test_what_is_part_of_a_leak_is_not_told_again():
    records = films(
        ("a", "x", {"patient_id": "p", "split": "train"}),
        ("b", "x", {"patient_id": "p", "split": "test"}),
        ("c", "x", {"split": "train"}),
        ("d", "x", {"split": "test"}),
    )
    exact = (ExactDuplicates(("c", "d"), "bytes", None, True),)
    near = (NearDuplicate("a", "b", 0, 0.99, True, True), NearDuplicate("c", "d", 0, 1.0, None, True))
    assert [(leak.by, leak.paths) for leak in find_leaks(records, exact, near)] == [
        ("patient", ("a", "b")),
        ("exact_duplicate", ("c", "d")),
    ]


def test_films_without_a_split_join_a_chain():
    records = films(
        ("a", "x", {"patient_id": "p1", "group_id": "g1", "split": "train"}),
        ("b", "x", {"patient_id": "p2", "group_id": "g1"}),
        ("c", "x", {"patient_id": "p2", "group_id": "g2", "split": "test"}),
        ("d", "x", {"patient_id": "p3", "split": "test"}),
    )
    assert [(leak.by, leak.splits, leak.paths) for leak in find_leaks(records)] == [
        ("chain", ("test", "train"), ("a", "c"))
    ]
    copies = films(("a", "x", {"split": "train"}), ("b", "x", {}), ("c", "x", {"split": "test"}))
    exact = (ExactDuplicates(("a", "b"), "bytes", None, True),)
    possible = (NearDuplicate("b", "c", 0, 0.95, None, True),)
    assert [(leak.by, leak.paths) for leak in find_leaks(copies, exact, (), possible)] == [("chain", ("a", "c"))]


def test_re_cropped_copies_over_splits_are_leaks():
    records = films(("a", "x", {"split": "train"}), ("b", "x", {"split": "test"}))
    (leak,) = find_leaks(records, possible=(NearDuplicate("a", "b", 3, 0.95, None, True),))
    assert leak.by == "possible_duplicate"


def test_rows_that_disagree_over_one_file_are_told():
    problems = (
        Problem(3, "a", "twice", "split_conflict", "test"),
        Problem(4, "b", "twice", "finding_conflict", "y"),
        Problem(5, "b", "twice", "duplicate"),
    )
    records = replace(
        films(("a", "x", {"split": "train"}), ("b", "x", {"patient_id": "p", "split": "train"})), problems=problems
    )
    (leak,) = find_leaks(records)
    assert (leak.by, leak.name, leak.splits, leak.paths) == ("row", "row 3", ("test", "train"), ("a",))
    (patient,) = contradictory_patients(records)
    assert (patient.patient, patient.findings, patient.paths) == ("p", ("x", "y"), ("b",))


def test_two_words_for_normal_contradict_nothing():
    p, q = {"patient_id": "p"}, {"patient_id": "q"}
    records = films(("a", "normal", p), ("b", "No Finding", p), ("c", "x|y", q))
    assert contradictory_patients(records) == ()


def test_single_label_films_of_one_patient_that_differ_contradict():
    records = films(
        ("a", "normal", {"patient_id": "p1"}),
        ("b", "pneumonia", {"patient_id": "p1"}),
        ("c", "covid19", {"patient_id": "p2"}),
        ("d", "covid19", {"patient_id": "p2"}),
        ("e", "normal", {}),
        ("f", "covid19", {}),
    )
    (found,) = contradictory_patients(records)
    assert (found.patient, found.findings, found.n_films, found.paths) == ("p1", ("normal", "pneumonia"), 2, ("a", "b"))


@pytest.mark.parametrize("normal", ["No Finding", "normal", "no_finding"])
def test_in_a_multi_label_set_only_normal_beside_a_finding_contradicts(normal):
    records = films(
        ("a", "Effusion|Mass", {"patient_id": "p1"}),
        ("b", "Hernia", {"patient_id": "p1"}),
        ("c", "Mass", {"patient_id": "p2"}),
        ("d", normal, {"patient_id": "p2"}),
        ("e", f"{normal}|Hernia", {"patient_id": "p3"}),
    )
    assert [found.patient for found in contradictory_patients(records)] == ["p2", "p3"]


def test_views_are_counted_for_all_and_judged_on_single_labels():
    records = films(*((f"{i}", "x" if i % 2 else "y", {"view": "AP" if i % 2 else "PA"}) for i in range(10)))
    found = views(records)
    assert found.by_finding == {"x": {"AP": 5, "PA": 0}, "y": {"AP": 0, "PA": 5}}
    assert found.cramers_v.number.mean == pytest.approx(1)
    mixed = Records((*records, Record("m", ("x", "y"), view="AP"), Record("n", ("x",))), Path())
    assert views(mixed).by_finding["y"] == {"AP": 1, "PA": 5, "not stated": 0}
    assert views(mixed).cramers_v == found.cramers_v


@pytest.mark.parametrize(
    ("rows", "columns", "reason"),
    [
        ([], [], "no source is stated"),
        (["x", "y"], ["s", "s"], "one source"),
        (["x", "x"], ["s", "t"], "one finding"),
    ],
)
def test_what_cannot_be_assessed_is_never_zero(rows, columns, reason):
    found = association(rows, columns, what="source")
    assert found.number == Estimate(None, reason=f"cannot be assessed: {reason}")


def test_children_are_counted_where_ages_are_known():
    ages = {"a": 0.5, "b": 17.9, "c": 18.0, "d": 60.0, "e": None}
    records = films(*((name, "x" if name in "ad" else "y", {"age_years": age}) for name, age in ages.items()))
    found = children_among_adults(records)
    assert (found.n_children, found.n_adults, found.n_unknown) == (2, 2, 1)
    assert found.by_finding == {"x": {"children": 1, "adults": 1}, "y": {"children": 1, "adults": 1}}
    unknown = children_among_adults(films(("a", "x", {})))
    assert (unknown.assessed, unknown.reason, unknown.by_finding) == (False, "cannot be assessed: no ages", None)

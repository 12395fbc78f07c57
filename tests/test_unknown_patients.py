"""Films of unknown patients: what is said of them, and that it is said once."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import (
    Comparison,
    Result,
    compare_results,
    decide_by_exemplars,
    evaluate_closed_set,
    evaluate_episodes,
    evaluate_multi_label,
    read_predictions,
)
from fewshot_cxr.records import Record, Records
from fewshot_cxr.report import numbers_csv
from fewshot_cxr.report.compare_tables import comparison_table
from fewshot_cxr.report.finding_tables import result_tables
from fewshot_cxr.storage import save_tensors
from fewshot_cxr.unknown_patients import films_text, over_patients, unknown_text, with_unknown_noted


@pytest.mark.parametrize(
    ("n_unknown", "over", "films"),
    [
        (0, "over patients", "24 films of 6 patients"),
        (24, "over films (patients unknown)", "24 films (patients unknown)"),
        (2, "over patients (unknown for 2 of 24 films)", "24 films of 6 patients (unknown for 2 of 24 films)"),
    ],
)
def test_the_words_tell_none_some_and_all_apart(n_unknown, over, films):
    assert over_patients(n_unknown, 24) == over
    assert films_text(24, 6, n_unknown) == films
    assert films_text(1, 1, 0) == "1 film of 1 patient"
    assert ("unknown" in unknown_text(n_unknown, 24)) == (n_unknown > 0)


def test_a_note_is_added_once_and_a_group_is_as_good_as_a_patient():
    bare, patient, group = Record("a", ("x",)), Record("b", ("x",), patient_id="1"), Record("c", ("x",), group_id="g")
    assert not with_unknown_noted(Records((patient, group), Path())).notes
    some = with_unknown_noted(Records((bare, patient, group), Path()))
    assert some.notes == ("the patients of 1 of 3 films are unknown: each of these counts as its own patient",)
    assert with_unknown_noted(some[:2]) == some[:2]
    said = Records((bare,), Path(), notes=("set: patients are unknown: each film counts as its own patient, so ...",))
    assert with_unknown_noted(said) is said


def embedded(patient_ids, **more):
    ids = np.arange(60) % 3
    vectors = np.random.default_rng(0).normal(size=(60, 4)) + np.eye(4)[ids]
    return Embeddings(vectors, ids, patient_ids, ("a", "b", "c"), paths=[f"{row}.png" for row in range(60)], **more)


SOME = [None if row < 12 else f"p{row // 2}" for row in range(60)]
KINDS = {
    "none": (None, "over films (patients unknown)", 60),
    "some": (SOME, "over patients (unknown for 12 of 60 films)", 12),
    "all": ([f"p{row // 2}" for row in range(60)], "over patients", 0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_keep_which_patients_are_known(kind, tmp_path):
    ids, over, n_unknown = KINDS[kind]
    films = embedded(ids)
    films.save(tmp_path / "e.safetensors")
    for some in (films, Embeddings.load(tmp_path / "e.safetensors"), replace(films, paths=None)):
        assert some.n_films_without_patient == n_unknown
        assert some.take(range(15)).n_films_without_patient == min(n_unknown, 15)
        assert ("unknown" in repr(some).partition("patients: ")[2].partition("; distance")[0]) == (n_unknown > 0)
        assert evaluate_episodes(some, n_shot=1, n_query=1, n_episodes=200).interval_over == over


def test_files_of_before_take_patients_for_known(tmp_path):
    tensors = {"vectors": torch.eye(2), "class_ids": torch.arange(2), "patient_ids": torch.arange(2)}
    header = {"class_names": ("a", "b"), "sources": None, "paths": None, "distance": None}
    save_tensors(tmp_path / "e.safetensors", tensors, kind="embeddings", header=header)
    assert not Embeddings.load(tmp_path / "e.safetensors").n_films_without_patient
    with pytest.raises(ValueError, match="has_patient has 1 entries for 2 patient_ids"):
        Embeddings(np.ones((2, 2)), [0, 1], has_patient=[True])


def results(ids):
    films = embedded(ids)
    support = Embeddings(np.eye(4)[:3], [0, 1, 2], [0, 1, 2], ("a", "b", "c"), paths=["x", "y", "z"])
    answers = decide_by_exemplars(films, support)
    yield evaluate_episodes(films, n_shot=1, n_query=1, n_episodes=200)
    yield evaluate_closed_set(answers)
    yield evaluate_multi_label(("a", "b", "c"), np.full((60, 3), 0.4), answers.truth, ids, films.paths)


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_says_what_its_intervals_are_over(kind):
    ids, over, n_unknown = KINDS[kind]
    for result in results(ids):
        value = json.loads(json.dumps(result.to_json()))
        assert (value["n_films_without_patient"], value["interval_over"]) == (n_unknown, over)
        assert Result.from_json(value).to_json() == value
        assert any("unknown" in text for text in result.warnings) == (n_unknown > 0)
        before = {key: part for key, part in value.items() if key not in ("n_films_without_patient", "interval_over")}
        before["films"] = [{k: v for k, v in film.items() if k != "has_patient"} for film in value.get("films", ())]
        assert Result.from_json(before).interval_over == "over patients"
        text = "\n".join(str(table) for table in result_tables(result)) + numbers_csv(result)
        assert over in text
        assert n_unknown < 60 or "over patients" not in text
        other = compare_results(result, result)
        assert films_text(60, result.n_patients, n_unknown) in comparison_table(other).caption
        assert Comparison.from_json(json.loads(json.dumps(other.to_json()))) == other


def test_the_answers_of_a_file_say_which_patients_are_unknown(tmp_path):
    rows = ["path,finding,patient_id,predicted", *(f"{n}.png,{'ab'[n % 2]},{'p' * (n > 3)},a" for n in range(8))]
    (tmp_path / "p.csv").write_text("\n".join(rows))
    answers = read_predictions(tmp_path / "p.csv")
    assert answers.has_patient.tolist() == [False] * 4 + [True] * 4
    assert [film.get("has_patient", True) for film in answers.films_json()] == answers.has_patient.tolist()
    assert evaluate_closed_set(answers).interval_over == "over patients (unknown for 4 of 8 films)"

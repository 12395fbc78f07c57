"""Copies that an audit found stay together, and exact ones go where that is asked for."""

import shutil
from dataclasses import replace

import pytest
from PIL import Image

from fewshot_cxr.data import fold_split, k_folds, leave_one_source_out, split_by_patient
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.evaluation import audit_films, join_copies
from fewshot_cxr.evaluation.audit.copies import _joined_groups
from fewshot_cxr.records import Record, Records


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """Films of twelve patients, and copies of some under other patients: exact, saved anew, contradictory."""
    films = make_synthetic(tmp_path_factory.mktemp("merged"), n_patients=6, findings=("normal", "effusion"), size_px=96)
    copies = []
    for number, film in enumerate(films[:12]):
        name = f"copy_{number}.{'png' if number % 2 else 'jpg'}"
        if number % 2:
            shutil.copy(films.file(film), films.root / name)
        else:
            Image.open(films.file(film)).resize((80, 80)).save(films.root / name, quality=85)
        finding = "effusion" if number in (3, 4) else film.finding
        copies.append(Record(name, (finding,), patient_id=f"other-{number}", source="other"))
    own = tuple(replace(film, source="other" if film in films[-8:] else "own", group_id=None) for film in films)
    return Records((*own, *copies), films.root)


@pytest.fixture(scope="module")
def audit(merged):
    return audit_films(merged)


def leaks(parts):
    whole = Records(tuple(film for part in parts for film in part), parts[0].root)
    return audit_films(whole).leaks


@pytest.mark.parametrize("copies", ["group", "drop"])
def test_no_split_of_joined_films_leaks(merged, audit, copies):
    plain = [leaks(split_by_patient(merged, (0.5, 0.2, 0.3), seed=seed)) for seed in range(2)]
    assert any(leak.by.endswith("duplicate") for found in plain for leak in found)
    joined = join_copies(merged, audit, copies=copies)
    for seed in range(2):
        assert not leaks(split_by_patient(joined, (0.5, 0.2, 0.3), seed=seed))
    assert not leaks(fold_split(k_folds(joined, 3), 1))
    assert not leaks(leave_one_source_out(joined)["other"])


def test_dropping_keeps_the_first_of_exact_copies_and_none_that_contradict(merged, audit):
    exact = [set(group.paths) for group in audit.exact_duplicates]
    clashing = {path for group in audit.exact_duplicates if not group.same_label for path in group.paths}
    assert len(exact) == 6
    assert clashing
    kept = join_copies(merged, audit, copies="drop")
    paths = {film.path for film in kept}
    assert not paths & clashing
    assert all(len(group & paths) == 1 for group in exact if not group & clashing)
    assert {problem.path for problem in kept.problems} == {film.path for film in merged} - paths
    assert f"exact copies dropped: {len(merged) - len(kept)}" in kept.notes


def test_all_films_of_joined_patients_share_one_group(tmp_path):
    films = [Record(f"{name}.png", ("x",), patient_id=name[0]) for name in ("a1", "a2", "b1", "b2", "c1", "d1")]
    numbers = _joined_groups(films, [("a1.png", "b2.png"), ("b1.png", "b2.png")])
    assert len({*numbers[:4].tolist()}) == 1
    assert (numbers[4:] == -1).all()
    assert (_joined_groups(films, []) == -1).all()


def test_names_of_patients_stay_and_notes_count(merged, audit):
    joined = join_copies(merged, audit)
    assert [film.patient_id for film in joined] == [film.patient_id for film in merged]
    n_joined = sum(film.group_id is not None for film in joined)
    n_groups = len({film.group_id for film in joined} - {None})
    assert joined.notes[0].startswith(f"films that copies join: {n_joined}, in groups: {n_groups}, ")
    (note,) = (note for note in joined.notes if note.startswith("exact copies with different findings: "))
    assert "most often effusion and normal (" in note


def test_an_audit_of_other_films_is_refused(merged, audit):
    with pytest.raises(ValueError, match=r"the audit is of other films \(hash .*fscxr data audit --json"):
        join_copies(merged[1:], audit)
    with pytest.raises(ValueError, match="unknown way with copies 'remove'"):
        join_copies(merged, audit, copies="remove")

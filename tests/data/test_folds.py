"""Folds: every film once, whole patients, alike in every finding; and the splits made of them."""

from pathlib import Path

import numpy as np
import pytest

from fewshot_cxr.data import assert_no_leak, fold_split, k_folds, patient_groups, read_dataset
from fewshot_cxr.records import Record, Records


def films(n_patients=90, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(n_patients):
        finding = ("normal", "pneumonia", "covid19")[min(patient % 5, 2)]
        more = ("edema",) if patient % 7 == 0 else ()
        n_films = rng.integers(1, 5)
        rows += [Record(f"{patient}_{film}.png", (finding, *more), patient_id=f"p{patient}") for film in range(n_films)]
    return Records(tuple(rows), Path("films"), notes=("read so",))


@pytest.mark.parametrize("n_folds", [2, 3, 5])
def test_each_film_is_in_one_fold_and_each_patient_too(n_folds):
    records = films()
    folds = k_folds(records, n_folds, seed=1)
    assert [{film.split for film in fold} for fold in folds] == [{f"fold{number}"} for number in range(n_folds)]
    assert sorted(film.path for fold in folds for film in fold) == sorted(film.path for film in records)
    patients = [{film.patient_id for film in fold} for fold in folds]
    assert sum(map(len, patients)) == len(set.union(*patients))
    for finding in records.findings:
        counts = [sum(finding in film.findings for film in fold) for fold in folds]
        assert max(counts) - min(counts) <= 4  # no patient has more films
    assert folds[0].notes == ("read so",)


def test_as_many_folds_as_patients_leave_one_out():
    folds = k_folds(films(n_patients=3), 3)
    assert [len({film.patient_id for film in fold}) for fold in folds] == [1, 1, 1]


def test_neither_row_order_nor_names_of_patients_matter():
    records = films()
    order = np.random.default_rng(1).permutation(len(records))
    renamed = Records(tuple(Record(f.path, f.findings, patient_id=f"x{f.patient_id}") for f in records), records.root)
    first = [{film.path for film in fold} for fold in k_folds(records, seed=3)]
    for other in (records.take(order), renamed):
        assert [{film.path for film in fold} for fold in k_folds(other, seed=3)] == first
    assert [{film.path for film in fold} for fold in k_folds(records, seed=4)] != first


def test_findings_of_few_patients_do_not_all_fall_into_the_first_fold():
    rows = [Record(f"{name}{i}.png", (name,), f"{name}{i}") for name in "abcde" for i in range(3)]
    folds = k_folds(Records(tuple(rows), Path()), 5)
    assert [len(fold) for fold in folds] == [3] * 5
    assert sum("3 patients have it, for 5 parts" in note for note in folds[0].notes) == 10


@pytest.mark.parametrize("seed", range(10))
def test_as_many_patients_as_folds_serve_every_fold(seed):
    rows = [Record(f"{i}_{j}.png", ("rare",), f"p{i}") for i in range(5) for j in range(1 + 3 * (i % 2))]
    rows += [Record(f"c{i}.png", ("common", "other")[: 1 + i % 2], f"c{i}") for i in range(40)]
    for fold in k_folds(Records(tuple(rows), Path()), 5, seed=seed):
        assert fold.findings == ("common", "other", "rare")


@pytest.mark.parametrize("test_fold", range(4))
def test_a_split_of_folds(test_fold):
    records = films()
    folds = k_folds(records, 4)
    train, val, test = parts = fold_split(folds, test_fold)
    assert [{film.split for film in part} for part in parts] == [{"train"}, {"val"}, {"test"}]
    assert {film.path for film in test} == {film.path for film in folds[test_fold]}
    assert {film.path for film in val} == {film.path for film in folds[(test_fold + 1) % 4]}
    assert len(train) + len(val) + len(test) == len(records)
    assert_no_leak(*parts)
    assert_no_leak(Records((*train, *val, *test), records.root))


def test_folds_that_cannot_be():
    with pytest.raises(ValueError, match="^n_folds must be at least 2, got 1$"):
        k_folds(films(), 1)
    with pytest.raises(ValueError, match="^n_folds is 5, but the films are of 3 patients: take fewer folds$"):
        k_folds(films(3), 5)
    with pytest.raises(ValueError, match="^the number of folds for train, val and test must be at least 3, got 2$"):
        fold_split(k_folds(films(), 2), 0)
    with pytest.raises(ValueError, match="^test_fold must be 0 to 4, got 5$"):
        fold_split(k_folds(films()), 5)


def test_three_class_set_in_folds(fscxr_data):
    records = read_dataset("manifest", fscxr_data / "cxr3" / "metadata.csv")
    folds = k_folds(records)
    assert sum(map(len, folds)) == len(records) == 1124
    assert sum(len(np.unique(patient_groups(fold))) for fold in folds) == 764
    for finding, count in records.count_by(lambda film: film.finding).items():
        for fold in folds:
            assert abs(sum(film.finding == finding for film in fold) / count - 0.2) <= 0.02

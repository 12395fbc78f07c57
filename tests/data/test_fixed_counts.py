"""So many films of each class in test and val."""

import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fewshot_cxr.data import fixed_counts, patient_groups, read_dataset
from fewshot_cxr.data.splits.held_out import _nearest_subset
from fewshot_cxr.records import Record, Records


def films(sizes):
    """Films of one patient for each number, by finding."""
    return Records(
        tuple(
            Record(f"{finding}{patient}_{film}.png", (finding,), patient_id=f"{finding}{patient}")
            for finding, counts in sizes.items()
            for patient, count in enumerate(counts)
            for film in range(count)
        ),
        Path("films"),
    )


def counts(part):
    return dict(sorted(Counter(name for film in part for name in film.findings).items()))


@pytest.mark.parametrize("seed", range(5))
def test_the_count_is_exact_and_patients_stay_whole(seed):
    rng = np.random.default_rng(seed)
    records = films({"a": rng.integers(1, 6, 60), "b": rng.integers(1, 6, 200), "c": [2] * 30 + [1]})
    train, val, test = fixed_counts(records, 20, 11, seed=seed)
    assert counts(test) == {"a": 20, "b": 20, "c": 20}
    assert counts(val) == {"a": 11, "b": 11, "c": 11}
    assert len(train) + len(val) + len(test) == len(records)
    assert not train.notes
    patients = [{film.patient_id for film in part} for part in (train, val, test)]
    assert sum(map(len, patients)) == len(set.union(*patients))
    assert [{film.split for film in part} for part in (train, val, test)] == [{"train"}, {"val"}, {"test"}]


def test_neither_row_order_nor_names_of_patients_matter_but_the_seed_does():
    records = films({"a": [1, 2, 3] * 20, "b": [1, 4] * 20})
    order = np.random.default_rng(1).permutation(len(records))
    renamed = Records(tuple(Record(f.path, f.findings, patient_id=f"x{f.patient_id}") for f in records), records.root)
    first = [{f.path for f in part} for part in fixed_counts(records, 10, 10, seed=3)]
    for other in (records.take(order), renamed):
        assert [{f.path for f in part} for part in fixed_counts(other, 10, 10, seed=3)] == first
    assert [{f.path for f in part} for part in fixed_counts(records, 10, 10, seed=4)] != first


def test_the_nearest_count_is_noted():
    train, val, test = fixed_counts(films({"a": [2] * 20, "b": [1] * 20}), 5, 4)
    assert counts(test) == {"a": 4, "b": 5}
    assert counts(val) == {"a": 4, "b": 4}
    assert train.notes == ("the split test has 4 films of a instead of 5: patients stay whole",)


def test_a_patient_of_two_findings_does_not_stand_in_the_way():
    rows = [Record("odd.png", ("a",), "odd"), Record("odd2.png", ("b",), "odd")]
    records = films({"a": [2] * 20, "b": [2] * 20})
    train, val, test = fixed_counts(Records((*rows, *records), Path()), 6, 6)
    assert counts(test) == counts(val) == {"a": 6, "b": 6}
    assert not train.notes


@pytest.mark.parametrize("seed", range(3))
def test_films_of_several_findings_count_for_each(seed):
    rng = np.random.default_rng(seed)
    names = np.array(["a", "b", "c", "d"])
    rows = []
    for patient in range(300):
        has = rng.random(4) < 0.4
        for film in range(rng.integers(1, 4)):
            rows.append(Record(f"{patient}_{film}.png", tuple(names[has]) or ("none",), patient_id=f"p{patient}"))
    train, val, test = fixed_counts(Records(tuple(rows), Path()), 20, 10, seed=seed)
    assert counts(test) == dict.fromkeys(("a", "b", "c", "d", "none"), 20)
    assert counts(val) == dict.fromkeys(("a", "b", "c", "d", "none"), 10)
    assert set(patient_groups(train)) == set(range(300 - len({f.patient_id for f in (*val, *test)})))


def test_a_class_that_is_too_small_is_named_with_what_would_do():
    records = films({"a": [1] * 500, "rare": [1, 2] * 17, "b": [2] * 100})
    said = re.escape(
        "rare has 51 films of 34 patients, which cannot give 60 films to test, 60 to val and the rest to train: "
        "at most 25 and 25 would do"
    )
    with pytest.raises(ValueError, match=f"^{said}$"):
        fixed_counts(records)
    assert counts(fixed_counts(records, 25, 25)[2]) == {"a": 25, "b": 24, "rare": 25}
    with pytest.raises(ValueError, match="at most 33 and 16 would do$"):
        fixed_counts(records, 60, 30)


def test_what_would_do_does():
    """The largest counts that the message names are tried by the same code, whatever the sizes of patients."""
    for sizes in ([5, 1, 1], [100, 1, 1], [3, 3, 3], [10, 9, 1, 1]):
        records = films({"a": [1] * 300, "few": sizes})
        with pytest.raises(ValueError, match=r"at most (\d+) and (\d+) would do$") as error:
            fixed_counts(records, 80, 80)
        n_test, n_val = map(int, re.findall(r"\d+", str(error.value))[-2:])
        for part in fixed_counts(records, n_test, n_val):
            assert "few" in part.findings


def test_two_patients_cannot_serve_three_parts():
    with pytest.raises(ValueError, match=r"^few has 9 films of 2 patients, .*: leave few out, or split by shares"):
        fixed_counts(films({"a": [1] * 30, "few": [4, 5]}), 2, 2)
    train, val, test = fixed_counts(films({"a": [1] * 30, "few": [4, 5]}), 4, 0)
    assert (counts(train)["few"], len(val), counts(test)["few"]) == (5, 0, 4)


@pytest.mark.parametrize(
    ("n_test", "n_val", "said"), [(0, 5, "n_test must be at least 1"), (5, -1, "n_val must be at")]
)
def test_counts_that_cannot_be(n_test, n_val, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        fixed_counts(films({"a": [1] * 30}), n_test, n_val)


def test_the_nearest_sum_against_all_subsets():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = rng.integers(1, 9, rng.integers(1, 8)).tolist()
        target, spare = int(rng.integers(1, 20)), int(rng.integers(0, 8))
        picked = _nearest_subset(sizes, target, target + spare, may_be_empty=False)
        sums = {sum(some) for n in range(1, len(sizes) + 1) for some in itertools.combinations(sizes, n)}
        sums = {total for total in sums if total <= target + spare}
        assert len(set(picked)) == len(picked)
        found = sum(sizes[at] for at in picked)
        if sums and min(abs(total - target) for total in sums) <= target:
            assert abs(found - target) == min(abs(total - target) for total in sums)
        else:
            assert found == 0


@pytest.mark.parametrize("seed", range(3))
def test_three_class_set_as_system_4_splits_it(fscxr_data, seed):
    records = read_dataset("manifest", fscxr_data / "cxr3" / "metadata.csv")
    train, val, test = fixed_counts(records, 40, 40, seed=seed)
    assert counts(test) == counts(val) == {"covid19": 40, "normal": 40, "pneumonia": 40}
    assert counts(train) == {"covid19": 44, "normal": 420, "pneumonia": 420}

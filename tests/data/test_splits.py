from pathlib import Path

import numpy as np
import pytest

from fewshot_cxr.data import check_no_leak, patient_groups, read_dataset, split_by_patient
from fewshot_cxr.records import Record, Records


def films(n_patients=100, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(n_patients):
        finding = ("normal", "pneumonia", "covid19")[min(patient % 5, 2)]
        rows += [
            Record(f"{patient}_{film}.png", (finding,), patient_id=f"p{patient}") for film in range(rng.integers(1, 5))
        ]
    return Records(tuple(rows), Path("films"))


@pytest.mark.parametrize("seed", range(3))
def test_whole_patients_and_shares(seed):
    records = films()
    parts = split_by_patient(records, (0.6, 0.1, 0.3), seed=seed)
    assert [{film.split for film in part} for part in parts] == [{"train"}, {"val"}, {"test"}]
    patients = [{film.patient_id for film in part} for part in parts]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 100
    assert sorted(film.path for part in parts for film in part) == sorted(film.path for film in records)
    whole = records.count_by(lambda film: film.finding)
    for part, fraction in zip(parts, (0.6, 0.1, 0.3), strict=True):
        for finding, count in part.count_by(lambda film: film.finding).items():
            assert abs(count - fraction * whole[finding]) <= 4  # no patient has more films


def test_neither_row_order_nor_names_of_patients_matter():
    records = films()
    order = np.random.default_rng(1).permutation(len(records))
    renamed = Records(tuple(Record(f.path, f.findings, patient_id=f"x{f.patient_id}") for f in records), records.root)
    first = split_by_patient(records, seed=3)
    for other in (records.take(order), renamed):
        again = split_by_patient(other, seed=3)
        assert [{f.path for f in part} for part in first] == [{f.path for f in part} for part in again]
    assert [len(part) for part in split_by_patient(records, seed=4)] != [0, 0, 0]
    assert {f.path for f in split_by_patient(records, seed=4)[2]} != {f.path for f in first[2]}


def test_groups_are_joined_in_chains():
    rows = [
        ("a", "p1", "g1"),
        ("b", "p1", "g2"),
        ("c", "p2", "g2"),
        ("d", "p3", None),
        ("e", None, None),
        ("f", None, None),
    ]
    records = Records(tuple(Record(path, ("x",), patient_id=p, group_id=g) for path, p, g in rows), Path())
    groups = patient_groups(records).tolist()
    assert len(set(groups[:3])) == 1
    assert len(set(groups)) == 4
    assert patient_groups(records).dtype == np.int64


def test_a_finding_with_too_few_patients_is_noted():
    records = Records((*films(), Record("rare.png", ("rare",), patient_id="rare")), Path("films"))
    parts = split_by_patient(records)
    assert sum("rare" in part.findings for part in parts) == 1
    assert sum("no film of rare" in note for note in parts[0].notes) == 2


@pytest.mark.parametrize("fractions", [(0.5, 0.1, 0.2), (1.2, -0.4, 0.2)])
def test_impossible_fractions(fractions):
    with pytest.raises(ValueError, match="fractions must be 0 or more and sum to 1"):
        split_by_patient(films(), fractions)
    with pytest.raises(ValueError, match="need as many fractions"):
        split_by_patient(films(), (0.5, 0.5))


@pytest.mark.parametrize(("shared", "said"), [({"patient_id": "p"}, "patient p"), ({"group_id": "g"}, "group g")])
def test_a_leak_is_refused_by_name(shared, said):
    parts = [Records((Record(f"{split}.png", ("a",), split=split, **shared),), Path()) for split in ("train", "test")]
    with pytest.raises(ValueError, match=rf"^{said} is in train and in test: split by patient"):
        check_no_leak(*parts)
    check_no_leak(parts[0])


def test_three_class_set(fscxr_data):
    records = read_dataset("manifest", fscxr_data / "cxr3" / "metadata.csv")
    assert records.count_by(lambda film: film.finding) == {"covid19": 124, "normal": 500, "pneumonia": 500}
    assert len(np.unique(patient_groups(records))) == 764
    whole = records.count_by(lambda film: film.finding)
    for seed in range(5):
        parts = split_by_patient(records, (0.6, 0.1, 0.3), seed=seed)
        check_no_leak(*parts)
        for part, fraction in zip(parts, (0.6, 0.1, 0.3), strict=True):
            for finding, count in part.count_by(lambda film: film.finding).items():
                assert abs(count / whole[finding] - fraction) <= 0.02


def test_three_patients_of_a_finding_serve_three_parts():
    for seed in range(20):
        for n_patients in (3, 4, 5):
            records = Records(
                tuple(Record(f"{i}_{j}.png", ("rare",), f"p{i}") for i in range(n_patients) for j in range(1 + i % 2)),
                Path(),
            )
            parts = split_by_patient(records, seed=seed)
            assert all(len(part) for part in parts)
            assert not parts[0].notes


def test_a_part_of_no_share_stays_empty():
    parts = split_by_patient(films(), (0.8, 0, 0.2))
    assert [bool(part) for part in parts] == [True, False, True]
    assert not any("val" in note for note in parts[0].notes)


def test_no_films_and_no_number():
    assert [len(part) for part in split_by_patient(Records((), Path()))] == [0, 0, 0]
    with pytest.raises(ValueError, match="sum to 1, got nan, 0.1, 0.2"):
        split_by_patient(films(), (float("nan"), 0.1, 0.2))


def test_films_of_several_findings_follow_their_rarest():
    rows = [Record(f"{i}.png", ("common", "rare") if i < 6 else ("common",), patient_id=f"p{i}") for i in range(60)]
    parts = split_by_patient(Records(tuple(rows), Path()), (0.5, 0.5), names=("one", "two"))
    assert [sum("rare" in film.findings for film in part) for part in parts] == [3, 3]


def test_a_film_in_two_parts_is_a_leak():
    part = Records((Record("a.png", ("a",)),), Path())
    with pytest.raises(ValueError, match=r"^film a\.png is in part 1 and in part 2"):
        check_no_leak(part, part)

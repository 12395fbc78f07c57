import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_cxr.data import assert_no_leak, patient_groups, read_dataset, split_by_patient
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


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 12), st.none() | st.integers(0, 4)), min_size=1
    ),
    shares=st.tuples(*[st.integers(0, 10)] * 3).filter(any),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_films_are_split_whole_whatever_joins_them(rows, shares, seed):
    """Patients may have films of all findings, groups join patients, and some films name neither."""
    records = Records(
        tuple(
            Record(
                f"{row}.png",
                (finding,),
                patient_id=None if patient is None else f"p{patient}",
                group_id=None if group is None else f"g{group}",
            )
            for row, (finding, patient, group) in enumerate(rows)
        ),
        Path("films"),
    )
    fractions = tuple(share / sum(shares) for share in shares)
    parts = split_by_patient(records, fractions, seed=seed)
    assert sorted(film.path for part in parts for film in part) == sorted(film.path for film in records)
    assert_no_leak(*parts)
    for column in ("patient_id", "group_id"):
        held = [{getattr(film, column) for film in part} - {None} for part in parts]
        assert sum(map(len, held)) == len(set.union(*held))
    assert all(not part for part, share in zip(parts, shares, strict=True) if not share)
    again = split_by_patient(records.take(np.random.default_rng(seed).permutation(len(rows))), fractions, seed=seed)
    assert [{film.path for film in part} for part in parts] == [{film.path for film in part} for part in again]


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
        assert_no_leak(*parts)
    assert_no_leak(parts[0])


def test_three_class_set(fscxr_data):
    records = read_dataset("manifest", fscxr_data / "cxr3" / "metadata.csv")
    assert records.count_by(lambda film: film.finding) == {"covid19": 124, "normal": 500, "pneumonia": 500}
    assert len(np.unique(patient_groups(records))) == 764
    whole = records.count_by(lambda film: film.finding)
    for seed in range(5):
        parts = split_by_patient(records, (0.6, 0.1, 0.3), seed=seed)
        assert_no_leak(*parts)
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
            assert not any("no film" in note for note in parts[0].notes)


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
        assert_no_leak(part, part)


@pytest.mark.parametrize("several", [False, True])
def test_what_is_out_of_balance_is_said(several):
    big = [Record(f"big_{i}.png", ("rare",), patient_id="big") for i in range(20)]
    rare = [Record(f"rare_{i}.png", ("rare",), patient_id=f"r{i}") for i in range(30)]
    pair = [Record(f"pair_{i}.png", ("pair",), patient_id=f"pair{i}") for i in range(2)]
    both = [Record("both.png", ("rare", "common"), patient_id="both")] * several
    common = [Record(f"c{i}.png", ("common",), patient_id=f"c{i}") for i in range(100)]
    parts = split_by_patient(Records((*big, *rare, *pair, *both, *common), Path()), (0.4, 0.3, 0.3))
    assert len(parts[0].notes) == 1
    assert parts[0].notes[0] in {
        f"the split {name} has no film of pair: 2 patients have it, for 3 parts" for name in ("train", "val", "test")
    }
    heavy = [Record(f"{i}_{j}.png", ("a",), patient_id=f"p{i}") for i, n in enumerate((9, 9, 1, 1)) for j in range(n)]
    notes = split_by_patient(Records(tuple(heavy), Path()), (0.98, 0.02), names=("one", "two"))[0].notes
    assert not notes  # one patient of nine films too few is as near as one patient comes


def multi_label_films(n_patients, seed=0):
    """Films of a set like ChestX-ray14: rare findings, several on a film, a few patients with very many films."""
    rng = np.random.default_rng(seed)
    shares = np.geomspace(0.2, 0.01, 8)
    rows = []
    for patient in range(n_patients):
        has = rng.random(8) < np.minimum(1, shares * 5 * rng.gamma(0.5, 2))
        for film in range(min(int(rng.pareto(1.3) * 1.3) + 1, 100)):
            shown = has & (rng.random(8) < 0.5)
            findings = tuple(f"finding{number}" for number in np.flatnonzero(shown)) or ("none",)
            rows.append(Record(f"{patient:04d}_{film:03d}.png", findings, patient_id=f"p{patient}"))
    return Records(tuple(rows), Path())


@pytest.mark.parametrize("seed", range(3))
def test_every_finding_of_many_has_its_share_in_every_part(seed):
    records = multi_label_films(600)
    parts = split_by_patient(records, (0.6, 0.1, 0.3), seed=seed)
    assert sum(map(len, parts)) == len(records)
    for finding in records.findings:
        patients = Counter(film.patient_id for film in records if finding in film.findings)
        for part, fraction in zip(parts, (0.6, 0.1, 0.3), strict=True):
            count = sum(finding in film.findings for film in part)
            assert count
            assert abs(count - fraction * patients.total()) <= max(0.05 * patients.total(), 2)
    for part, fraction in zip(parts, (0.6, 0.1, 0.3), strict=True):
        assert abs(len(part) / len(records) - fraction) <= 0.03


def test_films_of_several_findings_neither_follow_row_order_nor_names_of_patients():
    records = multi_label_films(150)
    order = np.random.default_rng(1).permutation(len(records))
    renamed = Records(tuple(Record(f.path, f.findings, patient_id=f"x{f.patient_id}") for f in records), records.root)
    first = split_by_patient(records, seed=3)
    for other in (records.take(order), renamed):
        again = split_by_patient(other, seed=3)
        assert [{f.path for f in part} for part in first] == [{f.path for f in part} for part in again]
    assert {f.path for f in split_by_patient(records, seed=4)[2]} != {f.path for f in first[2]}


def test_a_part_of_no_share_stays_empty_with_several_findings_too():
    parts = split_by_patient(multi_label_films(100), (0.8, 0, 0.2))
    assert [bool(part) for part in parts] == [True, False, True]


def random_chains(seed, n_films=300):
    """Films joined at random by patients and groups, in chains that no single column shows."""
    rng = np.random.default_rng(seed)
    return Records(
        tuple(
            Record(
                f"{row}.png",
                tuple(np.array(["a", "b", "c"])[rng.random(3) < 0.4]) or ("none",),
                patient_id=f"p{rng.integers(200)}" if rng.random() < 0.8 else None,
                group_id=f"g{rng.integers(200)}" if rng.random() < 0.4 else None,
            )
            for row in range(n_films)
        ),
        Path(),
    )


def chained(films):
    """Join films by a slow loop: the set of paths that belong to each."""
    joined = {film.path: {film.path} for film in films}
    for one in films:
        for other in films:
            is_joined = (one.patient_id and one.patient_id == other.patient_id) or (
                one.group_id and one.group_id == other.group_id
            )
            if is_joined and joined[one.path] is not joined[other.path]:
                joined[one.path] |= joined[other.path]
                for path in joined[one.path]:
                    joined[path] = joined[one.path]
    return joined


@pytest.mark.parametrize("seed", range(3))
def test_chains_never_leak(seed):
    records = random_chains(seed)
    parts = split_by_patient(records, (0.5, 0.2, 0.3), seed=seed)
    side = {film.path: film.split for part in parts for film in part}
    for joined in chained(records).values():
        assert len({side[path] for path in joined}) == 1
    moved = max(parts[0], key=lambda film: film.patient_id is not None and film.group_id is not None)
    leaky = [replace(film, split="test") if film == moved else film for part in parts for film in part]
    is_alone = len(chained(records)[moved.path]) == 1
    if not is_alone:
        with pytest.raises(ValueError, match="split by patient"):
            assert_no_leak(Records(tuple(leaky), Path()))


def test_the_splits_of_one_list_are_checked_against_each_other():
    films = [Record("a.png", ("x",), "p1", split="train"), Record("b.png", ("x",), "p1", split="test")]
    said = re.escape("patient p1 is in train and in test: split by patient (fscxr data split)")
    with pytest.raises(ValueError, match=f"^{said}$"):
        assert_no_leak(Records(tuple(films), Path()))
    assert_no_leak(Records((films[0], replace(films[1], patient_id="p2")), Path()))
    assert_no_leak(Records((films[0], replace(films[1], split=None)), Path()))


def test_a_chain_over_a_film_of_no_split_is_a_leak():
    films = (
        Record("a.png", ("x",), "p1", split="train"),
        Record("b.png", ("x",), "p1", "g1"),
        Record("c.png", ("x",), "p2", "g1", split="test"),
    )
    said = "film a.png is in train and film c.png in test, but films of no split join them: split by patient"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        assert_no_leak(Records(films, Path()))


def test_equal_paths_below_two_roots_are_two_films():
    assert_no_leak(*(Records((Record("a.png", ("x",), split="train"),), Path(root)) for root in ("one", "two")))

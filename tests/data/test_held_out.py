"""A source or a finding that training never sees."""

import re
from pathlib import Path

import numpy as np
import pytest

from fewshot_cxr.data import leave_one_source_out, novel_classes, patient_groups
from fewshot_cxr.records import Record, Records


def films(n_patients=120, seed=0):
    """Patients of three sources and four findings, some in two sources, some with two findings."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(n_patients):
        source = ("rsna", "cohen", "sirm")[patient % 3]
        for film in range(rng.integers(1, 4)):
            finding = ("normal", "pneumonia", "edema", "covid19")[(patient + (rng.random() < 0.2)) % 4]
            at = "cohen" if rng.random() < 0.05 else source
            rows.append(Record(f"{patient}_{film}.png", (finding,), f"p{patient}", source=at))
    return Records(tuple(rows), Path("films"), notes=("read so",))


def test_a_source_is_tested_whole_and_its_patients_are_nowhere_else():
    records = films()
    groups = dict(zip((film.path for film in records), patient_groups(records).tolist(), strict=True))
    splits = leave_one_source_out(records, val_fraction=0.2)
    assert list(splits) == ["cohen", "rsna", "sirm"]
    for source, (train, val, test) in splits.items():
        assert {film.path for film in test} == {film.path for film in records if film.source == source}
        assert not any(film.source == source for film in (*train, *val))
        sides = [{groups[film.path] for film in part} for part in (train, val, test)]
        assert sum(map(len, sides)) == len(set.union(*sides))
        assert [{film.split for film in part} for part in (train, val, test)] == [{"train"}, {"val"}, {"test"}]
        assert abs(len(val) / (len(train) + len(val)) - 0.2) < 0.05
        n_out = len(records) - len(train) - len(val) - len(test)
        assert n_out == sum(film.source != source and groups[film.path] in sides[2] for film in records) > 0
        assert train.notes[0] == "read so"
        assert train.notes[1].startswith(f"{n_out} films of ")
        assert train.notes[1].endswith(f" patients who are also in {source} are left out")


def test_a_finding_of_one_source_alone_is_said():
    rows = [Record(f"a{i}.png", ("covid19",), source="cohen") for i in range(5)]
    rows += [Record(f"b{i}.png", ("normal",), source="rsna") for i in range(20)]
    train, _, test = leave_one_source_out(Records(tuple(rows), Path()))["cohen"]
    assert test.findings == ("covid19",)
    assert train.notes == (
        "patients are unknown: each film counts as its own patient",
        "only cohen has covid19: training on the other sources cannot learn it",
    )


def test_sources_that_cannot_be_left_out():
    with pytest.raises(ValueError, match="^leaving a source out needs 2 sources or more, got rsna$"):
        leave_one_source_out(Records((Record("a.png", ("x",), source="rsna"),), Path()))
    rows = (Record("a.png", ("x",), source="rsna"), Record("b.png", ("x",)))
    said = "films without a source: 1, such as b.png; drop them, or fill in the column"
    with pytest.raises(ValueError, match=f"^{said}$"):
        leave_one_source_out(Records(rows, Path()))
    rows = (Record("a.png", ("x",), "p", source="rsna"), Record("b.png", ("x",), "p", source="cohen"))
    said = "every patient has films of the source cohen: no film is left to train on"
    with pytest.raises(ValueError, match=f"^{said}$"):
        leave_one_source_out(Records(rows, Path()))
    with pytest.raises(ValueError, match="^val_fraction must be 0 or more and below 1, got 1$"):
        leave_one_source_out(films(), val_fraction=1)


@pytest.mark.parametrize("novel", [("covid19",), ("covid19", "edema")])
def test_training_sees_neither_a_novel_finding_nor_its_patients(novel):
    records = films()
    train, val, test = parts = novel_classes(records, novel, (0.6, 0.2, 0.2), seed=1)
    assert sorted(film.path for part in parts for film in part) == sorted(film.path for film in records)
    held = {film.patient_id for film in records if film.finding in novel}
    assert not held & {film.patient_id for film in (*train, *val)}
    assert set(train.findings) == set(val.findings) == set(records.findings) - set(novel)
    assert test.findings == records.findings
    n_along = sum(film.patient_id in held and film.finding not in novel for film in records)
    assert f"{n_along} films without a novel finding are in test, because their patients have one" in train.notes
    known = [sum(film.patient_id not in held for film in part) for part in parts]
    assert np.allclose(np.array(known) / sum(known), (0.6, 0.2, 0.2), atol=0.05)


def test_a_film_of_a_novel_and_a_known_finding_is_tested():
    rows = [Record(f"{i}.png", ("a", "new") if i < 4 else ("a",), patient_id=f"p{i}") for i in range(40)]
    _, _, test = novel_classes(Records(tuple(rows), Path()), ("new",))
    assert sum("new" in film.findings for film in test) == 4


def test_findings_that_cannot_be_novel():
    said = "unknown finding 'covid-19' (did you mean 'covid19'?); choose from covid19, edema, normal, pneumonia"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        novel_classes(films(), ("covid-19",))
    with pytest.raises(ValueError, match="^novel names no finding; choose from covid19, edema, normal, pneumonia$"):
        novel_classes(films(), ())
    with pytest.raises(ValueError, match="^every patient has a film of x: no film is left to train on$"):
        novel_classes(Records((Record("a.png", ("x",)),), Path()), ("x",))


def test_neither_row_order_nor_names_of_patients_matter():
    records = films()
    order = np.random.default_rng(1).permutation(len(records))
    renamed = Records(
        tuple(Record(f.path, f.findings, f"x{f.patient_id}", source=f.source) for f in records), records.root
    )

    def sides(some):
        held_out = [*leave_one_source_out(some).values(), novel_classes(some, ("edema",))]
        return [{film.path for film in part} for parts in held_out for part in parts]

    for other in (records.take(order), renamed):
        assert sides(other) == sides(records)

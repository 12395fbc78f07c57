import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from fewshot_cxr.data import read_dataset
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.evaluation.audit.audit import audit_films
from fewshot_cxr.evaluation.audit.result import CHECKS, Audit, Measure
from fewshot_cxr.records import Problem, Record, Records


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Three findings, ten patients each, split by patient."""
    records = make_synthetic(
        tmp_path_factory.mktemp("films"),
        n_patients=10,
        findings=("normal", "lobar_consolidation", "cardiomegaly"),
        size_px=96,
    )
    return split(records)


@pytest.fixture(scope="module")
def clean_audit(clean):
    return audit_films(clean, n_workers=2)


def split(records):
    films = (replace(film, split="test" if film.patient_id[-1] in "012" else "train") for film in records)
    return Records(tuple(films), records.root)


@pytest.fixture
def copied(clean, tmp_path):
    """The same films in a folder of one's own, few of them."""
    few = clean.where(lambda film: film.path.endswith("_0.png"))
    for film in few:
        (tmp_path / film.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(few.file(film), tmp_path / film.path)
    return replace(few, root=tmp_path)


def test_a_clean_set_has_neither_leaks_nor_copies(clean, clean_audit):
    assert clean_audit.exact_duplicates == clean_audit.leaks == clean_audit.contradictory_patients == ()
    assert clean_audit.films.unreadable == ()
    assert clean_audit.films.n_films == len(clean)
    assert clean_audit.films.by_finding == clean.count_by(lambda film: film.finding)
    assert set(clean_audit.films.by_split) == {"test", "train"}
    assert clean_audit.films.sizes["width_px"] == {"minimum": 96, "median": 96, "maximum": 96}
    assert clean_audit.films.sizes["aspect_ratio"]["median"] == 1
    assert clean_audit.films.children.reason == "cannot be assessed: no ages"
    assert not {"leak", "exact_duplicates", "contradictory", "unreadable", "children"} & set(clean_audit.failed())
    low, high = clean_audit.confounding.balanced_accuracy["size"].number.ci95
    assert low <= 1 / 3 <= high
    assert (clean_audit.data_hash, clean_audit.seed) == (clean.data_hash, 0)


def test_json_holds_every_key_and_rebuilds_the_audit(clean_audit):
    plain = json.loads(json.dumps(clean_audit.to_json(), allow_nan=False))
    keys = ["near_duplicates", "exact_duplicates", "contradictory_patients", "leaks", "confounding", "films"]
    assert set(keys) <= set(plain)
    assert Audit.from_json(plain) == clean_audit
    with pytest.raises(
        ValueError, match=r"this is no whole audit: films.children.n_adults is -1, a count was expected"
    ):
        Audit.from_json(plain | {"films": {**plain["films"], "children": {"assessed": True, "n_adults": -1}}})
    with pytest.raises(ValueError, match="no whole audit: confounding.balanced_accuracy.source is missing"):
        Audit.from_json(plain | {"confounding": {**plain["confounding"], "balanced_accuracy": {}}})


def test_negatives_and_equalised_films_are_found_as_copies(copied):
    first, second = copied[0], copied[1]
    films = {"negative.png": ImageOps.invert, "equalised.jpg": ImageOps.equalize}
    for (name, change), film in zip(films.items(), (first, second), strict=True):
        change(Image.open(copied.file(film)).convert("L")).save(copied.root / name)
    copies = (Record(name, ("other",), patient_id=name) for name in films)
    audit = audit_films(replace(copied, films=(*copied.films, *copies)))
    pairs = {frozenset((pair.a, pair.b)) for pair in audit.near_duplicates}
    assert pairs == {frozenset((first.path, "negative.png")), frozenset((second.path, "equalised.jpg"))}
    assert not audit.possible_duplicates


def test_a_planted_copy_in_another_split_is_found(copied):
    first = next(film for film in copied if film.split == "train")
    shutil.copy(copied.file(first), copied.root / "copy.png")
    copy = Record("copy.png", ("other",), patient_id="new", split="test")
    audit = audit_films(replace(copied, films=(*copied.films, copy)))
    (found,) = audit.exact_duplicates
    assert (set(found.paths), found.by) == ({first.path, "copy.png"}, "bytes")
    assert (found.same_patient, found.same_label) == (False, False)
    near = [pair for pair in audit.near_duplicates if pair.b == "copy.png"]
    assert [(pair.a, pair.hamming, pair.correlation) for pair in near] == [(first.path, 0, 1.0)]
    leaks = [leak for leak in audit.leaks if leak.by == "exact_duplicate"]
    assert [leak.splits for leak in leaks] == [("test", "train")]
    assert {"leak", "duplicates", "exact_duplicates"} <= set(audit.failed())


def test_the_same_pixels_in_another_file_are_found_once(copied):
    first = copied[0]
    with Image.open(copied.file(first)) as picture:
        picture.save(copied.root / "again.png", compress_level=9)
    copied = replace(copied, films=(*copied.films, replace(first, path="again.png", patient_id=None)))
    (found,) = audit_films(copied).exact_duplicates
    assert (found.paths, found.by, found.same_patient) == ((first.path, "again.png"), "pixels", None)
    shutil.copy(copied.file(first), copied.root / "third.png")
    both = audit_films(replace(copied, films=(*copied.films, replace(first, path="third.png")))).exact_duplicates
    assert [(group.by, len(group.paths)) for group in both] == [("bytes", 2), ("pixels", 3)]


def test_planted_patients_leak_and_contradict(copied):
    films = list(copied.films)
    one, two = (next(n for n, film in enumerate(films) if film.split == split) for split in ("train", "test"))
    films[one], films[two] = (replace(films[n], patient_id="both") for n in (one, two))
    films[two] = replace(films[two], findings=("other",))
    audit = audit_films(replace(copied, films=tuple(films)))
    assert [(leak.by, leak.name) for leak in audit.leaks if leak.by == "patient"] == [("patient", "both")]
    assert [found.patient for found in audit.contradictory_patients] == ["both"]
    assert audit.failed(["contradictory", "unreadable", "leak"]) == ("contradictory", "leak")


def test_a_source_for_each_finding_is_told(copied):
    films = tuple(replace(film, source=f"hospital of {film.finding}") for film in copied)
    confounded = audit_films(replace(copied, films=films))
    assert confounded.confounding.cramers_v.number.mean == 1
    assert confounded.confounding.balanced_accuracy["source"].number.mean == 1
    assert "confounding" in confounded.failed()
    one = audit_films(replace(copied, films=tuple(replace(film, source="one") for film in copied)))
    assert one.to_json()["confounding"]["cramers_v"]["value"] is None
    assert one.confounding.cramers_v == Measure.impossible("one source")


def test_bad_films_are_named_and_stop_nothing(copied):
    (copied.root / "cut.png").write_bytes(copied.file(copied[0]).read_bytes()[:200])
    Image.fromarray(np.full((96, 96), 7, dtype=np.uint8)).save(copied.root / "black.png")
    names = ("cut.png", "gone.png", "../out.png", "black.png")
    more = tuple(Record(name, ("normal",), patient_id=name) for name in names)
    empty = (Problem(3, "empty.png", "the file is empty", "unreadable"), Problem(4, "twice.png", "named", "duplicate"))
    calls = []
    audit = audit_films(
        replace(copied, films=copied.films + more, problems=empty), progress=lambda *done: calls.append(done)
    )
    told = {film.path: film.reason for film in audit.films.unreadable}
    assert list(told) == ["empty.png", "cut.png", "gone.png", "../out.png"]
    assert told["cut.png"].startswith("damaged or cut short")
    assert "No such file" in told["gone.png"]
    assert "leaves the data root" in told["../out.png"]
    assert audit.films.marks["constant"] == ("black.png",)
    assert any(note.startswith("rows that the reader left out for other reasons: 1") for note in audit.notes)
    assert {"unreadable", "constant"} <= set(audit.failed())
    assert ("looking at films", len(copied) + 4, len(copied) + 4) in calls


def test_only_unreadable_films_still_make_an_audit(tmp_path):
    films = tuple(Record(f"{n}.png", ("ab"[n % 2],), source="ab"[n % 2]) for n in range(6))
    audit = audit_films(Records(films, tmp_path))
    assert len(audit.films.unreadable) == 6
    assert audit.films.sizes == {}
    assert audit.confounding.cramers_v.number.mean == 1
    assert audit.confounding.balanced_accuracy["border"].number.mean is None


def test_no_films_and_unknown_checks_are_refused(clean_audit, tmp_path):
    with pytest.raises(ValueError, match=r"^records holds no film, so that there is nothing to audit"):
        audit_films(Records((), tmp_path))
    with pytest.raises(ValueError, match=r"unknown check 'leaks' \(did you mean 'leak'\?\); choose from"):
        clean_audit.failed(["leaks"])
    assert set(clean_audit.failed()) <= set(CHECKS)


def test_threads_and_row_order_change_nothing_but_the_order(clean, clean_audit):
    again = audit_films(clean.take(range(len(clean))[::-1]), n_workers=1)
    assert again.confounding == clean_audit.confounding
    assert again.films.by_finding == clean_audit.films.by_finding
    assert {frozenset((p.a, p.b)) for p in again.near_duplicates} == {
        frozenset((p.a, p.b)) for p in clean_audit.near_duplicates
    }


def listed_pairs(folder):
    """The pairs that come with a set; the possible ones are not among them."""
    with (folder / "near_duplicates.csv").open(newline="", encoding="utf-8") as lines:
        return {frozenset((row["a"], row["b"])) for row in csv.DictReader(lines)}


@pytest.mark.slow
def test_three_class_set(fscxr_data):
    records = read_dataset("manifest", fscxr_data / "cxr3" / "metadata.csv")
    findings_of = {}
    for film in records:
        findings_of.setdefault(film.patient_id, set()).add(film.finding)
    audit = audit_films(records)
    contradictory = {found.patient for found in audit.contradictory_patients}
    assert contradictory == {patient for patient, own in findings_of.items() if own == {"normal", "pneumonia"}}
    assert len(contradictory) == 21
    assert audit.confounding.cramers_v.number.mean == 1
    assert audit.confounding.balanced_accuracy["source"].number.mean == pytest.approx(2 / 3)
    assert audit.confounding.balanced_accuracy["size"].is_clearly_above_chance
    assert listed_pairs(fscxr_data / "cxr3") == {frozenset((pair.a, pair.b)) for pair in audit.near_duplicates}
    assert len(audit.near_duplicates) == len(audit.possible_duplicates) == 1
    assert {"duplicates", "contradictory", "confounding"} <= set(audit.failed())
    assert not audit.films.unreadable


@pytest.mark.slow
def test_one_source_of_many_findings(fscxr_data):
    records = read_dataset("manifest", fscxr_data / "cxr_ieee8023" / "metadata.csv")
    audit = audit_films(records)
    assert audit.confounding.cramers_v.number.reason == "cannot be assessed: one source"
    listed = listed_pairs(fscxr_data / "cxr_ieee8023")
    assert len(listed) == 8
    assert listed == {frozenset((pair.a, pair.b)) for pair in audit.near_duplicates}
    assert len(audit.near_duplicates) == len(audit.possible_duplicates) == 8


def test_what_is_odd_of_the_files_is_noted(tmp_path):
    (tmp_path / "a").mkdir()
    for number, most in enumerate((4095, 4200)):
        gray = np.linspace(0, most, 4096).reshape(64, 64).astype(np.uint16)
        Image.fromarray(gray).save(tmp_path / "a" / f"{number}.png")
    audit = audit_films(read_dataset("image_folder", tmp_path))
    assert any("by their own maximum: 12 bits 1, 14 bits 1" in note for note in audit.notes)

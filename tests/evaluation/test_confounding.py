from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from fewshot_cxr.data.film import DecodingFacts
from fewshot_cxr.evaluation.audit import cross_validation as module
from fewshot_cxr.evaluation.audit.confounding import assess_confounding
from fewshot_cxr.evaluation.audit.film_pass import FilmFacts, border_means
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.records import Record, Records

SEEN = ("source", "size", "border", "thumbnail")


def make_set(n_patients=90, planted=None, seed=0):
    """Two films of each patient, three findings; `planted` names what follows from the finding."""
    draw = np.random.default_rng(seed)
    records, facts = [], []
    for number in range(2 * n_patients):
        label = number // 2 % 3
        told = {name: label if name == planted else int(draw.integers(3)) for name in SEEN}
        film = Record(f"{number:04d}", (f"f{label}",), patient_id=f"p{number // 2}", source=f"s{told['source']}")
        records.append(film)
        sizes = 1000 + 40 * told["size"], 1000
        thumbnail = (draw.integers(0, 120, (16, 16)) + 30 * told["thumbnail"]).astype(np.uint8)
        border = (draw.integers(0, 120, 64) + 30 * told["border"]).astype(np.uint8)
        seen = np.zeros((1, 1)), np.zeros(10), (), *sizes, thumbnail, border
        facts.append(FilmFacts("", "", np.uint64(0), *seen, DecodingFacts()))
    return Records(tuple(records), Path()), facts


@pytest.mark.parametrize("planted", SEEN)
def test_what_was_planted_is_found_and_nothing_else(planted):
    found = assess_confounding(*make_set(planted=planted))
    for name in SEEN:
        measure = found.balanced_accuracy[name]
        assert measure.number.mean is not None
        assert measure.chance == pytest.approx(1 / 3)
        assert (measure.n_films, measure.n_groups, measure.findings) == (180, 90, ("f0", "f1", "f2"))
        low, high = measure.number.ci95
        if name == planted:
            assert measure.number.mean == 1 if name in ("source", "size") else measure.number.mean > 0.95
            assert measure.is_clearly_above_chance
        else:
            assert low <= measure.chance <= high
    v = found.cramers_v.number.mean
    assert v == 1 if planted == "source" else v < 0.25


def test_intervals_cover_chance_about_as_often_as_stated():
    inside = [
        m.number.ci95[0] <= 1 / 3 <= m.number.ci95[1]
        for seed in range(6)
        for m in assess_confounding(*make_set(n_patients=30, seed=seed), seed=seed).balanced_accuracy.values()
    ]
    assert np.mean(inside) > 0.85


def test_films_of_one_patient_stay_in_one_fold():
    # Each patient has its own border: whoever had seen another film of it would know the finding.
    records, facts = make_set(n_patients=60)
    own = np.random.default_rng(1).integers(0, 255, (60, 64)).astype(np.uint8)
    facts = [replace(found, border=own[number // 2]) for number, found in enumerate(facts)]
    assert not assess_confounding(records, facts).balanced_accuracy["border"].is_clearly_above_chance
    apart = Records(tuple(replace(film, patient_id=None) for film in records), records.root)
    leaky = assess_confounding(apart, facts)
    assert leaky.balanced_accuracy["border"].number.mean > 0.6
    assert any("no patient is stated" in note for note in leaky.notes)


def test_row_order_and_names_of_patients_change_no_number():
    records, facts = make_set(planted="size")
    order = np.random.default_rng(0).permutation(len(records)).tolist()
    renamed = tuple(replace(records[row], patient_id=f"x{records[row].patient_id}") for row in order)
    again = assess_confounding(Records(renamed, records.root), [facts[row] for row in order], seed=3)
    assert again == assess_confounding(records, facts, seed=3)


def test_the_balanced_accuracy_equals_scikit_learns():
    draw = np.random.default_rng(0)
    labels, predicted = draw.integers(0, 3, 200), draw.integers(0, 3, 200)
    case = module.Case(labels, labels, draw.integers(0, 50, 200), labels, ("a", "b", "c"), ())
    found = module._balanced_accuracy(case, predicted == labels, draw)
    value, (low, high) = found.value, found.ci95
    assert value == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert low < value < high


def test_one_source_and_none_cannot_be_assessed_and_are_not_zero():
    records, facts = make_set()
    for source, reason in (("s", "one source"), (None, "no source is stated")):
        same = Records(tuple(replace(film, source=source) for film in records), records.root)
        found = assess_confounding(same, facts)
        for measure in (found.cramers_v, found.balanced_accuracy["source"]):
            assert measure.number == Estimate(None, reason=f"cannot be assessed: {reason}")
        assert found.balanced_accuracy["size"].number.mean is not None


def test_films_without_a_source_and_unreadable_ones_are_left_out():
    records, facts = make_set(planted="source")
    silent = Records((*(replace(film, source=None) for film in records[:20]), *records[20:]), records.root)
    found = assess_confounding(silent, [None] * 40 + facts[40:])
    assert (found.cramers_v.n_films, found.cramers_v.number.mean) == (160, 1)
    assert found.balanced_accuracy["source"].n_films == found.balanced_accuracy["size"].n_films == 140
    assert any(note.startswith("20 films state no source") for note in found.notes)
    assert sum(found.by_source["f0"].values()) == 60


def test_findings_of_one_patient_are_left_out_by_name():
    records, facts = make_set(n_patients=30)
    rare = [replace(records[0], path=f"z{n}", findings=("rare",), patient_id="lone") for n in range(3)]
    found = assess_confounding(Records((*records, *rare), records.root), facts + facts[:3])
    size = found.balanced_accuracy["size"]
    assert size.findings == ("f0", "f1", "f2")
    assert size.notes == ("left out, films of fewer than 5 patients: rare 1",)
    assert "rare" in found.by_source


def test_a_finding_of_three_patients_costs_the_others_no_interval():
    records, facts = make_set(n_patients=30)
    rare = [replace(records[0], path=f"z{n}", findings=("rare",), patient_id=f"lone{n}") for n in range(3)]
    size = assess_confounding(Records((*records, *rare), records.root), facts + facts[:3]).balanced_accuracy["size"]
    assert size.number == assess_confounding(records, facts).balanced_accuracy["size"].number
    assert size.number.ci95 is not None
    assert size.notes == ("left out, films of fewer than 5 patients: rare 3",)


def test_few_patients_mean_fewer_folds_and_too_few_none():
    records, facts = make_set(n_patients=9)
    assert assess_confounding(records, facts).balanced_accuracy["size"].notes[0].startswith("3 folds instead of 5")
    two = assess_confounding(*make_set(n_patients=4)).balanced_accuracy["thumbnail"]
    assert two.number.reason == "cannot be assessed: fewer than two findings have films of two patients"
    nothing = assess_confounding(records, [None] * len(records)).balanced_accuracy["source"]
    assert nothing.number.mean is None


def test_films_of_several_findings_take_no_part():
    records, facts = make_set()
    several = Records((*records, replace(records[0], path="m", findings=("f0", "f1"))), records.root)
    found = assess_confounding(several, [*facts, facts[0]])
    alone = assess_confounding(records, facts)
    assert found.balanced_accuracy == alone.balanced_accuracy
    assert found.cramers_v == alone.cramers_v
    assert found.notes == ("1 films of several findings take no part in V and balanced accuracies",)


def test_a_large_set_is_sampled_and_says_so():
    records, facts = make_set(planted="size")
    found = assess_confounding(records, facts, max_films=120)
    assert found.balanced_accuracy["size"].n_films == 120
    assert found.balanced_accuracy["size"].number.mean > 0.9
    assert found.cramers_v.n_films == 180
    assert found.notes == ("balanced accuracies are from 120 films, sampled from 180",)


@pytest.mark.parametrize("shape", [(200, 300), (3, 5), (1, 1)])
def test_the_border_is_that_of_each_side(shape):
    gray = np.zeros(shape, dtype=np.uint8)
    assert border_means(gray).shape == (64,)
    gray[0] = 200
    gray[:, 0] = 200
    means = border_means(gray).reshape(4, 16)
    if min(shape) > 100:
        assert means[0].min() > 20
        assert means[2].min() > 20
        assert means[1, 1:].max() == means[3, 1:].max() == 0

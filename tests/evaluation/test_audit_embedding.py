"""Is it the disease or the hospital: what an embedding tells, beside scikit-learn's own answer."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from fewshot_cxr.data.splits.groups import patient_groups
from fewshot_cxr.evaluation import EmbeddingAudit, assess_embedding
from fewshot_cxr.evaluation.audit.cross_validation import make_case
from fewshot_cxr.evaluation.plain_values import read_plain, to_plain
from fewshot_cxr.records import Record, Records

TOLD = ("finding", "source", "view", "age", "sex")


def make_films(n_patients=120, told=(), seed=0, sources=None):
    """Two films of each patient; the vectors hold what `told` names. `sources`: finding -> its sources."""
    draw = np.random.default_rng(seed)
    sources = sources or {"normal": "ab", "pneumonia": "ab"}
    films, vectors = [], draw.normal(size=(2 * n_patients, 8))
    for number in range(2 * n_patients):
        if number % 2 == 0:
            finding = sorted(sources)[int(draw.integers(len(sources)))]
            facts = {"finding": finding, "source": str(draw.choice(list(sources[finding])))}
            facts |= {"view": str(draw.choice(["PA", "AP"])), "sex": str(draw.choice(["F", "M"]))}
            facts["age"] = float(draw.integers(20, 90))
        film = Record(f"{number:04d}.png", (facts["finding"],), patient_id=f"p{number // 2}", source=facts["source"])
        films.append(replace(film, view=facts["view"], sex=facts["sex"], age_years=facts["age"]))
        codes = {
            "finding": facts["finding"] == "normal",
            "source": facts["source"] == "a",
            "view": facts["view"] == "PA",
        }
        codes |= {"sex": facts["sex"] == "F", "age": facts["age"] < 55}
        for place, name in enumerate(TOLD):
            vectors[number, place] += 3 * codes[name] * (name in told)
    return vectors, Records(tuple(films), Path())


@pytest.mark.parametrize("planted", TOLD)
def test_what_the_embedding_holds_is_found_and_nothing_else(planted):
    found = assess_embedding(*make_films(told=(planted,)))
    assert tuple(found.tells) == TOLD
    for name, one in found.tells.items():
        low, high = one.number.ci95
        assert one.chance == 0.5
        if name == planted:
            assert one.number.mean > 0.75
            assert one.is_clearly_above_chance
        else:
            assert low <= 0.5 <= high
    assert set(found.within) == {"normal", "pneumonia"}
    for one in found.within.values():
        assert one.is_clearly_above_chance == (planted == "source")


def test_it_says_what_scikit_learn_says():
    vectors, films = make_films(told=("finding", "source"))
    found = assess_embedding(vectors, films)
    groups = patient_groups(films)
    for name in ("finding", "source", "view", "sex"):
        labels = [film.finding if name == "finding" else getattr(film, name) for film in films]
        rule = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
        folds = make_case(range(len(films)), labels, groups, 0, name).folds
        theirs = balanced_accuracy_score(labels, cross_val_predict(rule, vectors, labels, cv=PredefinedSplit(folds)))
        assert found.tells[name].number.mean == pytest.approx(theirs, abs=0.025)  # they differ by how much is shrunk


def test_folds_are_of_whole_patients_and_hold_their_share_of_each_class():
    _, films = make_films(n_patients=300)
    groups = patient_groups(films)
    case = make_case(range(len(films)), [film.source for film in films], groups, 0, "source")
    for fold in range(5):
        own = case.folds == fold
        assert not set(groups[own]) & set(groups[~own])
        for label in range(2):
            assert (case.labels[own] == label).sum() == pytest.approx((case.labels == label).sum() / 5, abs=2)


def test_neither_order_nor_names_of_patients_matter():
    vectors, films = make_films(told=("source",))
    order = np.random.default_rng(1).permutation(len(films))
    renamed = films.take(order.tolist()).each(lambda film: replace(film, patient_id=f"x{film.patient_id}"))
    assert assess_embedding(vectors[order], renamed) == assess_embedding(vectors, films)


def test_two_films_of_a_patient_are_never_on_both_sides():
    """Vectors that name the patient alone tell nothing of patients who were not seen."""
    _, films = make_films(n_patients=60)
    names = sorted({film.patient_id for film in films})
    vectors = np.eye(60)[[names.index(film.patient_id) for film in films]]
    low, high = assess_embedding(vectors, films).tells["finding"].number.ci95
    assert low <= 0.5 <= high


def test_the_first_line_says_what_cannot_be_told_apart():
    apart = {"normal": "n", "pneumonia": "n", "covid19": "c"}
    line = assess_embedding(*make_films(sources=apart)).first_line
    assert line.startswith("Source and covid19 cannot be told apart: covid19 is only from c")
    one = assess_embedding(*make_films(sources={"normal": "a", "pneumonia": "a"}))
    assert one.first_line == "Disease or hospital cannot be told from these films: all films are of one source, a."
    assert one.tells["source"].number.mean is None
    assert "fewer than two sources" in one.tells["source"].number.reason
    told = assess_embedding(*make_films(told=("source",))).first_line
    assert told.startswith("The embedding tells the source of a film in ")
    assert told.endswith("also among films of normal and of pneumonia alone.")
    vectors, films = make_films()
    unstated = assess_embedding(vectors, films.each(lambda film: replace(film, source=None, age_years=None)))
    assert "no source is stated" in unstated.first_line
    assert "no age group is stated" in unstated.tells["age"].number.reason


def test_films_and_vectors_must_go_together():
    vectors, films = make_films(n_patients=10)
    with pytest.raises(ValueError, match="one for each film, got 19 for 20 films"):
        assess_embedding(vectors[:-1], films)


def test_it_is_read_back_as_it_was():
    found = assess_embedding(*make_films(n_patients=30), n_training_films=3)
    assert read_plain(EmbeddingAudit, json.loads(json.dumps(to_plain(found)))) == found
